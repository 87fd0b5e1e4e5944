import json

import pytest

from quarterdeck.errors import Conflict, Forbidden, NotFound
from quarterdeck.model import messages
from quarterdeck.model.messages import Letter, Returned
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Holder, Overloaded, Target
from quarterdeck.store import inventory, journal, outbox
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn

FRONT = Holder("s", "edge", "front", 0, 1)
FRONT_TOO = Holder("s", "edge", "front", 1, 1)
OTHER = Holder("s", "edge", "other", 0, 1)
WORKER = Holder("s", "core", "worker", 0, 1)
TARGET = WORKER.target
HUMAN = Actor("uid:0", "socket")


def letter(n, body="1", **more):
    return Letter(f"{n:032x}", more.pop("target", TARGET), more.pop("verb", "take"), body, **more)


@pytest.fixture
def turn(store):
    """Does one thing in a turn of its own; gives what it gave, and keeps the turn as `turn.last`."""

    def do(work):
        def whole(tx):
            do.last = Turn(tx, Fairness())
            found = work(do.last)
            do.last.close()
            return found

        return store.write_sync(whole)

    return do


def publish(turn, *args, holder=FRONT, **more):
    return turn(lambda t: outbox.publish(t, holder, letter(*args, **more)))


def states(turn):
    return {int(m.id, 16): m.state for m in turn(lambda t: outbox.list_(t.connection, "s"))}


def send(turn, seq=1, epoch=0):
    """Everything that is due goes to its stream; which that was."""

    def work(t):
        due = outbox.due(t.connection, 100)
        return [int(m.id, 16) for n, m in enumerate(due) if outbox.sent(t, m, seq + n, epoch)]

    return turn(work)


def test_a_message_is_kept_and_the_relay_hears_of_it(turn):
    kept, new = publish(turn, 1, '{"a":1}', key="INC-1", headers={"traceparent": "00-x"})
    assert (new, kept.state, kept.body, kept.seq, kept.sender, kept.source) == (True, "waiting", '{"a":1}', 0, "edge/front", "edge/front-0")
    assert turn.last.posted == {TARGET}
    assert dict(kept.headers) == {"traceparent": "00-x"}
    assert kept.unique == f"{kept.id}.1"


def test_a_key_is_one_message_for_ever_whichever_replica_says_it_and_another_body_is_a_conflict(turn, clock):
    first, _ = publish(turn, 1, '{"a":1,"b":2}', key="k")
    assert publish(turn, 2, '{"b": 2, "a": 1}', key="k", holder=FRONT_TOO) == (first, False)
    send(turn)
    turn(lambda t: outbox.handled(t, WORKER, first.id))
    clock.advance(10 * 365 * 86400.0)
    again, new = publish(turn, 3, '{"a":1,"b":2}', key="k")
    assert (again.id, again.state, again.body, new) == (first.id, "done", None, False)
    with pytest.raises(Conflict, match="key 'k' was published to core/worker with another body"):
        publish(turn, 4, '{"a":2}', key="k")
    for more in ({"holder": OTHER}, {"verb": "drop"}, {"target": Target("s", "core", "clerk")}):
        assert publish(turn, 5 + len(str(more)), '{"a":2}', key="k", **more)[1], more


def test_a_repeat_without_a_key_is_known_by_its_id(turn):
    first, _ = publish(turn, 1, lane="o")
    assert publish(turn, 1, lane="o") == (first, False)
    with pytest.raises(Conflict, match="another body"):
        publish(turn, 1, "2", lane="o")
    with pytest.raises(Conflict):
        publish(turn, 1, lane="o", holder=OTHER)


def test_it_is_sent_once_the_stream_confirmed_it_and_not_before(turn):
    kept, _ = publish(turn, 1)
    assert [m.id for m in turn(lambda t: outbox.due(t.connection, 10))] == [kept.id]
    assert send(turn, seq=7) == [1]
    found = turn(lambda t: outbox.get(t.connection, kept.id))
    assert (found.state, found.seq) == ("sent", 7)
    assert turn(lambda t: outbox.due(t.connection, 10)) == []
    assert turn(lambda t: outbox.sent(t, kept, 8, 0)) is False, "a second confirmation says nothing new"


def test_a_confirmation_of_a_stream_that_was_made_anew_meanwhile_does_not_count(turn):
    kept, _ = publish(turn, 1)
    turn(lambda t: inventory.made(t.tx, "s", "stream", outbox.stream_name(TARGET)))
    assert turn(lambda t: outbox.epoch(t, TARGET)) == 1
    assert turn(lambda t: outbox.sent(t, kept, 1, 0)) is False
    assert states(turn) == {1: "waiting"}
    assert turn(lambda t: outbox.sent(t, kept, 1, 1)) is True


