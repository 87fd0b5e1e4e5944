"""The order to stay down: one byte on disk, older than every process it stops, so that control plane and node do not revive each other."""

from __future__ import annotations

import os
from typing import Final

from quarterdeck.model.home import Home

_ROOM: Final = 4096


def stands(home: Home) -> bool:
    """Whether everything of this home must stay down."""
    try:
        with home.stop_order.open("rb") as file:
            return file.read(1) == b"1"
    except FileNotFoundError:
        return False


def write(home: Home, *, stay_down: bool) -> None:
    """Give or take back the order, on disk when this returns. The file is preallocated, so that a full disk cannot stop a stop."""
    home.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home.stop_order, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < _ROOM:
            os.pwrite(descriptor, b"0" * _ROOM, 0)
        os.pwrite(descriptor, b"1" if stay_down else b"0", 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
