"""Large bodies as the desk and the ledger take them: as references to what is there, and to nothing else."""

import json

import pytest

from quarterdeck.errors import NotFound, UserError
from quarterdeck.model import ops
from quarterdeck.model.blobs import Ref
from quarterdeck.model.records import Actor
from quarterdeck.model.work import Order, Target
from quarterdeck.store import effects, outbox
from quarterdeck.work.documents import effect, value
from quarterdeck.work.requests import unpack

THERE, NOWHERE = Ref.of(b"1"), Ref.of(b"2")
ID = "0" * 12 + "7" + "0" * 3 + "8" + "0" * 15


@pytest.fixture
def office(office):
    """Of the system `s`, which has one blob."""

    def use(system, ref):
        if (system, ref) != ("s", THERE):
            raise NotFound("nothing there")

    def run(play):
        async def opened(made):
            made.ledger.use = made.work.use = use
            await play(made)

        office(opened)

    return run


def every(task, fence, body):
    """Each operation that carries a body."""
    return (
        ops.Step(task, fence, "n#1", "c", body),
        ops.Delegate(task, fence, "n", "c/b", "", body),
        ops.Submit("c/b", "", body, "key"),
        ops.Publish(ID, "c/b", "v", body, "k", None, {}),
        ops.Finish(task, fence, "e", "done", body, ""),
        ops.Done(task, fence, body),
    )


@pytest.mark.parametrize("kind", range(6))
def test_each_operation_takes_a_reference_to_what_is_there_and_to_nothing_else(office, replica, kind):
    async def play(made):
        task, fence = await made.running(replica())
        await made.say(replica(), ops.Begin(task, fence, "e", "unsafe", "h"))
        before = made.kinds(task)
        with pytest.raises(NotFound, match="nothing there"):
            await made.say(replica(), every(task, fence, NOWHERE.body)[kind])
        assert made.kinds(task) == before
        for body in ("@", f"@{THERE} ", f"@{THERE.digest}", f"@sha256:{THERE.digest}:0"):
            with pytest.raises(UserError, match="names no blob"):
                await made.say(replica(), every(task, fence, body)[kind])
        await made.say(replica(), every(task, fence, THERE.body)[kind])

    office(play)


def test_what_another_system_has_is_not_there(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        stranger = replica(system="t")
        with pytest.raises(NotFound):
            await made.say(stranger, ops.Submit("c/b", "", THERE.body, "key"))
        await made.say(replica(), ops.Done(task, fence, THERE.body))
        assert made.body(task) == THERE.body

    office(play)


def test_a_reference_comes_back_as_it_was_given(office, replica):
    async def play(made):
        task, fence = await made.running(replica(), payload=THERE.body)
        for op in every(task, fence, THERE.body)[:3]:
            await made.say(replica(), op)
        await made.say(replica(), ops.Begin(task, fence, "e", "unsafe", "h"))
        await made.say(replica(), ops.Finish(task, fence, "e", "done", THERE.body, ""))
        await made.say(replica(), ops.GiveBack(task, fence, "I stop"))
        (one,) = await made.say(replica("a", 1), ops.Claim(1, ()))
        assert (one["payload"], one["steps"]) == (THERE.body, {"n#1": ["c", THERE.body]})
        again = await made.say(replica("a", 1), ops.Begin(task, one["fence"], "e", "unsafe", "h"))
        assert again == {"word": "done", "value": THERE.body}
        ((child, f), (other, _)) = await made.claim(replica("b"), 2)
        assert made.body(child, "input") == made.body(other, "input") == THERE.body
        await made.say(replica("b"), ops.Done(child, f, THERE.body))
        found = await made.say(replica("a", 1), ops.Wait(task, one["fence"], (child,), ()))
        assert found["children"][child]["result"] == THERE.body

    office(play)


def test_a_message_by_reference_is_sent_as_it_is_and_let_go_of_when_it_was_handled(office, replica):
    async def play(made):
        await made.say(replica(), ops.Publish(ID, "c/b", "v", THERE.body, "k", None, {}))
        with made.store.read() as connection:
            assert outbox.get(connection, ID).body == THERE.body
        await made.say(replica("b"), ops.Handled(ID))
        with made.store.read() as connection:
            assert outbox.get(connection, ID).body is None

    office(play)


def test_an_order_refers_to_what_is_there_or_is_refused(office):
    async def play(made):
        target = Target("s", "c", "a")
        refused = await made.work.submit(
            [Order(target, NOWHERE.body), Order(target, "@x"), Order(Target("t", "c", "a"), THERE.body)], Actor("uid:0", "socket")
        )
        assert [type(one) for one in refused] == [NotFound, UserError, NotFound]
        assert await made.submit(THERE.body, key="k") == await made.submit(THERE.body, key="k")

    office(play)


def test_no_value_can_be_mistaken_for_a_reference(office, replica):
    async def play(made):
        task, fence = await made.running(replica(), payload=json.dumps(NOWHERE.body))
        await made.say(replica(), ops.Done(task, fence, json.dumps(NOWHERE.body)))
        assert value(made.body(task)) == NOWHERE.body
        assert value(THERE.body) == {"$ref": str(THERE), "bytes": 1}
        assert value(None) is None

    office(play)


def test_what_only_tells_takes_no_reference():
    for op in (ops.Emit("t", 1, 1, (THERE.body,)), ops.AskHuman("t", 1, "q", "?", (), THERE.body, None, None)):
        with pytest.raises(UserError, match="is not JSON"):
            unpack(json.dumps({"ops": [ops.pack(op)]}).encode())


def test_an_effects_large_value_is_shown_by_its_name(office, replica):
    async def play(made):
        task, fence = await made.running(replica())
        await made.say(replica(), ops.Begin(task, fence, "e", "unsafe", "h"))
        await made.say(replica(), ops.Finish(task, fence, "e", "done", THERE.body, ""))
        with made.store.read() as connection:
            (found,) = effects.of_task(connection, task)
        assert effect(found)["value"] == {"$ref": str(THERE), "bytes": 1}

    office(play)
