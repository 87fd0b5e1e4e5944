"""The text of the systemd unit that keeps a fleet up. Pure: a plan in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.model.home import unit_name

INHERITED: Final = tuple(f"QUARTERDECK_{name}" for name in ("PORT", "BIND", "TLS_CERT", "TLS_KEY", "PUBLIC_URL", "NATS_SERVER"))
"""Variables that shape a control plane; those that are set when the unit is written stand in it."""
DRAINS: Final = 30
_ENDS_WITHIN: Final = 90
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Unit:
    """Which home is kept up, by which Python, as whom: `user` is empty for a user's own unit."""

    home: Path
    python: Path
    mark: str
    user: str = ""
    environ: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """One for each home, by its mark."""
        return unit_name(self.mark)

    @property
    def stop(self) -> list[str]:
        """What ends the fleet."""
        return self._does("down", "--yes", "--within", f"{DRAINS}s")

    def _does(self, *words: str) -> list[str]:
        return [str(self.python), "-m", "quarterdeck.cli.main", "--home", str(self.home), *words]

    @property
    def text(self) -> str:
        """The file. What runs is a keeper in the foreground: the control plane and the node restart each other, and it restarts both.

        `KillMode=process`: when the keeper alone dies the agents go on, and the next one finds them. A stop is `qd down`, with its proof.
        """
        start, stop = (" ".join(map(_word, argv)) for argv in (self._does("service", "run"), self.stop))
        named = {**{k: v for k, v in (self.environ or {}).items() if k in INHERITED and v}, "PATH": f"{self.python.parent}:{_PATH}"}
        service = [
            "Type=exec",
            *([f"User={self.user}"] if self.user else []),
            *(f"Environment={_quoted(f'{name}={value}')}" for name, value in named.items()),
            f"ExecStart={start}",
            f"ExecStop={stop}",
            "Restart=on-failure",
            "RestartSec=2",
            "KillMode=process",
            "Delegate=yes",
            "LimitNOFILE=65536",
            "TasksMax=infinity",
            f"TimeoutStopSec={_ENDS_WITHIN}",
        ]
        online = ["After=network-online.target", "Wants=network-online.target"] if self.user else []  # a user's manager knows no network
        unit = [f"Description=Quarterdeck fleet in {_escaped(str(self.home))}", *online, "StartLimitIntervalSec=300", "StartLimitBurst=10"]
        target = "multi-user.target" if self.user else "default.target"
        sections = {"Unit": unit, "Service": service, "Install": [f"WantedBy={target}"]}
        return "\n".join("\n".join([f"[{title}]", *lines, ""]) for title, lines in sections.items())


def _escaped(text: str) -> str:
    """`%` begins a specifier in every setting, systemd.unit(5)."""
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    """One assignment, systemd.exec(5)."""
    word = _escaped(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{word}"' if any(c in word for c in " \t'\"\\;") else word


def _word(text: str) -> str:
    """One word of a command line, where `$` would begin a variable, systemd.service(5)."""
    return _quoted(text).replace("$", "$$")
