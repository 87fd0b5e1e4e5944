"""Revisions, systems, Changes, Conditions, the inventory, tokens and small values."""

import hashlib
import re

import pytest
from sqlalchemy import text

from quarterdeck.errors import Conflict, Forbidden, InvalidTransition, NotFound
from quarterdeck.model.grant import EVERYTHING, Grant
from quarterdeck.model.records import Change, Condition, Patch
from quarterdeck.store import changes, conditions, inventory, journal, meta, revisions, systems, tokens

from .conftest import ACTOR


def apply(store, digest, code="code-1", system="triage"):
    return store.write_sync(lambda tx: revisions.apply(tx, system, f"spec {digest}", digest, code, "lock", ACTOR, "why"))


def seen(store, look, *args, **kwargs):
    with store.read() as connection:
        return look(connection, *args, **kwargs)


def verbs(store):
    return [one.verb for one in seen(store, journal.read)]


def change(store, **fields):
    values = {"id": 0, "system": "triage", "author": "human", "actor": "uid:0", "target": "a/b", "reason": "load", "at": 0.0, "until": None}
    one = Change(**{**values, "patch": Patch("replicas", 5), **fields})
    return store.write_sync(lambda tx: changes.add(tx, one))


def condition(status="true", reason="Ok", **fields):
    return Condition(
        **{"kind": "link", "target": "a->b", "message": "m", "since": 1.0, "observed": 1.0, "evidence": "2 ms", **fields},
        status=status,
        reason=reason,
    )


def test_the_same_digest_is_no_new_revision(triage):
    assert apply(triage, "digest-1").number == 1
    assert apply(triage, "digest-2").number == 2
    assert apply(triage, "digest-1").number == 3, "a rollback is a new revision"
    assert [one.digest for one in seen(triage, revisions.history, "triage")] == ["digest-1", "digest-2", "digest-1"]
    assert seen(triage, revisions.current, "triage").number == 3
    assert seen(triage, revisions.get, "triage", 2).spec == "spec digest-2"
    with pytest.raises(NotFound, match="no revision 9"):
        seen(triage, revisions.get, "triage", 9)
    assert verbs(triage) == ["revision.apply"] * 3


def test_every_edit_raises_the_generation_and_moves_the_index(triage):
    assert seen(triage, systems.get, "triage").generation == 1
    one = change(triage)
    triage.write_sync(lambda tx: changes.end(tx, one.id, "reverted", ACTOR))
    apply(triage, "digest-1")
    found = seen(triage, systems.get, "triage")
    assert (found.generation, found.index, found.revision) == (3, 3, 1)


def test_a_removed_system_keeps_its_history_and_its_count(triage):
    one = change(triage)
    triage.write_sync(lambda tx: conditions.put(tx, "triage", condition()))
    triage.write_sync(lambda tx: systems.remove(tx, "triage", ACTOR, "qd down --purge"))
    assert seen(triage, systems.systems) == []
    assert seen(triage, revisions.current, "triage") is None
    assert seen(triage, conditions.list_, "triage") == []
    assert seen(triage, changes.get, one.id).state == "reverted"
    with pytest.raises(NotFound):
        seen(triage, systems.get, "triage")
    with pytest.raises(NotFound):
        change(triage)
    assert apply(triage, "digest-1").number == 2
    assert seen(triage, systems.get, "triage").generation == 5


def test_systems_are_listed_by_name(triage):
    apply(triage, "x", system="beta")
    assert [one.name for one in seen(triage, systems.systems)] == ["beta", "triage"]


def test_old_revisions_go_unless_their_code_is_in_use(triage):
    for n in range(2, 16):
        apply(triage, f"digest-{n}", f"code-{n}")
    named = triage.write_sync(lambda tx: revisions.retain(tx, frozenset({"code-2"})))
    assert named == {"code-2", *(f"code-{n}" for n in range(6, 16))}
    assert [one.number for one in seen(triage, revisions.history, "triage")] == [*range(15, 5, -1), 2]


