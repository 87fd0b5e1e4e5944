"""The door of stops: what it takes, from whom, what it answers, and that a stop is one fact with its Change and its fenced work."""

import json

import pytest

from quarterdeck.errors import StoreReadOnly, Transient
from quarterdeck.halts import Halt
from quarterdeck.model.grant import Grant
from quarterdeck.store import tokens

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      agents:
        reader: {run: "agents:reader", replicas: 2}
        writer: {run: "agents:reader"}
    two:
      agents:
        reader: {run: "agents:reader"}
"""


@pytest.fixture
def control(make_control):
    with make_control(SPEC) as control:
        control.up()
        yield control


def stops(control):
    return control.guard.app.state.services.stops


def alive(control):
    seen = control.run(control.engine.observe("pair"))
    return sorted(r.name for w in seen.workloads for r in w.replicas if r.pid is not None)


def live(control):
    return [c for c in control.get("/v1/changes").json["items"] if c["state"] == "live"]


def halted(control):
    return [(h.system, h.target, h.change) for h in control.run(stops(control).stopper.halted())]


def tick(control):
    control.converge()
    control.run(stops(control).agree())


def stop(control, target="one/reader", **fields):
    return control.post("/v1/stops", {"target": target, "reason": "it must end", **fields})


def test_a_stop_is_answered_with_its_proof_and_holds(control):
    answer = stop(control)
    assert answer.status == 200, answer
    proof = answer.json
    assert (proof["kind"], proof["system"], proof["target"], proof["outcome"]) == ("StopProof", "pair", "one/reader", "done")
    assert [s["found"] for s in proof["sources"]] == [0, 0, 0, 0]
    assert set(proof["sources"][0]) == {"source", "claim", "found", "evidence"}
    (change,) = live(control)
    assert (change["target"], change["patch"], change["author"], change["reason"]) == (
        "one/reader",
        {"field": "stopped", "value": True},
        "human",
        "it must end",
    )
    assert proof["kept"] == [f"change {change['id']}", "node"]
    tick(control)
    assert alive(control) == ["one/writer-0", "two/reader-0"]
    assert halted(control) == [("pair", "one/reader", change["id"])]
    desired = control.fleet.desired("pair").workload("one/reader")
    assert (desired.replicas, desired.stopped) == (0, True)
    assert desired.because == (f'replicas 2 → 0 (human change {change["id"]}, "it must end"; stopped: nothing of it may run)',)
    assert "1 of 3 roles stopped by order" in control.get("/v1/status").json["sentence"]


def test_what_a_plan_shows_changes_nothing(control):
    plan = stop(control, dry_run=True)
    assert [(s["target"], s["action"]) for s in plan.json["steps"]] == [("one/reader", "change")]
    assert "stopped: nothing of it may run" in plan.text
    assert (live(control), halted(control)) == ([], [])
    stop(control)
    tick(control)
    back = control.post("/v1/starts", {"target": "one/reader", "reason": "mended", "dry_run": True})
    assert [s["target"] for s in back.json["steps"]] == ["one/reader"]
    assert len(live(control)) == 1


def test_everything_is_stopped_and_started_while_what_else_is_stopped_stays_so(control):
    stop(control, "two")
    whole = control.post("/v1/stops/fleet", {"reason": "incident"})
    assert (whole.json["target"], whole.json["outcome"]) == ("fleet", "done")
    tick(control)
    assert alive(control) == []
    assert [c["target"] for c in live(control)] == ["pair:", "two"]
    ended = control.post("/v1/starts/fleet", {"reason": "over"})
    assert [(c["target"], c["state"]) for c in ended.json["items"]] == [("pair:", "reverted")]
    tick(control)
    assert alive(control) == ["one/reader-0", "one/reader-1", "one/writer-0"]
    assert [target for _, target, _ in halted(control)] == ["two"]
    refused = control.post("/v1/starts", {"target": "one", "reason": "over"})
    assert (refused.status, refused.json["error"]["hint"]) == (409, "stopped: two")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"target": "one/nobody", "reason": "x"}, 404),
        ({"target": "three", "reason": "x"}, 404),
        ({"target": "one/reader-0", "reason": "x"}, 400),
        ({"target": "pair", "reason": "x"}, 400),
        ({"target": "pair:", "reason": "x"}, 400),
        ({"target": "", "reason": "x"}, 422),
        ({"target": "one", "reason": ""}, 422),
        ({"target": "one"}, 422),
        ({"target": "one", "reason": "x", "drain": -1}, 422),
        ({"target": "one", "reason": "x", "drain": 1e9}, 422),
        ({"target": "one", "reason": "x", "until": 1}, 422),
        ({"target": "one", "reason": "x", "system": "other"}, 404),
    ],
)
def test_what_makes_no_sense_is_refused_and_stops_nothing(control, body, status):
    answer = control.post("/v1/stops", body)
    assert (answer.status, live(control), halted(control)) == (status, [], []), answer


def test_a_change_of_the_field_cannot_be_made_past_this_door(control):
    answer = control.post("/v1/changes", {"target": "one", "field": "stopped", "value": True, "reason": "x"})
    assert answer.status == 422


def bearer(control, role, place=""):
    _, secret = control.store.write_sync(lambda tx: tokens.create(tx, Grant.at(role, place), 3600.0, "test"))
    return {"authorization": f"Bearer {secret}", "content-type": "application/json"}


def test_who_may_stop_and_start_what(control):
    def ask(path, headers, **body):
        control.engine.clock.advance(1.0)
        return control.stranger("POST", path, headers=headers, content=json.dumps({"reason": "x", **body}).encode()).status

    viewer, operator, bound = bearer(control, "viewer"), bearer(control, "operator"), bearer(control, "operator", "one")
    assert ask("/v1/stops", viewer, target="one") == 403
    assert [ask("/v1/stops/fleet", who) for who in (viewer, operator, bound, bearer(control, "admin", "one"))] == [403] * 4
    assert live(control) == []
    assert [ask("/v1/stops", bound, target=t) for t in ("two", "two/reader", "nowhere", "pair", "pair:")] == [403] * 5
    assert live(control) == []
    assert [ask("/v1/stops", bound, target=t) for t in ("one", "one/reader")] == [200, 200]
    assert ask("/v1/stops", operator, target="two") == 200
    assert ask("/v1/stops/fleet", bearer(control, "admin")) == 200
    assert ask("/v1/starts/fleet", operator) == 403
    whole = next(c["id"] for c in live(control) if c["target"] == "pair:")
    for query in ("", "?dry_run=true"):
        control.engine.clock.advance(1.0)
        assert control.stranger("DELETE", f"/v1/changes/{whole}{query}", headers=operator).status == 403
    assert ask("/v1/starts", bound, target="one") == 200


def test_an_unknown_task_is_not_found_and_outside_a_cluster_it_is_refused_like_any_other(control):
    assert control.post("/v1/stops/tasks/01M8HWEMZ0NQMMD0YB3XQ0RZ6Y", {"reason": "x"}).status == 404
    made = control.post("/v1/tasks", {"target": "two/reader", "payload": 1}).json["id"]
    answers = set()
    for task in (made, "01M8HWEMZ0NQMMD0YB3XQ0RZ6Y"):
        control.engine.clock.advance(1.0)
        answer = control.stranger("POST", f"/v1/stops/tasks/{task}", headers=bearer(control, "operator", "one"), content=b'{"reason": "x"}')
        answers.add((answer.status, answer.text))
    assert len(answers) == 1
    proof = control.post(f"/v1/stops/tasks/{made}", {"reason": "by mistake"}).json
    assert (proof["outcome"], proof["target"]) == ("done", f"task {made}")
    assert control.get(f"/v1/tasks/{made}").json["state"] == "cancelled"


# The node's list and ours.


def test_a_halt_that_came_past_us_becomes_a_change_once_and_both_can_be_ended(control):
    control.run(stops(control).stopper.halt(Halt("", "one", 1.0, "in a hurry", "root"), 0.0))
    for _ in range(3):
        tick(control)
    (change,) = live(control)
    assert (change["target"], change["actor"], change["reason"]) == ("one", "root", "in a hurry")
    assert halted(control) == [("pair", "one", change["id"])]
    record = control.get("/v1/journal?verb=change.add").json["items"][-1]
    assert record["via"] == "node"
    assert control.post("/v1/starts", {"target": "one", "reason": "over"}).status == 200
    assert halted(control) == []


def test_a_halt_of_everything_becomes_one_change_of_each_system(control):
    control.run(stops(control).stopper.halt(Halt("", "", 1.0, "all", "root"), 0.0))
    tick(control)
    assert [c["target"] for c in live(control)] == ["pair:"]
    assert [(system, target) for system, target, _ in halted(control)] == [("pair", "")]


def test_what_the_node_forgot_it_is_told_and_what_has_ended_it_is_told_too(control):
    stop(control, "two")
    number = live(control)[0]["id"]
    control.engine._halts = ()
    tick(control)
    assert halted(control) == [("pair", "two", number)]
    assert control.delete(f"/v1/changes/{number}").status == 200
    tick(control)
    assert halted(control) == []


def test_a_node_that_lost_its_list_is_told_the_whole_of_it(control, monkeypatch):
    stop(control, "two")
    told = []

    async def lost():
        return None

    async def reset(whole):
        told.append([halt.target for halt in whole])

    monkeypatch.setattr(type(stops(control).stopper), "halted", lambda _: lost())
    monkeypatch.setattr(type(stops(control).stopper), "reset", lambda _, whole: reset(whole))
    control.run(stops(control).agree())
    assert told == [["two"]]


def test_a_store_that_cannot_write_stops_no_stop(control, monkeypatch):
    async def full(_):
        raise StoreReadOnly("the store is read-only: the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(stops(control), "turn", full)
        proof = stop(control).json
    assert (proof["outcome"], proof["kept"]) == ("done", ["node"])
    assert (live(control), [target for _, target, _ in halted(control)]) == ([], ["one/reader"])
    tick(control)
    assert [c["target"] for c in live(control)] == ["one/reader"], "written down as soon as that works again"


def test_a_store_that_hangs_stops_no_stop(control, monkeypatch):
    import asyncio  # noqa: PLC0415

    async def hang(_):
        await asyncio.sleep(60)

    monkeypatch.setattr(stops(control), "turn", hang)
    proof = stop(control).json
    assert (proof["outcome"], proof["kept"]) == ("done", ["node"])


def test_when_nobody_can_be_told_it_says_so_and_keeps_the_order(control, monkeypatch):
    async def away(*_):
        raise Transient("the node is not attached", hint="qd down stops everything")

    with monkeypatch.context() as patched:
        patched.setattr(type(stops(control).stopper), "halt", away)
        answer = stop(control)
    assert (answer.status, answer.json["error"]["hint"]) == (503, "qd down stops everything")
    tick(control)
    assert [target for _, target, _ in halted(control)] == ["one/reader"], "the Change is there: the node hears of it when it is back"


# The pages.


@pytest.mark.parametrize(
    ("target", "page", "command"),
    [
        ("pair:", "/", "qd stop fleet"),
        ("one", "/clusters/one", "qd stop cluster one"),
        ("one/reader", "/agents/one/reader", "qd stop agent one/reader"),
    ],
)
def test_a_page_offers_the_stop_shows_its_plan_then_its_proof_and_offers_the_start(control, target, page, command):
    def offered(verb):
        return f"/act/{verb}?target={target.replace('/', '%2F').replace(':', '%3A')}" in control.get(page).text

    assert (offered("stop"), offered("start")) == (True, False)
    wish = {"target": target, "reason": "it must end"}
    assert control.post_form("/act/stop", {**wish, "reason": ""}).status == 400
    planned = control.post_form("/act/stop", wish)
    assert "stopped: nothing of it may run" in planned.text
    assert command in planned.text
    assert live(control) == []
    shown = control.post_form("/act/stop", {**wish, "confirmed": "yes"})
    assert (shown.status, "Nothing of it is left." in shown.text) == (200, True)
    assert "tasks that somebody works on" in shown.text
    assert [c["target"] for c in live(control)] == [target]
    tick(control)
    assert (offered("stop"), offered("start")) == (False, True)
    assert "it must end" in control.get("/").text, "it needs attention until somebody starts it"
    assert control.post_form("/act/start", {"target": target, "reason": "over"}).status == 200
    started = control.post_form("/act/start", {"target": target, "reason": "over", "confirmed": "yes"})
    assert (started.status, started.headers["location"]) == (303, page)
    assert live(control) == []


def test_the_page_stops_what_nobody_can_foresee(control):
    control.engine.absent = True
    planned = control.post_form("/act/stop", {"target": "one", "reason": "now"})
    assert (planned.status, 'name="confirmed"' in planned.text) == (503, True)
    assert control.post_form("/act/stop", {"target": "one", "reason": "now", "confirmed": "yes"}).status == 200
    assert [c["target"] for c in live(control)] == ["one"]


def test_a_page_shows_what_lives_and_what_cannot_be_seen(control, monkeypatch):
    from quarterdeck.model.stops import Source  # noqa: PLC0415

    def says(found):
        async def alive(*_):
            return Source("/proc", "processes", found, "<b>pid 1</b>")

        return alive

    for found, words in ((3, "Something of it lives."), (None, "not everything could be looked at")):
        stopper = type(stops(control).stopper)
        monkeypatch.setattr(stopper, "alive", says(found))
        monkeypatch.setattr(type(stops(control)), "_proven", lambda _, look, __: look())
        shown = control.post_form("/act/stop", {"target": "two", "reason": "now", "confirmed": "yes"})
        assert words in shown.text
        assert "&lt;b&gt;pid 1" in shown.text
