"""Following a stream across restarts of the control plane: the reader sees a pause, not an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from quarterdeck.cli.session import Output, Pick, Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Event, Query, Wire
from quarterdeck.errors import Transient

_PAUSE: Final = 0.2
ENDLESS: Final = "what goes on and on"


def require_lines(session: Session, what: str = ENDLESS) -> None:
    """Raise UsageError for a form that `what` cannot be printed in: a line at a time it is text or JSON."""
    if isinstance(session.output, Pick) or session.output in (Output.yaml, Output.name):
        raise UsageError(f"-o {session.output} cannot show {what}", hint="-o json prints one JSON document a line")


def follow(client: Wire, path: str, query: Callable[[], Query]) -> Iterator[Event]:
    """Events until the fleet is ordered down; resumes after the last id seen, however the stream ended.

    `query` is asked again for each connection, for streams whose events carry no id. The first connection must succeed: raises Transient.
    """
    last, connected = "", False
    while True:
        try:
            for event in client.events(path, query(), last=last):
                connected = True
                last = event.id or last
                if event.name == "end":
                    break
                yield event
            connected = True
        except Transient:
            if not connected and not last:
                raise
        if client.stays_down():
            return
        time.sleep(_PAUSE)
