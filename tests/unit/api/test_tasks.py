"""The doors of work over the real store and ledger: orders, lists, and what is told of one task."""

import asyncio
import json
import os

import pytest
from tests.unit.api.working import RFC3339, give, rows

from quarterdeck.model.work import MOST_BODY
from quarterdeck.store import overview


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


def test_the_tasks_of_a_replica_are_those_it_has_and_those_it_had_last(fleet, replica):
    done, held, _ = (give(fleet, n)["id"] for n in range(3))
    replica.say("done", **replica.claim(), result="1")
    replica.claim()
    mine, _, _ = replica.holder.name.partition("#")

    def owned(owner, more=""):
        return [task["id"] for task in fleet.get(f"/v1/tasks?owner={owner}{more}").json["items"]]

    assert owned(mine) == [held, done]
    assert owned(mine, "&state=open") == [held]
    assert owned(mine, "&limit=1") == [held]
    assert owned(f"{mine}1") == owned(mine[:-1]) == owned("one/reader") == [], "by whole names"


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
