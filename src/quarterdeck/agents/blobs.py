"""Large bodies on their way between a replica and the control plane's files: in pieces, one at a time, each asked for until it is answered.

The control plane says after each piece how much it has, so a transfer goes on over a restart of either side, from its beginning if need be.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from quarterdeck.agents.line import ATTEMPT, PAUSE_FIRST, PAUSE_MOST, Ask, raised
from quarterdeck.errors import Terminal, Transient
from quarterdeck.model.blobs import PIECE, TRANSFERS, Get, Put, Ref, pack, split

log = logging.getLogger(__name__)

SLOW: Final = 2 * ATTEMPT
"""Seconds to wait for the answer to one piece before asking again: the last one of a put is answered when all of it is on disk."""


class Blobs:
    """Made once for a replica."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._places = asyncio.Semaphore(TRANSFERS)

    async def put(self, content: bytes) -> Ref:
        """Have it kept; on disk when this returns."""
        ref = await asyncio.to_thread(Ref.of, content)
        async with self._places:
            have, _ = await self._asked(Put(ref, 0))  # nothing yet: it may be there
            while (at := have["have"]) < ref.size:
                have, _ = await self._asked(Put(ref, at, content[at : at + PIECE]))
        return ref

    async def get(self, ref: Ref) -> bytes:
        """What it refers to, whole. Raises NotFound, Terminal."""
        content = bytearray()
        async with self._places:
            while len(content) < ref.size:
                _, piece = await self._asked(Get(ref, len(content)))
                if not piece:
                    break
                content += piece
        if await asyncio.to_thread(Ref.of, bytes(content)) != ref:
            raise Terminal(f"blob {ref} came damaged", hint="the log of the control plane and qd doctor may say more")
        return bytes(content)

    async def _asked(self, asked: Put | Get) -> tuple[Any, bytes]:
        """The answer, once there is one."""
        pause = PAUSE_FIRST
        while True:
            try:
                said, rest = split(await self._ask(pack(asked), SLOW))
                if "error" in said:
                    raise raised(said["error"])
            except Transient as error:
                log.debug("a piece of blob %s has to wait: %s", asked.ref, error.message)
                await asyncio.sleep(pause)
                pause = min(PAUSE_MOST, 2 * pause)
            else:
                return said, rest