def test_a_change_is_live_until_its_time_or_its_end(triage, clock):
    forever, short = change(triage), change(triage, until=clock.now() + 60, patch=Patch("hold", value=True))
    assert (forever.id, short.id, short.state, short.at) == (1, 2, "live", clock.now())
    assert seen(triage, changes.live, "triage", clock.now()) == [forever, short]
    assert seen(triage, changes.live, "triage", clock.now() + 60) == [forever]
    assert seen(triage, changes.overdue, clock.now() + 60) == [short]
    clock.advance(60)
    ended = triage.write_sync(lambda tx: changes.end(tx, 2, "expired", ACTOR))
    assert ended.state == "expired"
    assert seen(triage, changes.overdue, clock.now()) == []
    assert [one.id for one in seen(triage, changes.list_, "triage")] == [2, 1]
    assert seen(triage, changes.list_, "other") == []
    assert verbs(triage)[1:] == ["change.add", "change.add", "change.expire"]
    assert seen(triage, journal.read, verb="change.add")[0].after == {
        "author": "human",
        "change": 1,
        "field": "replicas",
        "until": None,
        "value": 5,
    }


def test_a_change_ends_once(triage):
    change(triage)
    triage.write_sync(lambda tx: changes.end(tx, 1, "reverted", ACTOR))
    with pytest.raises(InvalidTransition) as caught:
        triage.write_sync(lambda tx: changes.end(tx, 1, "expired", ACTOR))
    assert caught.value.story[-1] == "now reverted"
    for look in (lambda: seen(triage, changes.get, 9), lambda: triage.write_sync(lambda tx: changes.end(tx, 9, "expired", ACTOR))):
        with pytest.raises(NotFound):
            look()


def test_a_condition_is_journalled_only_when_it_says_something_new(store):
    def put(**fields):
        return store.write_sync(lambda tx: conditions.put(tx, "triage", condition(**fields)))

    put(since=10.0, observed=10.0)
    again = put(since=20.0, observed=20.0, evidence="3 ms")
    assert (again.since, again.observed) == (10.0, 20.0)
    assert len(verbs(store)) == 1
    assert put(since=30.0, reason="Slow").since == 10.0
    assert put(since=40.0, status="false", reason="Slow").since == 40.0
    records = seen(store, journal.read)
    assert [one.before and one.before["status"] for one in records] == [None, "true", "true"]
    assert (records[-1].verb, records[-1].evidence, records[-1].system) == ("condition.link", "2 ms", "triage")
    assert [one.status for one in seen(store, conditions.list_, "triage")] == ["false"]
    store.write_sync(lambda tx: conditions.drop(tx, "triage", "link", "a->b"))
    assert seen(store, conditions.list_, "triage") == []


def test_the_inventory_remembers_and_refuses_to_go_back(store, clock):
    def made():
        return store.write_sync(lambda tx: inventory.made(tx, "triage", "stream", "IN_a", reason="account is new"))

    def mark(last):
        return store.write_sync(lambda tx: inventory.watermark(tx, "triage", "stream", "IN_a", first=1, last=last, messages=last))

    assert made().epoch == 1
    clock.advance(5)
    assert mark(500).seen == clock.now()
    assert made().last == 500, "made again changes nothing"
    with pytest.raises(Conflict, match="went back from 500 to 375: 125 messages are lost"):
        mark(375)
    assert [one.last for one in seen(store, inventory.list_, "triage", "stream")] == [500]
    store.write_sync(lambda tx: inventory.gone(tx, "triage", "stream", "IN_a", reason="removed"))
    assert seen(store, inventory.list_) == []
    with pytest.raises(NotFound):
        mark(1)
    assert (made().epoch, mark(3).last) == (2, 3)
    assert verbs(store) == ["inventory.made", "inventory.gone", "inventory.made"]


