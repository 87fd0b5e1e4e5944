"""The doors of work over the real store and ledger; whoever works here is played by the requests that a replica would send."""

import asyncio
import json
import os
import re

import pytest
from sqlalchemy import func, select

from quarterdeck.model.grant import Grant
from quarterdeck.model.records import Actor
from quarterdeck.model.work import MOST_BODY, Holder
from quarterdeck.store import overview, tables, tokens
from quarterdeck.store.fairness import Fairness
from quarterdeck.work.gathering import Gathering
from quarterdeck.work.ledger import Ledger

READER = Holder("pair", "one", "reader", 0, 1)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Replica:
    """`cluster/agent-n` as the ledger knows it."""

    def __init__(self, control, holder=READER):
        self.control, self.holder, self.held = control, holder, []

    def say(self, word, **fields):
        ledger = Ledger(self.control.store.write, self.control.engine.clock, lambda *_: "", lambda *_: None, Fairness(), chance=lambda: 0.0)
        asked = json.dumps({"ops": [[word, fields]]}).encode()

        async def talk():
            await ledger.open()
            return await ledger.serve(self.holder, asked)

        (answer,) = json.loads(asyncio.run(talk()))["answers"]
        assert "ok" in answer, answer
        return answer["ok"]

    def claim(self):
        (given,) = self.say("claim", free=1, holding=self.held)
        self.held.append(given["task"])
        return {"task": given["task"], "fence": given["fence"]}


@pytest.fixture
def fleet(control):
    control.up()
    return control


@pytest.fixture
def replica(fleet):
    return Replica(fleet)


def give(fleet, payload=None, **more):
    made = fleet.post("/v1/tasks", {"target": "one/reader", "payload": payload, **more})
    assert made.status == 201, made
    return made.json


def rows(fleet):
    """All that is kept of work."""
    with fleet.store.read() as conn:
        return {
            name: conn.execute(select(func.count()).select_from(getattr(tables, name))).scalar()
            for name in ("tasks", "task_bodies", "task_events")
        }


def test_the_same_key_is_the_same_task_and_another_payload_a_conflict(fleet):
    first = fleet.post("/v1/tasks", {"target": "one/reader", "payload": {"a": 1}, "key": "INC-1"})
    again = fleet.post("/v1/tasks", {"target": "one/reader", "payload": {"a": 1}, "key": "INC-1"})
    other = fleet.post("/v1/tasks", {"target": "one/reader", "payload": {"a": 2}, "key": "INC-1"})
    assert (first.status, again.status, other.status) == (201, 200, 409)
    assert {"kind", "id", "key", "target", "state", "created"} <= set(first.json)
    assert [first.json["created"], again.json["created"]] == [True, False]
    assert first.json["id"] == again.json["id"]
    assert (first.json["kind"], first.json["state"]) == ("Task", "queued")
    assert "another payload needs another key" in other.json["error"]["hint"]


def test_the_whole_form_has_every_field_that_is_promised(fleet):
    made = give(fleet, {"text": "hello"}, key="k", budget={"calls": 3}, timeout=60, lane="l", tenant="t", priority=2)
    whole = fleet.get(f"/v1/tasks/{made['id']}").json
    promised = "kind id key target state attempts fence owner deadline result error parent children steps effects budget waits_on"
    assert set(promised.split()) <= set(whole)
    assert whole["payload"] == {"text": "hello"}
    assert {"limit", "reserved", "spent"} <= set(whole["budget"]["calls"])
    assert all(RFC3339.fullmatch(whole[name]) for name in ("created_at", "deadline"))


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"target": "one/nobody"}, 404),
        ({"target": "reader"}, 422),
        ({"target": "one/reader", "payload": "x" * (MOST_BODY + 1)}, 413),
        ({"target": "one/reader", "key": "^mine"}, 400),
        ({"target": "one/reader", "key": "a\nb"}, 422),
        ({"target": "one/reader", "key": "x" * 301}, 422),
        ({"target": "one/reader", "lane": "\x00"}, 422),
        ({"target": "one/reader", "tenant": "\u202e"}, 422),
        ({"target": "one/reader", "timeout": 0}, 422),
        ({"target": "one/reader", "timeout": 1e300}, 422),
        ({"target": "one/reader", "attempts": 0}, 422),
        ({"target": "one/reader", "priority": 101}, 422),
        ({"target": "one/reader", "budget": {"cows": 1}}, 422),
        ({"target": "one/reader", "budget": {"calls": -1}}, 422),
        ({"target": "one/reader", "nonsense": 1}, 422),
        ({"target": "one/reader", "system": "other"}, 404),
        ({}, 400),
        ([], 422),
        ("text", 422),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_is_kept(fleet, body, status):
    before = rows(fleet)
    refused = fleet.post("/v1/tasks", body)
    assert refused.status == status, refused
    assert refused.json["error"]["message"]
    assert refused.json["error"]["hint"]
    assert rows(fleet) == before


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("", 422),
        ("{", 422),
        ('{"target": "one/reader", "payload": NaN}', 422),
        ('{"target": "one/reader", "payload": [Infinity]}', 422),
        ('{"target": "one/reader", "budget": {"money": Infinity}}', 422),
        ('{"target": "one/reader", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}", 422),
        ('{"target": "one/reader", "payload": "' + "x" * (5 << 20) + '"}', 413),
    ],
)
def test_what_is_no_json_is_refused_and_nothing_is_kept(fleet, text, status):
    before = rows(fleet)
    refused = fleet._ask("POST", "/v1/tasks", (f"uid:{os.getuid()}", 1), content=text, headers={"content-type": "application/json"})
    assert refused.status == status, refused.text[:300]
    assert rows(fleet) == before


