"""Several durable messages in one message of the stream: what a disk can sync is what bounds them, not how many there are. Pure.

The body is a JSON array of their bodies; the header says how many it holds, so that a receiver knows it from one whose body is a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

from quarterdeck.bus.envelope import Ack, Limits, Trace
from quarterdeck.model.work import MOST_BODY

BATCH: Final = "Qd-Batch"
MOST: Final = 64
"""Messages in one batch: more would keep one replica busy while others have nothing to do."""


@runtime_checkable
class Bulk(Protocol):
    """A way out that takes many durable messages at once; see `quarterdeck.bus.client.Client`."""

    async def publish_all(  # noqa: D102
        self, cluster: str, to: str, verb: str, bodies: Sequence[bytes], *, limits: Limits, trace: Trace | None
    ) -> list[Ack]: ...


def batches(bodies: Iterable[bytes], most: int = MOST, room: int = MOST_BODY) -> Iterator[list[bytes]]:
    """Bodies in their order, so many in each that they fit; one that is too large by itself comes alone, and is refused elsewhere."""
    batch: list[bytes] = []
    size = 2
    for body in bodies:
        if batch and (len(batch) >= most or size + len(body) + 1 > room):
            yield batch
            batch, size = [], 2
        batch.append(body)
        size += len(body) + 1
    if batch:
        yield batch


def count(headers: Mapping[str, str]) -> int:
    """How many messages a batch says it holds; 0 when it is none."""
    told = headers.get(BATCH, "")
    return int(told) if told.isascii() and told.isdecimal() and len(told) <= len(str(MOST)) and 0 < int(told) <= MOST else 0
