"""What is told of an agent while somebody is attached to it: its output, what becomes of its replicas, and its answers."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn, Self

from quarterdeck.cli.ask import answered
from quarterdeck.cli.complain import told
from quarterdeck.cli.follow import follow
from quarterdeck.cli.logs import Colours, Resumed, drawn
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Output, Session
from quarterdeck.client.wire import Document, Query
from quarterdeck.errors import QuarterdeckError
from quarterdeck.version import API_VERSION

BEFORE: Final = {"tail": 10}
"""What people see of the output before they came."""
NEW: Final = {"since": 0.2, "tail": 2000}
"""Programs see what is new, and that from a moment before, so that nothing is missed."""
_STATES: Final = ("replica.exited", "replica.failed", "replica.ready", "replica.quarantined")
"""Records of the journal that are told; that a replica was started says less than that it is ready."""
_LAST_WORDS: Final = 0.5
"""Seconds in which output of the last request is still awaited: a replica's is read at once, and looked for by the API every 0.2 s."""


class Over(Exception):
    """The fleet was ordered down, or `Feed.error` says why nothing more can be heard."""


class Report:
    """Tells it, a line at a time and from several threads: `put` writes a line for people, as `screen` can show it."""

    def __init__(self, session: Session, screen: Screen, put: Callable[[str], None]) -> None:
        self._session, self._screen, self._put = session, screen, put
        self._json = session.output is Output.json
        self._colours = Colours()
        self._lock = threading.RLock()

    def output(self, line: Document) -> None:
        """A line that a replica wrote."""
        self._tell("Output", line, drawn(self._screen, line, self._colours))

    def state(self, record: Document) -> None:
        """What became of a replica."""
        verb, reason = str(record["verb"]).removeprefix("replica."), record.get("reason")
        self._tell("Record", record, self._screen.paint(clean(f" {record['target']} {verb}{f': {reason}' if reason else ''}"), "dim"))

    def answer(self, document: Document) -> None:
        """The answer to a request: below what was typed, or alone on stdout."""
        text = json.dumps(document if self._json else document["reply"])
        with self._lock:
            self.say(answered(document))
            if self._json or self._screen is not self._session.screen:
                self._session.screen.line(text)
            else:
                shown = [text] if len(text) < self._screen.width else json.dumps(document["reply"], indent=2).splitlines()
                self.lines([f" {line}" for line in shown])

    def error(self, error: QuarterdeckError) -> None:
        """Why a request was not answered, or not sent."""
        self.lines(told(error, self._screen))

    def say(self, *texts: str) -> None:
        """Words that --quiet takes away, broken where the terminal ends."""
        if not (self._session.quiet or self._json):
            self.lines([line for text in texts for line in self._screen.wrapped(" ", text)])

    def lines(self, texts: list[str]) -> None:
        """Some lines that stay together."""
        with self._lock:
            for text in texts:
                self._put(text)

    def end(self) -> None:
        """Let no other thread write any more: one that does so while the process ends would bring it down."""
        self._lock.acquire()

    def _tell(self, kind: str, document: Document, text: str) -> None:
        with self._lock:
            if self._json:
                self._session.screen.line(json.dumps({"apiVersion": API_VERSION, "kind": kind, **document}))
            else:
                self._put(text)


class Feed:
    """Two threads that listen to an agent or a replica, in a `with`; what stands in the journal before it is not told.

    When there is nothing more to hear, the main thread gets Over, whatever it waits for. After the `with` nothing is told any more.
    """

    def __init__(self, session: Session, inside: str, report: Report, begin: Query) -> None:
        self._session, self._inside, self._report, self._begin = session, inside, report, begin
        self._main = threading.get_ident()
        self._ended = threading.Lock()
        self._attached = True
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        newest = self._session.client.get("/v1/journal", {"system": self._session.system, "limit": 1, "newest": True})["items"]
        after = int(newest[0]["seq"]) if newest else 0
        signal.signal(signal.SIGUSR1, self._interrupt)
        for hear in (self._output, lambda: self._states(after)):
            threading.Thread(target=self._listen, args=(hear,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._attached = False
        self._report.end()

    def linger(self) -> None:
        """Give output of the last request the time that it takes to come."""
        time.sleep(_LAST_WORDS)

    def _listen(self, hear: Callable[[], None]) -> None:
        try:
            hear()
        except Exception as error:  # noqa: BLE001 whatever it is, the main thread raises it again
            self.error = self.error or error
        if self._ended.acquire(blocking=False):  # the other one has nothing to add
            signal.pthread_kill(self._main, signal.SIGUSR1)

    def _interrupt(self, *_: object) -> None:
        if self._attached:
            raise Over

    def _output(self) -> None:
        query = {"system": self._session.system, "target": self._inside, "follow": True, **self._begin}
        for event in Resumed(self._session, query).events():
            self._report.output(event.data)

    def _states(self, after: int) -> None:
        query = {"system": self._session.system, "verb": "replica.", "after": after}
        for event in follow(self._session.client, "/v1/journal", lambda: query):
            if event.data["verb"] in _STATES and self._inside in (event.data["target"], event.data["target"].rpartition("-")[0]):
                self._report.state(event.data)


def forever() -> NoReturn:
    """Wait for whatever interrupts it."""
    while True:
        signal.pause()