def test_without_a_target_the_entry_of_the_spec_is_meant(make_control):
    spec = "apiVersion: quarterdeck.dev/v1alpha1\nkind: System\nmetadata: {name: pair}\nspec:\n  entry: reader\n  clusters:\n"
    with make_control(f'{spec}    one:\n      agents:\n        reader: {{run: "agents:reader"}}\n') as control:
        control.up()
        assert control.post("/v1/tasks", {"payload": 1}).json["target"] == "one/reader"


def test_a_batch_says_for_each_order_what_became_of_it(fleet):
    orders = [{"target": "one/reader"}, {"target": "one/nobody"}, {"target": "one/reader", "key": "k"}, {"system": "gone", "target": "a/b"}]
    items = fleet.post("/v1/tasks/batch", {"tasks": orders}).json["items"]
    assert [item["kind"] for item in items] == ["Task", "Refusal", "Task", "Refusal"]
    assert [item.get("status") for item in items] == [None, 404, None, 404]
    assert rows(fleet)["tasks"] == 2
    assert fleet.post("/v1/tasks/batch", {"tasks": []}).status == 422
    assert fleet.post("/v1/tasks/batch", {"tasks": [{"target": "one/reader"}] * 1001}).status == 422


def test_lists_are_filtered_and_go_on_where_a_page_ended(fleet, replica):
    made = [give(fleet, n, key=f"{'odd' if n % 2 else 'even'}-{n}") for n in range(7)]
    held = replica.claim()
    replica.say("done", **held, result="1")
    page = fleet.get("/v1/tasks?limit=3").json
    rest = fleet.get(f"/v1/tasks?limit=500&before={page['next']}").json
    assert [t["id"] for t in (*page["items"], *rest["items"])] == [t["id"] for t in reversed(made)]
    assert rest["next"] is None
    assert len(fleet.get("/v1/tasks?key=odd").json["items"]) == 3
    assert len(fleet.get("/v1/tasks?key=%25").json["items"]) == 0
    assert [t["id"] for t in fleet.get("/v1/tasks?state=done").json["items"]] == [held["task"]]
    assert len(fleet.get("/v1/tasks?state=open").json["items"]) == 6
    assert len(fleet.get("/v1/tasks?state=done&state=queued").json["items"]) == 7
    assert fleet.get("/v1/tasks?target=one/nobody").json["items"] == []
    counted = fleet.get("/v1/tasks/counts").json
    assert counted["states"] == {"done": 1, "queued": 6}
    assert counted["for_humans"] == {"questions": 0, "unknown_effects": 0, "dead_letters": 0, "dead_messages": 0}


@pytest.mark.parametrize("key", ["INC/4711 ?a=b#c", "events", "counts", "..", "%2F", "ä ö"])
def test_a_task_is_found_by_whatever_key_it_has(fleet, key):
    made = give(fleet, key=key)
    found = fleet._ask("GET", "/v1/tasks/by-key", (f"uid:{os.getuid()}", 1), params={"key": key})
    assert found.json["id"] == made["id"]
    assert fleet._ask("GET", "/v1/tasks/by-key", (f"uid:{os.getuid()}", 1), params={"key": f"{key}x"}).status == 404


def test_nobody_knows_a_task_that_is_not_there(fleet):
    for path in ("", "/tree", "/history", "/output", "/events"):
        missing = fleet.get(f"/v1/tasks/01M8HXFD25B4EETYEXX2273T60{path}")
        assert (missing.status, missing.json["error"]["kind"]) == (404, "NotFound")
    assert fleet.post("/v1/tasks/01M8HXFD25B4EETYEXX2273T60/cancel", {}).status == 404


