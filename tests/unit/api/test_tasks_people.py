"""What people do with work at the doors, over the real store and ledger: decide, answer, and see what is theirs."""

import os

from tests.unit.api.working import give

from quarterdeck.model.grant import Grant
from quarterdeck.model.records import Actor
from quarterdeck.store import tokens


def test_a_queued_task_is_cancelled_at_once_and_a_dead_one_tried_again(fleet, replica):
    made = give(fleet, key="gone")
    assert fleet.post(f"/v1/tasks/{made['id']}/cancel", {"reason": "not needed"}).json["state"] == "cancelled"
    assert fleet.post(f"/v1/tasks/{made['id']}/retry", {"reason": "after all"}).status == 409
    give(fleet, attempts=1)
    held = replica.claim()
    replica.say("fail", **held, error="no", again=True)
    assert fleet.get("/v1/tasks/counts").json["for_humans"]["dead_letters"] == 1
    again = fleet.post(f"/v1/tasks/{held['task']}/retry", {"reason": "mended"})
    assert (again.status, again.json["state"]) == (200, "queued")


def test_an_unknown_effect_waits_for_a_human_and_is_resolved_once(fleet, replica):
    made = give(fleet, key="pays")
    held = replica.claim()
    replica.say("begin", **held, key="pay", semantics="unsafe", arguments="h")
    replica.say("finish", **held, key="pay", outcome="unknown", value=None, error="cut off")
    (effect,) = fleet.get("/v1/effects").json["items"]
    assert (effect["kind"], effect["key"], effect["target"], effect["outcome"]) == ("Effect", "pay", "one/reader", "unknown")
    whole = fleet.get(f"/v1/tasks/{made['id']}").json
    assert whole["state"] == "unknown"
    assert [(w["kind"], w["target"]) for w in whole["waits_on"]] == [("effect", "pay")]
    path = f"/v1/tasks/{made['id']}/resolve"
    assert fleet.post(path, {"key": "pay", "outcome": "done"}).status == 422  # no reason
    assert fleet.post(path, {"key": "pay", "outcome": "perhaps", "reason": "?"}).status == 422
    assert fleet.post(path, {"key": "other", "outcome": "done", "reason": "seen"}).status == 404
    resolved = fleet.post(path, {"key": "pay", "outcome": "done", "value": {"receipt": 5}, "reason": "seen"})
    assert (resolved.status, resolved.json["state"]) == (200, "queued")
    assert fleet.post(path, {"key": "pay", "outcome": "failed", "reason": "no"}).status == 409
    assert fleet.get("/v1/effects").json["items"] == []
    assert fleet.get("/v1/effects?outcome=done").json["items"][0]["value"] == {"receipt": 5}


def test_a_question_is_shown_with_its_exact_arguments_and_takes_only_its_options(fleet, replica):
    made = give(fleet, key="asks")
    held = replica.claim()
    question = {"name": "q#1", "question": "May I?", "options": ["yes", "no"], "default": "no", "until": None}
    replica.say("ask_human", **held, **question, arguments='{"amount": 5}')
    replica.say("wait", **held, children=[], questions=["q#1"])
    (asked,) = fleet.get("/v1/questions").json["items"]
    assert (asked["question"], asked["arguments"], asked["options"], asked["target"]) == (
        "May I?",
        {"amount": 5},
        ["yes", "no"],
        "one/reader",
    )
    whole = fleet.get(f"/v1/tasks/{made['id']}").json
    assert (whole["state"], whole["reason"]) == ("waiting", "for 1 question")
    assert [(w["kind"], w["target"]) for w in whole["waits_on"]] == [("human", "q#1")]
    path = f"/v1/tasks/{made['id']}/answer"
    assert fleet.post(path, {"answer": "perhaps"}).status == 400
    assert fleet.post(path, {"answer": "yes", "name": "q#2"}).status == 404
    answered = fleet.post(path, {"answer": "yes", "reason": "why not"})
    assert (answered.json["kind"], answered.json["state"], answered.json["by"]) == ("Question", "answered", f"uid:{os.getuid()}")
    assert fleet.post(path, {"answer": "no", "name": "q#1"}).status == 409
    assert fleet.get("/v1/questions").json["items"] == []


def test_one_cluster_sees_and_touches_no_task_of_another(make_control):
    spec = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      agents:
        reader: {run: "agents:reader"}
    two:
      agents:
        reader: {run: "agents:reader"}
"""
    with make_control(spec) as control:
        control.up()
        foreign = control.post("/v1/tasks", {"target": "two/reader", "key": "theirs"}).json
        secret = control.store.write_sync(lambda tx: tokens.create(tx, Grant.at("operator", "one"), 30_000_000.0, "test"))[1]

        def ask(method, path, **more):
            control.engine.clock.advance(1.0)
            return control.stranger(method, path, headers={"authorization": f"Bearer {secret}"}, **more)

        assert ask("POST", "/v1/tasks", json={"target": "two/reader"}).status == 403
        assert ask("POST", "/v1/tasks", json={"target": "one/reader", "key": "ours"}).status == 201
        assert [t["key"] for t in ask("GET", "/v1/tasks").json["items"]] == ["ours"]
        assert ask("GET", "/v1/tasks/counts").json["states"] == {"queued": 1}
        for path in (foreign["id"], "theirs", "nobodys"):
            assert ask("GET", f"/v1/tasks/{path}").status == 403
        assert ask("POST", f"/v1/tasks/{foreign['id']}/cancel", json={}).status == 403


def test_the_actor_of_each_order_is_who_gave_it(fleet):
    """Although many are one write."""
    made = give(fleet, key="mine")
    secret = fleet.store.write_sync(lambda tx: tokens.create(tx, Grant("operator"), 30_000_000.0, "test"))[1]
    theirs = fleet.stranger("POST", "/v1/tasks", json={"target": "one/reader"}, headers={"authorization": f"Bearer {secret}"})
    assert theirs.status == 201
    actors = [fleet.get(f"/v1/tasks/{task}/history").json["items"][0]["actor"] for task in (made["id"], theirs.json["id"])]
    assert actors[0] == f"uid:{os.getuid()}"
    assert actors[1].startswith("token:")


def test_a_system_that_is_gone_is_gone_at_once(fleet):
    """Names are remembered between requests, and forgotten with what was journalled."""
    give(fleet)
    fleet.run(fleet.fleet.remove("pair", Actor(f"uid:{os.getuid()}", "socket"), "over"))
    assert fleet.post("/v1/tasks", {"target": "one/reader"}).status == 404


def test_the_page_of_a_task_that_waits_for_very_many_tells_how_many(fleet, replica):
    task = give(fleet)["id"]
    held = replica.claim()
    children = [replica.say("delegate", **held, name=f"p#{n}", to="one/reader", verb="", payload="null")["task"] for n in range(40)]
    replica.say("wait", **held, children=children, questions=[])
    waits = fleet.get(f"/v1/tasks/{task}").json["reason"]
    assert waits == "for 20 tasks and 20 more"
    page = fleet.get(f"/tasks/{task}")
    assert page.status == 200
    assert "20 tasks and 20 more" in page.text
