"""Access tokens that a client has traded: kept until shortly before they end, for this program and for those that come after it.

A token file may hold what opens nothing itself: a refresh token, or a token of the sign-in provider, such as the one that Kubernetes renews
in a pod. Then each hour one request more is made, and what travels with all others is an access token.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quarterdeck.durable import write_synced

MARGIN: Final = 60.0
"""Seconds before its end at which an access token is no longer taken; of one that lives shorter than ten of these, a tenth of its life."""
_REFRESHES: Final = "qdr_"
_PARTS: Final = 3
Trade = Callable[[str], Mapping[str, Any]]
"""A secret → what the control plane gives for it: `token`, and `expires_in` seconds."""


@dataclass(frozen=True, slots=True)
class _Access:
    token: str
    until: float


_HELD: Final[dict[str, _Access]] = {}


def is_traded(secret: str) -> bool:
    """Whether a secret opens nothing itself: a refresh token, or a JSON Web Token."""
    return secret.startswith(_REFRESHES) or (secret.startswith("eyJ") and secret.count(".") == _PARTS - 1)


def access(url: str, secret: str, now: float, trade: Trade) -> str:
    """The access token for a secret: one that is held, else a new one. `now` is epoch seconds. Raises what `trade` raises."""
    name = _name(url, secret)
    found = _HELD.get(name) or _read(name)
    if found is None or now >= found.until:
        given = trade(secret)
        lives = float(given["expires_in"])
        found = _Access(str(given["token"]), now + lives - min(MARGIN, lives / 10))
        _write(name, found)
    _HELD[name] = found
    return found.token


def forget(url: str, secret: str) -> None:
    """Take no access token that is held for a secret: it was refused."""
    name = _name(url, secret)
    _HELD.pop(name, None)
    with contextlib.suppress(OSError):
        _file(name).unlink()


def _name(url: str, secret: str) -> str:
    return hashlib.sha256(f"{url}\n{secret}".encode()).hexdigest()[:32]


def _file(name: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path(os.environ.get("HOME", "/")) / ".cache")
    return Path(base).absolute() / "quarterdeck" / "access" / name


def _read(name: str) -> _Access | None:
    """What an earlier program kept; a file that makes no sense is none, and one that others could have written is not believed."""
    file = _file(name)
    try:
        found = file.stat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            return None
        kept = json.loads(file.read_text())
        return _Access(str(kept["token"]), float(kept["until"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(name: str, found: _Access) -> None:
    """Where it cannot be kept, each program trades for itself."""
    file = _file(name)
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_synced(file, json.dumps({"token": found.token, "until": found.until}).encode(), mode=0o600)
