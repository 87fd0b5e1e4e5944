"""Where everything of one control plane lives on disk, and where its sockets are."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SOCKET_PATH: Final = 107
"""Bytes that the path of a unix socket may have, unix(7)."""
_LONGEST: Final = "node.sock"


def unit_name(mark: str) -> str:
    """The systemd unit of the home that has this mark."""
    return f"quarterdeck-{mark.removeprefix('qd-')}.service"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below QUARTERDECK_HOME. Nothing is created here; `root` is absolute."""

    root: Path

    @classmethod
    def from_environment(cls, environ: dict[str, str] | os._Environ[str]) -> Home:
        """QUARTERDECK_HOME, else the XDG state folder."""
        named = environ.get("QUARTERDECK_HOME")
        if named:
            return cls(Path(named).expanduser().absolute())
        state = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME", "/")) / ".local" / "state")
        return cls(Path(state).absolute() / "quarterdeck")

    @property
    def mark(self) -> str:
        """The name of this home among the processes, control groups and units of a machine."""
        return f"qd-{hashlib.sha256(str(self.root).encode()).hexdigest()[:10]}"

    @property
    def run(self) -> Path:
        """Sockets: in the home itself, where whoever asks finds them, or in /tmp where its path is too long for them (decision 022)."""
        here = self.root / "run"
        if len(os.fsencode(here / _LONGEST)) <= _SOCKET_PATH:
            return here
        return Path(f"/tmp/qd-{os.getuid()}") / self.mark  # noqa: S108 the folder is made 0700 and its owner checked

    @property
    def database(self) -> Path:
        """The store."""
        return self.root / "quarterdeck.db"

    @property
    def store_lock(self) -> Path:
        """Held by the one control plane of the home."""
        return self.root / "store.lock"

    @property
    def keys(self) -> Path:
        """Seeds of operator, accounts and the journal's signer; never in the store, never in a table."""
        return self.root / "keys"

    @property
    def secrets(self) -> Path:
        """Values handed in as `env:` references, one 0600 file each."""
        return self.root / "secrets"

    @property
    def revisions(self) -> Path:
        """Code trees by digest."""
        return self.root / "revisions"

    @property
    def blobs(self) -> Path:
        """Large payloads and results by system and content."""
        return self.root / "blobs"

    @property
    def bus(self) -> Path:
        """Configuration, account claims and stream files of nats-server."""
        return self.root / "bus"

    @property
    def node(self) -> Path:
        """The node's table, incarnations and lock."""
        return self.root / "node"

    @property
    def logs(self) -> Path:
        """`<system>/<cluster>/<agent>-<n>.log` of replicas, and the platform's own."""
        return self.root / "logs"

    @property
    def stop_order(self) -> Path:
        """Preallocated file: its first byte turns to `1` when everything must stay down."""
        return self.root / "stop"

    @property
    def halts(self) -> Path:
        """Preallocated file: what must not run on this machine."""
        return self.root / "halts"

    @property
    def api_socket(self) -> Path:
        """The CLI's door."""
        return self.run / "api.sock"

    @property
    def node_socket(self) -> Path:
        """The control plane's door into the node."""
        return self.run / _LONGEST
