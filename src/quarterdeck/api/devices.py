"""The programs that wait to be let in by `qd login`: in memory, few, and for ten minutes at most."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from quarterdeck.api.errors import TooMany
from quarterdeck.errors import Conflict, Forbidden, NotFound
from quarterdeck.model.grant import Grant
from quarterdeck.model.records import Actor
from quarterdeck.store.tokens import digest

LIVES: Final = 600.0
"""Seconds in which somebody may let a program in."""
MOST: Final = 1_000
"""Programs that may wait. One address alone cannot fill it: it may ask once a second."""
SIGNS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""No vowels, so that no code is a word (RFC 8628, section 6.1): 20^8 codes, of which at most 1,000 mean something."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A program that waits: `host` is what it says of itself, `address` where it asked from, `until` in epoch seconds.

    `granted` is what it was given, by whom, for whom, and until when; `refused`: somebody said no.
    """

    secret: str
    host: str
    address: str
    until: float
    granted: tuple[Grant, Actor, float] | None = None
    refused: bool = False


@dataclass(slots=True)
class Devices:
    """The programs that wait, by code. In memory: a restart means to ask again."""

    _asked: OrderedDict[str, Asked] = field(default_factory=OrderedDict)

    def begin(self, host: str, address: str, now: float) -> tuple[str, str]:
        """(code for people, secret for the program). Raises TooMany: nobody who waits is pushed out."""
        self._drop(now)
        if len(self._asked) >= MOST:
            raise TooMany(f"{MOST} programs wait to be let in", hint="qd token create on the machine itself makes a token", retry_after=60)
        secret, signs = secrets.token_urlsafe(32), "".join(secrets.choice(SIGNS) for _ in range(8))
        code = f"{signs[:4]}-{signs[4:]}"
        self._asked[code] = Asked(digest(secret), host, address, now + LIVES)
        return code, secret

    def find(self, code: str, now: float) -> Asked:
        """Who waits with a code. Raises NotFound."""
        self._drop(now)
        if code not in self._asked:
            raise NotFound(f"no program waits with the code {code}", hint="it waits ten minutes: run qd login again")
        return self._asked[code]

    def answer(self, code: str, now: float, granted: tuple[Grant, Actor, float] | None) -> Asked:
        """Let it in, or (None) say no. Raises NotFound, or Conflict when that was done."""
        found = self.find(code, now)
        if found.granted or found.refused:
            raise Conflict(f"{code} was answered already", hint="run qd login again for another code")
        self._asked[code] = replace(found, granted=granted, refused=granted is None)
        return found

    def collect(self, secret: str, now: float) -> Asked:
        """How it stands with a program. Raises Forbidden for a secret that nobody waits with."""
        self._drop(now)
        shown = digest(secret)
        for one in self._asked.values():
            if hmac.compare_digest(one.secret, shown):
                return one
        raise Forbidden("nobody waits with that secret, or its ten minutes are over", hint="run qd login again")

    def forget(self, asked: Asked) -> bool:
        """It waits no longer. Whether it did: of two that collect at once one is given something."""
        found = next((code for code, one in self._asked.items() if one.secret == asked.secret), None)
        return found is not None and self._asked.pop(found) is not None

    def _drop(self, now: float) -> None:
        for code in [code for code, one in self._asked.items() if now >= one.until]:
            del self._asked[code]
