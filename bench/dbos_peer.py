"""Runs inside DBOS's own environment: workflows of one step each on SQLite with WAL and synchronous=FULL, as many as asked for, per second.

`python dbos_peer.py FOLDER COUNT`. The serializer is JSON, since its default makes whoever can write the database run code.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa
from dbos import DBOS, DBOSPortableJSONSerializer

THREADS = 16


def durable(path: str) -> sa.Engine:
    """The database as ours is opened: nothing is said to be done that is not on disk."""
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def _pragmas(raw: object, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            raw.execute(f"PRAGMA {pragma}")  # type: ignore[attr-defined]

    return engine


@DBOS.step()
def act(n: int) -> int:
    return n


@DBOS.workflow()
def work(n: int) -> int:
    return act(n)


def main(folder: str, count: int) -> None:
    """Print the rate."""
    engine = durable(f"{folder}/dbos.sqlite")
    DBOS(
        config={
            "name": "peer",
            "system_database_url": f"sqlite:///{folder}/dbos.sqlite",
            "system_database_engine": engine,
            "serializer": DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    work(0)
    with ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        found = list(pool.map(work, range(count)))
        seconds = time.perf_counter() - began
    with engine.connect() as connection:
        kept = connection.execute(sa.text("SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'")).scalar_one()
        sync = connection.execute(sa.text("PRAGMA synchronous")).scalar_one()
    assert (len(found), kept, sync) == (count, count + 1, 2)
    print(json.dumps({"per_second": count / seconds}), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
