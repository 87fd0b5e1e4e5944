"""What the engine saw happen is journalled, and a healed crash becomes evidence."""

import asyncio

from quarterdeck.deploy.witness import EventWitness
from quarterdeck.model.world import Happening
from quarterdeck.store import conditions, journal, meta


def exited(at, incarnation=1, **detail):
    return Happening("s", "replica.exited", "a/reader-0", at, {"cause": "killed by SIGKILL", "incarnation": incarnation, **detail})


def ready(at, incarnation=1, target="a/reader-0"):
    return Happening("s", "replica.ready", target, at, {"incarnation": incarnation})


def failed(at):
    return Happening("s", "replica.failed", "a/reader-0", at, {"reason": "exit code 9"})


def kept(store):
    with store.read() as conn:
        return {c.kind: c for c in conditions.list_(conn, "s")}


def verbs(store):
    with store.read() as conn:
        return [(r.verb, r.target, r.reason, r.actor) for r in journal.read(conn, verb="replica.")]


def test_happenings_are_journalled_in_order_in_the_name_of_the_node(store):
    asyncio.run(EventWitness(store)([exited(10.0), ready(10.2)]))
    assert verbs(store) == [
        ("replica.exited", "a/reader-0", "killed by SIGKILL", "node"),
        ("replica.ready", "a/reader-0", "", "node"),
    ]


def test_a_crash_that_is_answered_again_is_proof_with_its_time(store):
    witness = EventWitness(store)
    asyncio.run(witness([ready(9.0), exited(10.0)]))
    assert "RecoveredFromCrash" not in kept(store)
    asyncio.run(witness([ready(10.014, 2)]))
    found = kept(store)["RecoveredFromCrash"]
    assert found.evidence == "a/reader-0 killed by SIGKILL → answering again in 14 ms"
    assert (found.status, found.observed) == ("true", 10.014)


def test_an_end_that_was_asked_for_and_a_sibling_that_starts_prove_nothing(store):
    witness = EventWitness(store)
    asyncio.run(witness([ready(9.0), exited(10.0, asked=True), ready(10.1, 2)]))
    asyncio.run(witness([exited(11.0, 2), ready(11.1, target="a/reader-1")]))
    assert "RecoveredFromCrash" not in kept(store)


def test_a_replica_that_never_was_ready_did_not_crash_and_its_mended_code_heals_nothing(store):
    witness = EventWitness(store)
    asyncio.run(witness([exited(10.0, 1, cause="exit code 9"), exited(11.0, 2, cause="exit code 9"), ready(12.0, 3)]))
    assert "RecoveredFromCrash" not in kept(store)


def test_a_crash_counts_though_the_control_plane_began_anew_since_the_replica_was_ready(store):
    asyncio.run(EventWitness(store)([ready(9.0)]))
    asyncio.run(EventWitness(store)([exited(10.0), exited(10.5, 2), ready(11.0, 3)]))
    assert kept(store)["RecoveredFromCrash"].evidence == "a/reader-0 killed by SIGKILL → answering again in 1000 ms"


def test_a_replica_that_was_given_up_or_was_asked_to_end_after_its_crash_did_not_recover(store):
    witness = EventWitness(store)
    asyncio.run(witness([ready(9.0), exited(10.0), failed(11.0), ready(300.0, 2)]))
    asyncio.run(witness([exited(400.0, 2), exited(401.0, 3, asked=True), ready(402.0, 4)]))
    assert "RecoveredFromCrash" not in kept(store)


def test_what_happens_to_the_bus_is_journalled_and_renewals_are_not(store):
    witness = EventWitness(store)
    asyncio.run(
        witness([Happening("", "service.exited", "bus", 1.0, {}, "boot", 7), Happening("s", "replica.credentials", "a/b-0", 1.0, {})])
    )
    with store.read() as conn:
        assert [r.verb for r in journal.read(conn, verb="service.")] == ["service.exited"]
        assert not journal.read(conn, verb="replica.credentials")
        assert meta.node_cursor(conn) == ("boot", 7)
