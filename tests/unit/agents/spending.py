"""What a task may spend and has spent, as the ledger tells it; and calls that are counted beside it."""

import asyncio

from quarterdeck.work import documents

CALLS = {"calls": 3.0}


class Echo:
    """Answers every ask; `asked` counts independently of all accounts."""

    def __init__(self):
        self.asked = 0

    async def ask(self, cluster, to, verb, body, **_):
        self.asked += 1
        return body


def with_echo(replica):
    """Its way out."""
    object.__setattr__(replica.place, "outbound", Echo())
    return replica


def budget(office, task):
    with office.store.read() as conn:
        return documents.whole(conn, office.work.get(task))["budget"]


async def reserved(office, task):
    """Until 70 tokens are."""
    async with asyncio.timeout(5):
        while budget(office, task)["tokens"]["reserved"] != 70.0:  # noqa: ASYNC110 rows call nobody
            await asyncio.sleep(0.005)
