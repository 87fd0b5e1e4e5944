"""`make up`: deploy this example by `qd up`, feed it the recorded incidents, kill a replica while it works, show that nothing is lost."""

from __future__ import annotations

import argparse
import asyncio
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
        outcome = asyncio.run(_prove(session, given.speed, given.reports))
        sound.append(outcome.sound)

    try:
        run = Up(session, None, DEPLOY_WITHIN, "make up", ensure(session, None), proof)
        result = run.once(Source.read(HERE / "quarterdeck.yaml"))
    except QuarterdeckError as error:
        sys.stderr.write(f"error: {error.message}\n" + (f"hint: {error.hint}\n" if error.hint else ""))
        return error.exit_code
    return result.exit_code or (0 if sound == [True] else 1)


async def _prove(session: Session, speed: float, reports: Path) -> prove.Outcome:
    client = session.client

    async def ask(target: str, verb: str, payload: Any) -> Any:
        body = {"system": "triage", "target": target, "verb": verb, "payload": payload, "timeout": 30}
        return (await asyncio.to_thread(client.post, "/v1/ask", body, timeout=40))["reply"]

    def replicas() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.get("/v1/replicas", {"system": "triage"})["items"]
        return found

    def say(line: str) -> None:
        session.screen.line(f" {line}")

    return await prove.run(ask, replicas, say, speed, reports)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    sys.exit(main())
