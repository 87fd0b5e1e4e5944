"""How many orders are taken in at a time. One that is too many is refused as bytes: reading it as HTTP and routing it is most of its cost.

Without this a storm of orders is read before it is refused, all of it at once, and whatever was let in waits behind those that were not.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from quarterdeck.api.errors import refuse
from quarterdeck.model.work import Overloaded

MOST: Final = 64
"""Orders at a time. More are not written down faster, they only wait longer."""
HELD: Final = 0.5
"""Seconds after which a refusal is told: whoever asks again at once can do so only twice a second on each connection."""
_ORDER: Final = b"POST /v1/tasks HTTP/1.1\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)[ \t]*\r\n", re.IGNORECASE)
_OTHERWISE: Final = re.compile(rb"\r\n(transfer-encoding|expect|connection|upgrade):", re.IGNORECASE)


@dataclass(slots=True)
class Turnstile:
    """One for all connections of a control plane, on the doors' loop. `refused` counts those that were turned away as `door`."""

    refused: Counter[str] = field(default_factory=Counter)
    most: int = MOST
    _inside: set[object] = field(default_factory=set)

    @property
    def full(self) -> bool:
        """Whether nobody may enter."""
        return len(self._inside) >= self.most

    def enter(self, connection: object) -> None:
        """What it brought is being answered."""
        self._inside.add(connection)

    def leave(self, connection: object) -> bool:
        """It is answered, or its client is gone; gives whether it was inside."""
        inside = connection in self._inside
        self._inside.discard(connection)
        return inside


def is_order(data: bytes) -> bool:
    """Whether these are all the bytes of one order and no others, sent as everybody sends them; anything else has to be read with care."""
    if not data.startswith(_ORDER):
        return False
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = _LENGTH.findall(head + b"\r\n")
    return len(lengths) == 1 and int(lengths[0]) == len(body) and _OTHERWISE.search(head) is None


def _refusal() -> bytes:
    answer = refuse(Overloaded("more orders arrive than can be taken in", hint="come again after Retry-After"))
    lines = [b"HTTP/1.1 %d Too Many Requests" % answer.status_code, *(b"%s: %s" % header for header in answer.raw_headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(answer.body)


REFUSAL: Final = _refusal()
"""As it goes over the wire."""
