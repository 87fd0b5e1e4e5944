"""Whoever gives work at the doors, and whoever does it: played by the requests that a replica would send."""

import asyncio
import json
import re

from sqlalchemy import func, select

from quarterdeck.model.work import Holder
from quarterdeck.store import tables
from quarterdeck.store.fairness import Fairness
from quarterdeck.work.ledger import Ledger

READER = Holder("pair", "one", "reader", 0, 1)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Replica:
    """`cluster/agent-n` as the ledger knows it."""

    def __init__(self, control, holder=READER):
        self.control, self.holder, self.held = control, holder, []

    def say(self, word, **fields):
        ledger = Ledger(self.control.store.write, self.control.engine.clock, lambda *_: "", lambda *_: None, Fairness(), chance=lambda: 0.0)
        asked = json.dumps({"ops": [[word, fields]]}).encode()

        async def talk():
            await ledger.open()
            return await ledger.serve(self.holder, asked)

        (answer,) = json.loads(asyncio.run(talk()))["answers"]
        assert "ok" in answer, answer
        return answer["ok"]

    def claim(self):
        (given,) = self.say("claim", free=1, holding=self.held)
        self.held.append(given["task"])
        return {"task": given["task"], "fence": given["fence"]}


def give(fleet, payload=None, **more):
    made = fleet.post("/v1/tasks", {"target": "one/reader", "payload": payload, **more})
    assert made.status == 201, made
    return made.json


def rows(fleet):
    """All that is kept of work."""
    with fleet.store.read() as conn:
        return {
            name: conn.execute(select(func.count()).select_from(getattr(tables, name))).scalar()
            for name in ("tasks", "task_bodies", "task_events")
        }