def test_targets_that_take_nothing_are_left_alone(turn):
    publish(turn, 1)
    publish(turn, 2, target=Target("s", "core", "clerk"))
    assert [m.agent for m in turn(lambda t: outbox.due(t.connection, 10, [TARGET]))] == ["clerk"]


def test_what_was_handled_is_done_for_good_and_only_its_receiver_can_say_so(turn):
    kept, _ = publish(turn, 1)
    assert turn(lambda t: outbox.taken(t, WORKER, kept.id)) == "waiting"
    turn(lambda t: outbox.handled(t, WORKER, kept.id))  # the stream's confirmation was lost
    turn(lambda t: outbox.handled(t, WORKER, kept.id))
    assert turn(lambda t: outbox.taken(t, WORKER, kept.id)) == "done"
    assert turn(lambda t: outbox.sent(t, kept, 1, 0)) is False
    for work in (lambda t: outbox.handled(t, OTHER, kept.id), lambda t: outbox.taken(t, OTHER, kept.id)):
        with pytest.raises(Forbidden):
            turn(work)
    with pytest.raises(NotFound):
        turn(lambda t: outbox.handled(t, WORKER, "f" * 32))


def test_after_a_loss_everything_sent_and_not_known_to_be_handled_goes_out_again_as_a_new_copy(turn):
    for n in (1, 2, 3):
        publish(turn, n)
    publish(turn, 4, target=Target("s", "core", "clerk"))
    send(turn)
    turn(lambda t: outbox.handled(t, WORKER, letter(2).id))
    publish(turn, 5)
    assert turn(lambda t: outbox.lost(t.tx, TARGET)) == 2
    assert states(turn) == {1: "waiting", 2: "done", 3: "waiting", 4: "sent", 5: "waiting"}
    assert [m.unique for m in turn(lambda t: outbox.due(t.connection, 10))] == [
        f"{letter(1).id}.2",
        f"{letter(3).id}.2",
        f"{letter(5).id}.1",
    ]


def test_what_the_stream_let_go_of_unhandled_goes_out_again(turn, clock):
    for n in (1, 2, 3):
        publish(turn, n)
    assert turn(lambda t: outbox.under_way(t.connection)) == set()
    send(turn, seq=11)
    turn(lambda t: outbox.handled(t, WORKER, letter(1).id))
    assert turn(lambda t: outbox.under_way(t.connection)) == {TARGET}
    assert turn(lambda t: outbox.swallowed(t.tx, TARGET, 0, until=12, after=10.0)) == 0, "its receiver may be about to say so"
    clock.advance(11.0)
    assert turn(lambda t: outbox.swallowed(t.tx, TARGET, 1, until=12, after=10.0)) == 0, "numbers of another epoch mean nothing"
    assert turn(lambda t: outbox.swallowed(t.tx, TARGET, 0, until=12, after=10.0)) == 1
    assert states(turn) == {1: "done", 2: "waiting", 3: "sent"}


def test_of_one_order_the_next_is_sent_when_the_one_before_has_ended(turn):
    for n in (1, 2, 3):
        publish(turn, n, lane="o")
    publish(turn, 4, lane="p")
    assert states(turn) == {1: "waiting", 2: "behind", 3: "behind", 4: "waiting"}
    assert send(turn) == [1, 4]
    assert send(turn) == []
    turn(lambda t: outbox.handled(t, WORKER, letter(1).id))
    assert turn.last.posted == {TARGET}
    assert states(turn) == {1: "done", 2: "waiting", 3: "behind", 4: "sent"}
    turn(lambda t: outbox.bury(t, WORKER, Returned(letter(2).id, "edge/front-0", "take", {}, "1", "ValueError: x", 20)))
    assert states(turn) == {1: "done", 2: "dead", 3: "waiting", 4: "sent"}, "a dead message holds nobody up"
    turn(lambda t: outbox.handled(t, WORKER, letter(3).id))
    publish(turn, 6, lane="o")
    assert states(turn)[6] == "waiting"


def dead(turn, n=9, holder=WORKER, **more):
    given = {
        "sender": "edge/front-0",
        "verb": "take",
        "headers": {"Qd-Id": "x"},
        "body": "[1]",
        "reason": "ValueError: x",
        "deliveries": 20,
    }
    turn(lambda t: outbox.bury(t, holder, Returned(letter(n).id, **{**given, **more})))


