"""Which lives of the node end what an earlier incarnation of a replica held."""

from quarterdeck.clock import VirtualClock
from quarterdeck.model.home import Home
from quarterdeck.store import meta
from quarterdeck.store.store import Store
from quarterdeck.work.service import Lives


def test_in_a_life_that_we_saw_begin_each_replica_is_ready_for_the_first_time_once(replica):
    lives = Lives("one")
    assert lives.first("two", replica("a", 0, 5))
    assert not lives.first("two", replica("a", 0, 6)), "the one before it may still drain"
    assert lives.first("two", replica("a", 1, 5))
    assert lives.first("three", replica("a", 0, 7))


def test_of_a_life_that_had_begun_when_we_did_nothing_is_known(replica):
    lives = Lives("one")
    assert not lives.first("one", replica("a", 0, 5))
    assert not lives.first("one", replica("a", 0, 6))


def test_the_last_life_is_that_of_the_last_event_that_was_written_down(tmp_path, replica):
    store = Store.open(Home(tmp_path), VirtualClock())
    assert Lives.known(store).first("one", replica())
    store.write_sync(lambda tx: meta.move_node_cursor(tx, "one", 7))
    assert not Lives.known(store).first("one", replica())
    assert Lives.known(store).first("two", replica())
    store.close()
