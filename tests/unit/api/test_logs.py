"""Which lines of which replica are told: the newest of all or of each, since a time, of the life before this one."""

import json
from dataclasses import replace

from quarterdeck.clock import iso
from quarterdeck.model.records import Actor, Entry
from quarterdeck.store import journal


def wrote(fleet, replica, *lines):
    """(time, text) of a replica."""
    path = fleet.home.logs / "pair" / f"{replica}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(f"{iso(at)} out {text}\n" for at, text in lines)


def told(fleet, query):
    answer = fleet.get(f"/v1/logs?system=pair&{query}")
    assert answer.status == 200, answer
    lines = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return [(line["replica"], line["text"]) for line in lines if line]


def test_a_quiet_replica_is_heard_beside_a_talkative_one(fleet):
    now = fleet.engine.clock.now()
    wrote(fleet, "one/reader-1", (now, "hello"))
    wrote(fleet, "one/reader-0", *((now + 1 + n / 1000, f"line {n}") for n in range(3000)))
    assert told(fleet, "target=one/reader&tail=1&each=true") == [("one/reader-1", "hello"), ("one/reader-0", "line 2999")]
    assert [replica for replica, _ in told(fleet, "target=one/reader&tail=1000")] == ["one/reader-0"] * 1000


def test_since_a_time_all_lines_are_told_unless_fewer_are_asked_for(fleet):
    now = fleet.engine.clock.now()
    wrote(fleet, "one/reader-0", *((now - 900 + n, f"line {n}") for n in range(900)))
    assert len(told(fleet, "target=one/reader-0")) == 200
    assert len(told(fleet, "target=one/reader-0&since=500.5")) == 500
    assert len(told(fleet, "target=one/reader-0&since=500.5&tail=7")) == 7
    assert told(fleet, "target=one/reader-0&tail=0") == []


def test_previous_is_the_life_before_this_one_and_no_other(fleet):
    fleet.run(fleet.engine.observe("pair"))
    clock, held = fleet.engine.clock, fleet.engine._held["pair"].replicas
    for n, text in enumerate(("first", "second", "now"), 1):
        wrote(fleet, "one/reader-0", (clock.now() + 1, text), (clock.now() + 50, f"end of {text}"))
        entry = Entry(Actor("node", "node"), "replica.started", "one/reader-0", evidence={"incarnation": n}, system="pair")
        fleet.store.write_sync(lambda tx, entry=entry: journal.append(tx, entry))
        held["one/reader-0"] = replace(held["one/reader-0"], incarnation=n, started=clock.now())
        clock.advance(100)
    assert told(fleet, "target=one/reader-0&previous=true") == [("one/reader-0", "second"), ("one/reader-0", "end of second")]
    held["one/reader-0"] = replace(held["one/reader-0"], pid=None, state="failed")
    assert told(fleet, "target=one/reader-0&previous=true") == [("one/reader-0", "now"), ("one/reader-0", "end of now")]
