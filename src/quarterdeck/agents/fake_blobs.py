"""Large bodies of a fleet under test: in memory, as long as the test runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from quarterdeck.agents.payload import loads
from quarterdeck.errors import NotFound
from quarterdeck.model.blobs import Ref


@dataclass(slots=True)
class FakeBlobs:
    """As `Blobs` does it, without files and without pieces."""

    _kept: dict[Ref, bytes] = field(default_factory=dict)

    async def put(self, content: bytes) -> Ref:
        """Keep it."""
        ref = Ref.of(content)
        self._kept[ref] = content
        return ref

    async def get(self, ref: Ref) -> bytes:
        """Give it back; raises NotFound."""
        return self._content(ref)

    def value(self, body: str) -> Any:
        """What a body says."""
        ref = Ref.in_body(body)
        return loads(body.encode() if ref is None else self._content(ref))

    def _content(self, ref: Ref) -> bytes:
        if ref not in self._kept:
            raise NotFound(f"there is no blob {ref}", hint="only what an agent of this test has put is there")
        return self._kept[ref]