def test_a_token_is_kept_as_a_hash_and_checked(store, clock):
    id_, secret = store.write_sync(lambda tx: tokens.create(tx, EVERYTHING, 60.0, "laptop"))
    assert re.fullmatch(r"qd_[0-9a-f]{8}_[\w-]{43}", secret), "256 bits"
    with store.read() as connection:
        row = connection.execute(text("SELECT * FROM tokens")).mappings().one()
        everything = str(dict(row)) + str([one.after for one in journal.read(connection)])
        assert row["hash"] == hashlib.sha256(secret.encode()).hexdigest()
        assert secret[12:] not in everything
        assert tokens.check(connection, secret, clock.now()).grant == EVERYTHING
        for bad in ("", "qd_", secret[:-1], f"qd_00000000_{secret[12:]}", f"qd_{id_}_", secret + "\ud800"):
            with pytest.raises(Forbidden):
                tokens.check(connection, bad, clock.now())
        with pytest.raises(Forbidden):
            tokens.check(connection, secret, clock.now() + 60)
        assert [one.id for one in tokens.list_(connection, clock.now())] == [id_]
    store.write_sync(lambda tx: tokens.revoke(tx, id_, ACTOR, "lost laptop"))
    with pytest.raises(Forbidden):
        seen(store, tokens.check, secret, clock.now())
    with pytest.raises(NotFound):
        store.write_sync(lambda tx: tokens.revoke(tx, "none", ACTOR, ""))
    clock.advance(86_400 + 61)
    assert store.write_sync(tokens.prune) == 1


def test_a_login_code_works_once_and_is_no_token(store, clock):
    _, code = store.write_sync(lambda tx: tokens.create(tx, Grant("viewer", "one"), 60.0, "link", kind="code"))
    with pytest.raises(Forbidden, match="login code"):
        seen(store, tokens.check, code, clock.now())
    _, session = store.write_sync(lambda tx: tokens.redeem(tx, code, 3600.0))
    assert seen(store, tokens.check, session, clock.now()).grant == Grant("viewer", "one")
    with pytest.raises(Forbidden):
        store.write_sync(lambda tx: tokens.redeem(tx, code, 3600.0))
    with pytest.raises(Forbidden, match="not a login code"):
        store.write_sync(lambda tx: tokens.redeem(tx, session, 3600.0))


def test_epochs_rise_and_the_cursor_moves(store):
    assert [store.write_sync(meta.next_epoch) for _ in range(3)] == [1, 2, 3]
    assert seen(store, meta.node_cursor) == ("", 0)
    store.write_sync(lambda tx: meta.move_node_cursor(tx, "boot-1", 17))
    assert seen(store, meta.node_cursor) == ("boot-1", 17)


def test_the_minute_of_use_is_kept_without_a_word_in_the_journal(store, clock):
    id_, _ = store.write_sync(lambda tx: tokens.create(tx, EVERYTHING, 60.0, ""))
    before = verbs(store)
    store.write_sync(lambda tx: tokens.touch(tx, {id_: 1_700_000_000.0 + 30, "gone": 1.0}))
    assert seen(store, tokens.list_, clock.now())[0].used == 1_699_999_980.0
    assert verbs(store) == before


def test_living_tokens_are_those_that_are_neither_revoked_nor_over(store, clock):
    made = [store.write_sync(lambda tx, ttl=ttl: tokens.create(tx, EVERYTHING, ttl, ""))[0] for ttl in (60.0, 120.0, 180.0)]
    store.write_sync(lambda tx: tokens.revoke(tx, made[2], ACTOR, ""))
    clock.advance(60)
    assert seen(store, tokens.living, frozenset({*made, "unknown"}), clock.now()) == {made[1]}
    assert seen(store, tokens.living, frozenset({made[0]}), clock.now()) == frozenset()


def test_records_and_changes_of_a_cluster_are_found_by_whole_names(store):
    apply(store, "one")
    targets = (
        "one",
        "one/reader",
        "one/reader-0",
        "one-more",
        "one-more/reader",
        "one->two",
        "on",
        "two/one",
        "one%",
        "o_e/reader",
        "triage",
    )
    for target in targets:
        change(store, target=target)
    mine = ["one", "one/reader", "one/reader-0"]
    assert [one.target for one in seen(store, journal.read, cluster="one", verb="change.add")] == mine
    assert sorted(one.target for one in seen(store, changes.list_, cluster="one")) == mine
    assert seen(store, journal.read, cluster="o_e", verb="change.add")[0].target == "o_e/reader"
    assert len(seen(store, journal.read, cluster="%")) == 0