def test_the_tree_has_children_below_their_parents_and_the_history_all_of_it(fleet, replica):
    top = give(fleet, "top")
    held = replica.claim()
    child = replica.say("delegate", **held, name="c#1", to="one/reader", verb="", payload='"below"')["task"]
    replica.say("step", **held, name="s#1", code="c", value="5")
    tree = fleet.get(f"/v1/tasks/{top['id']}/tree").json["items"]
    assert [(t["id"], t["parent"]) for t in tree] == [(top["id"], None), (child, top["id"])]
    assert tree[0]["children"] == [child]
    assert tree[0]["steps"][0]["name"] == "s#1"
    assert [t["id"] for t in fleet.get(f"/v1/tasks/{child}/tree").json["items"]] == [child]
    told = fleet.get(f"/v1/tasks/{top['id']}/history").json["items"]
    assert [e["event"] for e in told] == ["submit", "claim", "submit", "step"]
    assert all({"sequence", "time", "actor", "fence"} <= set(e) and RFC3339.fullmatch(e["time"]) for e in told)
    assert [e["sequence"] for e in told] == sorted(e["sequence"] for e in told)
    page = fleet.get(f"/v1/tasks/{top['id']}/history?limit=3").json
    assert [e["event"] for e in fleet.get(f"/v1/tasks/{top['id']}/history?after={page['next']}").json["items"]] == ["step"]
    assert [t["id"] for t in fleet.get("/v1/tasks?tops=true").json["items"]] == [top["id"]]


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


def events(answer):
    """(name, data, id) of each."""
    found = []
    for block in answer.text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"]), lines.get("id")))
    return found


def test_the_stream_of_a_task_tells_all_of_it_and_ends_with_it(fleet, replica):
    made = give(fleet)
    held = replica.claim()
    replica.say("done", **held, result="1")
    give(fleet)  # another one, of which nothing is told
    told = events(fleet.get(f"/v1/tasks/{made['id']}/events"))
    assert [(name, data.get("event")) for name, data, _ in told] == [
        ("event", "submit"),
        ("event", "claim"),
        ("event", "done"),
        ("end", None),
    ]
    assert told[-1][1]["state"] == "done"
    assert [int(number) for _, _, number in told[:-1]] == [data["sequence"] for _, data, _ in told[:-1]]
    rest = events(fleet.get(f"/v1/tasks/{made['id']}/events", **{"last-event-id": told[1][2]}))
    assert [data.get("event") for _, data, _ in rest] == ["done", None]


def test_the_stream_of_all_tasks_begins_where_its_reader_was(fleet):
    give(fleet, key="first")
    with fleet.store.read() as conn:
        seen = overview.last(conn)
    give(fleet, key="second")

    async def read():
        asking = asyncio.create_task(asyncio.to_thread(fleet.get, f"/v1/tasks/events?after={seen}"))
        await asyncio.sleep(0.3)
        fleet.stopping.set()
        return await asking

    told = events(asyncio.run(read()))
    assert [data["detail"]["key"] for _, data, _ in told] == ["second"]


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


def test_what_arrives_together_is_one_write(tmp_path):
    """64 orders at once: the first is served at once, those that came meanwhile together."""
    writes = []

    async def serve(things):
        writes.append(len(things))
        await asyncio.sleep(0.01)
        return [thing * 2 for thing in things]

    async def main():
        gathering = Gathering(serve, 40)
        return await asyncio.gather(*(gathering.ask([n, n]) for n in range(64)))

    assert asyncio.run(main()) == [[n * 2] * 2 for n in range(64)]
    assert max(writes) == 40
    assert len(writes) == 4


def test_one_that_fails_fails_those_of_its_write_and_no_other():
    async def serve(things):
        if 3 in things:
            raise ValueError("three")
        return list(things)

    async def main():
        gathering = Gathering(serve, 1)
        asked = [gathering.ask([n]) for n in range(5)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = asyncio.run(main())
    assert [f if isinstance(f, list) else str(f) for f in found] == [[0], [1], [2], "three", [4]]


def test_who_gave_up_waiting_does_not_stop_the_others():
    async def serve(things):
        await asyncio.sleep(0.01)
        return list(things)

    async def main():
        gathering = Gathering(serve, 100)
        first, second, third = (asyncio.create_task(gathering.ask([n])) for n in range(3))
        await asyncio.sleep(0)
        second.cancel()
        return await first, await third

    assert asyncio.run(main()) == ([0], [2])


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