def test_a_message_that_went_straight_to_the_stream_is_kept_when_it_is_given_up_and_can_be_sent_again(turn, store):
    dead(turn)
    dead(turn)
    found = turn(lambda t: outbox.get(t.connection, letter(9).id))
    assert (found.state, found.body, found.reason, found.deliveries, found.sender) == ("dead", "[1]", "ValueError: x", 20, "edge/front")
    assert (found.cluster, found.agent, found.source) == ("core", "worker", "edge/front-0")
    again = turn(lambda t: outbox.retry(t, found.id, HUMAN, "mended"))
    assert (again.state, again.attempt, again.deliveries) == ("waiting", 2, 0)
    assert turn.last.posted == {TARGET}
    with pytest.raises(Conflict, match="is waiting, not dead"):
        turn(lambda t: outbox.retry(t, found.id, HUMAN, ""))
    with store.read() as conn:
        told = [(r.verb, r.target, r.reason) for r in journal.read(conn) if r.verb.startswith("message.")]
    assert told == [("message.dead", "core/worker", "ValueError: x"), ("message.retry", "core/worker", "mended")]


def test_nobody_buries_what_is_for_somebody_else_and_what_is_done_stays_done(turn):
    publish(turn, 1)
    with pytest.raises(Forbidden):
        dead(turn, 1, holder=OTHER)
    turn(lambda t: outbox.handled(t, WORKER, letter(1).id))
    dead(turn, 1)
    assert states(turn) == {1: "done"}


def test_a_dead_message_of_which_another_copy_is_handled_is_done(turn):
    publish(turn, 1)
    dead(turn, 1)
    turn(lambda t: outbox.handled(t, WORKER, letter(1).id))
    assert states(turn) == {1: "done"}


@pytest.mark.parametrize("verb", ["a b", "x.y", "*", ">", "", "x\r\nPUB y 1"])
def test_a_verb_that_would_not_fit_a_subject_is_never_sent(turn, verb):
    dead(turn, verb=verb)
    with pytest.raises(Conflict, match="no verb that can be sent"):
        turn(lambda t: outbox.retry(t, letter(9).id, HUMAN, ""))


def test_what_the_stream_will_never_take_is_dead(turn):
    kept, _ = publish(turn, 1)
    turn(lambda t: outbox.refused(t, kept, "message size exceeds maximum allowed"))
    turn(lambda t: outbox.refused(t, kept, "message size exceeds maximum allowed"))
    found = turn(lambda t: outbox.get(t.connection, kept.id))
    assert (found.state, found.reason) == ("dead", "refused by the stream: message size exceeds maximum allowed")


def test_a_target_with_too_much_before_it_takes_no_more_but_says_what_to_do(turn, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_WAITING", 3)
    for n in (1, 2, 3):
        publish(turn, n, lane="o", key=str(n))
    with pytest.raises(Overloaded, match=r"3 messages .* wait for core/worker already") as full:
        publish(turn, 4)
    assert "qd scale core/worker" in full.value.hint
    assert publish(turn, 5, target=Target("s", "core", "clerk"))[1]
    assert publish(turn, 6, lane="o", key="3")[1] is False, "what is known is said though no more is taken"
    send(turn)
    assert publish(turn, 7)[1]
    monkeypatch.setattr(outbox, "MOST_WAITING_BYTES", 10)
    with pytest.raises(Overloaded):
        publish(turn, 8, json.dumps("x" * 20)) and publish(turn, 10)


def test_lists_page_and_narrow(turn):
    for n in range(1, 6):
        publish(turn, n, target=TARGET if n % 2 else Target("s", "edge", "clerk"))
    numbers = lambda found: [int(m.id, 16) for m in found]  # noqa: E731
    assert numbers(turn(lambda t: outbox.list_(t.connection, "s", limit=2))) == [5, 4]
    assert numbers(turn(lambda t: outbox.list_(t.connection, "s", before=4, limit=2))) == [3, 2]
    assert numbers(turn(lambda t: outbox.list_(t.connection, None, cluster="edge"))) == [4, 2]
    assert numbers(turn(lambda t: outbox.list_(t.connection, "s", target="core/worker", states_=["waiting"]))) == [5, 3, 1]
    assert numbers(turn(lambda t: outbox.list_(t.connection, "other"))) == []
    assert messages.OPEN == ("behind", "waiting", "sent")
