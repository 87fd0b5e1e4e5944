"""Child process of test_store_*.py: opens the store and journals until it dies; prints each sequence after it was acknowledged."""
# ruff: noqa: ARG005 callbacks keep the real signature

import os
import sys
from pathlib import Path

from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Entry
from quarterdeck.store import journal
from quarterdeck.store.store import EXIT_STORE_FAILED, Store

ENTRY = Entry(Actor("uid:0", "socket"), "test", "x", after="y" * int(sys.argv[3]))


def main():
    try:
        store = Store.open(Home(Path(sys.argv[1])), SystemClock(), on_fatal=lambda error: os._exit(EXIT_STORE_FAILED))
    except QuarterdeckError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        os._exit(error.exit_code)
    os.write(1, b"open\n")
    for _ in range(int(sys.argv[2])):
        record = store.write_sync(lambda tx: journal.append(tx, ENTRY))
        os.write(1, f"{record.seq} {record.hash}\n".encode())
    store.close()


main()
