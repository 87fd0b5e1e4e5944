"""News for whoever looks at a document again and again: a record in the journal is a reason to look now (server-sent events).

Not everything that changes is a record of the journal, so one looks after a while all the same.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from quarterdeck.client.wire import Wire
from quarterdeck.errors import QuarterdeckError, Transient

APART: Final = 0.1
"""Seconds between two looks, however much happens."""
_PAUSE: Final = 1.0


class News:
    """Listens from now on, in a thread of its own that ends with the process."""

    def __init__(self, client: Wire, system: str | None) -> None:
        self._came = threading.Event()
        self.heard = False
        """Whether there is a stream, so that it is enough to look now and then."""
        threading.Thread(target=self._listen, args=(client, system), name="news", daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Until something happened or so many seconds are over."""
        began = time.monotonic()
        self._came.wait(seconds)
        time.sleep(max(0.0, min(APART, seconds) - (time.monotonic() - began)))
        self._came.clear()

    def _listen(self, client: Wire, system: str | None) -> None:
        while True:
            try:
                newest = client.get("/v1/journal", {"system": system, "newest": "true", "limit": 1}).get("items") or [{}]
                self.heard = True
                self._came.set()  # whatever happened while nobody listened
                for _ in client.events("/v1/journal", {"system": system, "after": newest[0].get("seq", 0)}):
                    self._came.set()
            except Transient:
                self.heard = False
            except QuarterdeckError:  # not for us to read: whoever looks does so by the clock
                self.heard = False
                return
            time.sleep(_PAUSE)
