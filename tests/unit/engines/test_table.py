"""Edits of the node's table: who gets new credentials, and who keeps what it has."""

from quarterdeck.engines.local import observe
from quarterdeck.engines.local import table as tables
from quarterdeck.model.desired import Namespace, Quota, Template, Workload
from quarterdeck.model.table import Credential, Service, Table

NEVER = 2_000_000_000.0


def workload(agent: str, replicas: int) -> Workload:
    return Workload("a", agent, Template("1" * 64, "tree", f"agents:{agent}"), 1, replicas, (1, 9))


def furnished(*agents: str) -> Table:
    table = tables.with_room(Table(1, 1), "s", Namespace("a", Quota(None, None, 9)))
    return tables.with_agents(table, "s", "a", agents)


def credentialed(table: Table, seen: dict, spare: int = 0) -> tuple[Table, list[tuple[str, int, int]]]:
    """The table with credentials, and for whom they were made."""
    made = []

    def mint(row, n, incarnation):
        made.append((row.name, n, incarnation))
        return Credential(incarnation, f"jwt {len(made)}", "seed", NEVER)

    return tables.with_credentials(table, observe.incarnations(seen), mint, lambda c: c.expires > 0, spare=spare), made


def seen(*replicas: tuple[int, str, int, int | None], last: dict[str, int]) -> dict:
    """What a node says of s/a/reader: replicas as (slot, state, incarnation, pid)."""
    told = [{"slot": slot, "state": state, "incarnation": i, "pid": pid} for slot, state, i, pid in replicas]
    return {"rows": [{"system": "s", "name": "a/reader", "replicas": told}], "incarnations": last}


NOTHING = {"rows": [], "incarnations": {}}


def test_a_second_agent_or_more_replicas_leave_the_credentials_of_the_others_alone():
    table, _ = credentialed(tables.with_workload(furnished("reader", "writer"), "s", workload("reader", 1), "nats://"), NOTHING)
    before = tables.row(table, "s", "a/reader").slots[0]
    table = tables.with_workload(table, "s", workload("writer", 2), "nats://")
    table = tables.with_workload(table, "s", workload("reader", 3), "nats://")
    table, made = credentialed(table, seen((0, "ready", 1, 7), last={"s/a/reader-0": 1}))
    assert tables.row(table, "s", "a/reader").slots[0] is before
    assert sorted(made) == [("a/reader", 1, 1), ("a/reader", 2, 1), ("a/writer", 0, 1), ("a/writer", 1, 1)]


def test_a_bus_that_moves_is_found_by_every_row_and_nothing_else_changes():
    def bus(port: int) -> Service:
        return Service("bus", ("nats-server",), f"digest {port}", port)

    table = tables.with_workload(furnished("reader", "writer"), "s", workload("reader", 1), "nats://old")
    before = tables.with_bus(tables.with_workload(table, "s", workload("writer", 1), "nats://new"), bus(1), "nats://old")
    after = tables.with_bus(before, bus(2), "nats://new")
    assert ({row.bus_url for row in after.rows}, after.services) == ({"nats://new"}, (bus(2),))
    assert tables.with_bus(after, bus(1), "nats://old") == before


def test_who_may_talk_to_more_or_fewer_agents_than_before_gets_new_credentials():
    table, _ = credentialed(tables.with_workload(furnished("reader"), "s", workload("reader", 1), "nats://"), NOTHING)
    table = tables.with_agents(table, "s", "a", ("reader", "writer"))
    row = tables.row(table, "s", "a/reader")
    assert row.peers == ("reader", "writer")
    assert row.slots[0].credentials == ()


def test_a_replica_that_is_being_forked_keeps_its_credential_though_it_has_no_pid_yet():
    table, _ = credentialed(tables.with_workload(furnished("reader"), "s", workload("reader", 1), "nats://"), NOTHING)
    again, made = credentialed(table, seen((0, "starting", 1, None), last={"s/a/reader-0": 1}))
    assert again == table
    assert made == []


def test_spares_come_when_everything_is_settled_and_again_when_half_are_used():
    table = tables.with_workload(furnished("reader"), "s", workload("reader", 1), "nats://")
    first, _ = credentialed(table, NOTHING)
    running = seen((0, "ready", 1, 7), last={"s/a/reader-0": 1})
    full, made = credentialed(first, running, spare=4)
    assert made == [("a/reader", 0, i) for i in (2, 3, 4, 5)]
    crashed_twice = seen((0, "ready", 3, 9), last={"s/a/reader-0": 3})
    assert credentialed(full, crashed_twice, spare=4) == (full, [])
    thrice = seen((0, "ready", 4, 9), last={"s/a/reader-0": 4})
    assert credentialed(full, thrice, spare=4)[1] == [("a/reader", 0, i) for i in (6, 7, 8)]


def test_it_is_settled_when_every_slot_that_should_work_has_a_replica_that_is_not_on_its_way_up():
    table = tables.with_workload(furnished("reader"), "s", workload("reader", 2), "nats://")
    assert not observe.settled(NOTHING, table)
    assert not observe.settled(seen((0, "ready", 1, 7), last={}), table)
    assert not observe.settled(seen((0, "ready", 1, 7), (1, "starting", 1, 8), last={}), table)
    assert observe.settled(seen((0, "ready", 1, 7), (1, "failed", 0, None), last={}), table)
