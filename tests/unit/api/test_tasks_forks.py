"""A task run again at the doors: 201 for a new fork and 200 for a known one, what is refused and why, and what both tasks say of it."""

import pytest
from tests.unit.api.working import give, rows

from quarterdeck.model.grant import Grant
from quarterdeck.store import tokens


@pytest.fixture
def origin(fleet, replica):
    """The id of a task that is done after two steps and an effect between them."""
    made = give(fleet, {"a": 1}, key="order", timeout=60, priority=3, budget={"calls": 9})
    held = replica.claim()
    replica.say("step", **held, name="first#1", code="c", value="1")
    replica.say("begin", **held, key="pay", semantics="unsafe", arguments="h")
    replica.say("finish", **held, key="pay", outcome="done", value='"paid"', error="")
    replica.say("step", **held, name="second#1", code="c", value="2")
    replica.say("done", **held, result='"sold"')
    return made["id"]


def fork(fleet, task, **body):
    return fleet.post(f"/v1/tasks/{task}/fork", body)


def test_a_fork_is_a_new_task_and_both_tell_of_each_other(fleet, replica, origin):
    made = fork(fleet, origin, **{"from": "second"}, reason="mended")
    assert (made.status, made.json["created"], made.json["key"], made.json["state"]) == (201, True, "order~fork-1", "queued")
    whole, old = (fleet.get(f"/v1/tasks/{task}").json for task in (made.json["id"], origin))
    assert whole["forked_from"] == {"task": origin, "step": "second#1"}
    assert (old["forks"], old["state"], old["result"], old["forked_from"]) == ([whole["id"]], "done", "sold", None)
    assert (whole["payload"], whole["priority"], whole["steps"][0]["name"]) == ({"a": 1}, 3, "first#1")
    assert [(one["key"], one["outcome"], one["value"]) for one in whole["effects"]] == [("pay", "done", "paid")]
    (record,) = fleet.get("/v1/journal?verb=task.fork").json["items"]
    assert (record["reason"], record["after"]["from"], record["after"]["step"]) == ("mended", origin, "second#1")
    held = replica.claim()
    assert replica.say("begin", **held, key="pay", semantics="unsafe", arguments="h") == {"word": "done", "value": '"paid"'}


def test_the_same_key_is_the_same_fork(fleet, origin):
    first = fork(fleet, origin, **{"from": "second#1"}, key="mine")
    again = fork(fleet, origin, **{"from": "second#1"}, key="mine", reason="lost the answer")
    assert (first.status, again.status, again.json["created"]) == (201, 200, False)
    assert again.json["id"] == first.json["id"]
    other = fork(fleet, origin, key="mine")
    assert (other.status, "asks for something else" in other.json["error"]["message"]) == (409, True)
    assert fork(fleet, "order", **{"from": "second#1"}, key="mine").status == 200, "named by key"


def test_a_plan_changes_nothing(fleet, origin):
    before = rows(fleet)
    plan = fork(fleet, origin, **{"from": "second"}, dry_run=True)
    assert plan.status == 200
    assert {name: plan.json[name] for name in ("kind", "task", "step", "key")} == {
        "kind": "ForkPlan", "task": origin, "step": "second#1", "key": "order~fork-1"}  # fmt: skip
    assert plan.json["kept"] == [{"kind": "step", "name": "first#1"}, {"kind": "effect", "name": "pay"}]
    assert plan.json["again"] == [{"kind": "step", "name": "second#1"}]
    assert rows(fleet) == before


def test_what_cannot_be_forked_is_refused_with_what_to_do_and_leaves_nothing(fleet, origin):
    running = give(fleet, key="running")["id"]
    before = rows(fleet)
    early = fork(fleet, running)
    assert (early.status, early.json["error"]["hint"]) == (409, f"qd task cancel {running}, or wait until it has ended")
    lost = fork(fleet, origin, **{"from": "secnod#1"})
    assert (lost.status, "did you mean 'second#1'?" in lost.json["error"]["hint"]) == (404, True)
    assert fork(fleet, "01JD8Z0V7Q4W8X2N5R3T6Y9B1C").status == 404
    for wrong in ({"from": ""}, {"from": 5}, {"key": "a\nb"}, {"step": "second#1"}, {"reason": "x" * 1001}):
        assert fork(fleet, origin, **wrong).status == 422, wrong
    assert fork(fleet, origin, key="^mine").status == 400
    assert rows(fleet) == before


def test_who_may_not_give_the_agent_work_may_not_fork_it_either(fleet, origin):
    def status(grant):
        secret = fleet.store.write_sync(lambda tx: tokens.create(tx, grant, 30_000_000.0, "test"))[1]
        fleet.engine.clock.advance(1.0)
        return fleet.stranger("POST", f"/v1/tasks/{origin}/fork", json={}, headers={"authorization": f"Bearer {secret}"}).status

    before = rows(fleet)
    assert [status(grant) for grant in (Grant("viewer"), Grant.at("operator", "two"))] == [403, 403]
    assert rows(fleet) == before
    assert [status(grant) for grant in (Grant("operator"), Grant.at("operator", "one"))] == [201, 201]
