"""`make up`: deploy this example by `qd up`, feed it the recorded incidents, kill a replica while it works, show that nothing is lost."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import prove

from quarterdeck.cli.session import Choices, Session
from quarterdeck.cli.source import Source
from quarterdeck.cli.start import ensure
from quarterdeck.cli.up import Up
from quarterdeck.errors import QuarterdeckError

HERE = Path(__file__).parent
SYSTEM = "triage"
Document = dict[str, Any]
DEPLOY_WITHIN = 120.0


def main() -> int:
    """Exit code 0 when the fleet is ready, healed, and every line and message is accounted for."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--speed", type=float, default=20.0, help="how many times faster than recorded; 0 = as fast as possible")
    options.add_argument("--reports", type=Path, default=Path("reports"), help="where the reports are written")
    given = options.parse_args()
    session = Session.begin(Choices())
    sound = []

    def proof(session: Session) -> None:
        written = session.home.node / "work" / SYSTEM / "reporting"
        outcome = prove.run(Control(session), lambda line: session.screen.line(f" {line}"), given.speed, given.reports, written)
        sound.append(outcome.sound)

    try:
        run = Up(session, None, DEPLOY_WITHIN, "make up", ensure(session, None), proof)
        result = run.once(Source.read(HERE / "quarterdeck.yaml"))
    except QuarterdeckError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return result.exit_code or (0 if sound == [True] else 1)


class Control:
    """The control plane's doors, as the proof wants them."""

    def __init__(self, session: Session) -> None:
        self._client = session.client

    def submit(self, target: str, verb: str, payload: Document, key: str) -> Document:
        """Give work."""
        order = {"system": SYSTEM, "target": target, "verb": verb, "payload": payload, "key": key}
        made: Document = self._client.post("/v1/tasks", order)
        return made

    def task(self, task: str, wait: float = 0.0) -> Document:
        """A task, once it has ended or so many seconds are over."""
        found: Document = self._client.get(f"/v1/tasks/{task}", {"wait": wait}, timeout=wait + 10)
        return found

    def tree(self, task: str) -> list[Document]:
        """It and all below it."""
        return self._items(f"/v1/tasks/{task}/tree", {})

    def history(self, task: str) -> list[Document]:
        """What happened to them."""
        return self._items(f"/v1/tasks/{task}/history", {})

    def working(self, target: str) -> list[Document]:
        """What an agent works on."""
        return self._items("/v1/tasks", {"system": SYSTEM, "target": target, "state": "running", "limit": 500})

    def replicas(self) -> list[Document]:
        """Every replica."""
        return self._items("/v1/replicas", {"system": SYSTEM})

    def _items(self, path: str, query: Document) -> list[Document]:
        found: list[Document] = self._client.get(path, query)["items"]
        return found


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
