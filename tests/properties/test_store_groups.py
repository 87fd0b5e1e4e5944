"""Whatever mixture of requests is thrown at the writer: what was acknowledged is kept, what raised left nothing, and the chain holds."""

import itertools
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.clock import VirtualClock
from quarterdeck.model.home import Home
from quarterdeck.model.records import Actor, Entry
from quarterdeck.store import journal, meta
from quarterdeck.store.store import Store
from quarterdeck.store.verify import verify

ENTRY = Entry(Actor("uid:0", "socket"), "test", "x", after=[1])


class RefusedError(Exception):
    pass


def request(key, appends, refuses):
    def work(tx):
        for _ in range(appends):
            journal.append(tx, ENTRY)
        meta.put(tx, key, str(tx.head.seq))
        if refuses:
            raise RefusedError
        return tx.head.seq

    return work


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.booleans()), max_size=60))
def test_groups_keep_exactly_what_they_acknowledged(requests):
    with tempfile.TemporaryDirectory() as folder:
        home, names = Home(Path(folder) / "home"), itertools.count()
        store = Store.open(home, VirtualClock())
        kept, expected = {}, 0
        pending = []
        for appends, refuses, waits in requests:
            key = f"k{next(names)}"
            pending.append((key, appends, refuses, store._submit(request(key, appends, refuses))))
            if waits:
                pending[-1][-1].exception(10)
        for key, appends, refuses, future in pending:
            if refuses:
                assert type(future.exception(10)) is RefusedError
            else:
                kept[key] = str(future.result(10))
                expected += appends
        store.close()
        again = Store.open(home, VirtualClock())
        with again.read() as connection:
            assert {f"k{n}": value for n in range(len(requests)) if (value := meta.get(connection, f"k{n}"))} == kept
            assert journal.head(connection).seq == expected
        again.close()
        assert verify(home.database, head_file=home.root / "journal.head").ok
