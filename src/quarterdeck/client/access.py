"""Access tokens that a client has traded: kept until shortly before they end, for this program and for those that come after it.

A token file may hold what opens nothing itself: a refresh token, or a token of the sign-in provider, such as the one that Kubernetes renews
in a pod. Then each hour one request more is made, and what travels with all others is an access token.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quarterdeck.durable import write_synced

MARGIN: Final = 60.0
"""Seconds before its end at which an access token is no longer taken; of one that lives shorter than ten of these, a tenth of its life."""
_REFRESHES: Final = "qdr_"
_PARTS: Final = 3
_LONGEST: Final = 4_096
_KEPT: Final = 86_400.0
Trade = Callable[[str], Mapping[str, Any]]
"""A secret → what the control plane gives for it: `token`, and `expires_in` seconds."""


@dataclass(frozen=True, slots=True)
class _Access:
    token: str
    until: float


_HELD: Final[dict[str, _Access]] = {}
_TRADING: Final = threading.Lock()
"""Of many that need one at once, one trades and the others take what it got."""


def is_traded(secret: str) -> bool:
    """Whether a secret opens nothing itself: a refresh token, or a JSON Web Token."""
    return secret.startswith(_REFRESHES) or (secret.startswith("eyJ") and secret.count(".") == _PARTS - 1)


def access(url: str, secret: str, now: float, trade: Trade) -> str:
    """The access token for a secret: one that is held, else a new one. `now` is epoch seconds. Raises what `trade` raises."""
    name = _name(url, secret)
    held = _HELD.get(name)
    if held is not None and now < held.until:
        return held.token
    with _TRADING, _alone(name):
        found = _HELD.get(name)
        if found is None or now >= found.until:
            found = _read(name)
        if found is None or now >= found.until:
            given = trade(secret)
            lives = float(given["expires_in"])
            found = _Access(str(given["token"]), now + lives - min(MARGIN, lives / 10))
            _write(name, found, now)
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


@contextlib.contextmanager
def _alone(name: str) -> Iterator[None]:
    """While no other program looks for or trades the same; where nothing can be kept, all do."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            file = _file(name)
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = stack.enter_context(os.fdopen(os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(name: str) -> _Access | None:
    """What an earlier program kept; a file that makes no sense is none, and one that others could have written is not believed."""
    try:
        with os.fdopen(os.open(_file(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.getuid() or found.st_mode & 0o077 or not stat.S_ISREG(found.st_mode):
                return None
            kept = json.loads(file.read(_LONGEST))
        return _Access(str(kept["token"]), float(kept["until"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _write(name: str, found: _Access, now: float) -> None:
    """Where it cannot be kept, each program trades for itself. What has ended, of secrets that were renewed since, goes."""
    file = _file(name)
    with contextlib.suppress(OSError):
        write_synced(file, json.dumps({"token": found.token, "until": found.until}).encode(), mode=0o600)
        for old in file.parent.iterdir():
            if now - old.stat().st_mtime > _KEPT:
                old.unlink(missing_ok=True)
