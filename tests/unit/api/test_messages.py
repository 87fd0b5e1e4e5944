from functools import partial

import pytest

from quarterdeck.model.messages import Letter, Returned
from quarterdeck.model.work import Holder, Target
from quarterdeck.store import outbox
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    amber:
      agents:
        reader: {run: "agents:reader"}
        writer: {run: "agents:reader"}
"""
READER = Holder("pair", "amber", "reader", 0, 1)


def send(tx, letter):
    turn = Turn(tx, Fairness())
    outbox.publish(turn, Holder("pair", "amber", "writer", 0, 1), letter)
    turn.close()


def bury(tx, n, body):
    turn = Turn(tx, Fairness())
    outbox.bury(turn, READER, Returned(f"{n:032x}", "amber/reader-0", "v", {"Qd-Id": "x"}, body, "ValueError: x", 20))
    turn.close()


@pytest.fixture(scope="module")
def control(make_control):
    with make_control(SPEC) as made:
        made.up()
        for n, body in enumerate(['{"a":1}', "[", '"x"']):
            made.store.write_sync(partial(bury, n=n, body=body))
        yield made


def test_dead_messages_are_listed_with_reason_and_page(control):
    assert control.get("/v1/tasks/counts").json["for_humans"]["dead_messages"] == 3
    found = control.get("/v1/messages?state=dead&limit=2").json
    assert [(m["id"][-1], m["target"], m["from"], m["reason"], m["deliveries"]) for m in found["items"]] == [
        ("2", "amber/reader", "amber/reader-0", "ValueError: x", 20),
        ("1", "amber/reader", "amber/reader-0", "ValueError: x", 20),
    ]
    (last,) = control.get(f"/v1/messages?state=dead&before={found['next']}").json["items"]
    assert last["id"] == "0" * 32
    assert control.get("/v1/messages?state=waiting").json["items"] == []
    assert control.get("/v1/messages?target=amber/other").json["items"] == []


def test_one_shows_headers_and_body_as_json_or_as_the_text_it_is(control):
    assert control.get(f"/v1/messages/{0:032x}").json["body"] == {"a": 1}
    found = control.get(f"/v1/messages/{1:032x}").json
    assert (found["body"], found["headers"]) == ("[", {"Qd-Id": "x"})


def test_a_dead_one_is_sent_again_once(control):
    again = control.post(f"/v1/messages/{2:032x}/retry", {"reason": "mended"}).json
    assert (again["state"], again["attempt"]) == ("waiting", 2)
    for status, path in ((409, f"/v1/messages/{2:032x}/retry"), (404, "/v1/messages/nothing/retry")):
        answer = control.post(path, {"reason": ""})
        assert answer.status == status, answer.text


@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=501", "before=0", "before=x"])
def test_a_bad_question_is_refused(control, query):
    assert control.get(f"/v1/messages?{query}").status == 422


def test_messages_are_found_by_what_their_key_begins_with(control):
    to = Target("pair", "amber", "reader")
    for n, key in enumerate(("order-1", "order-2", "Order%3", None), 0x100):
        control.store.write_sync(partial(send, letter=Letter(f"{n:032x}", to, "v", "1", key=key)))
    assert [m["key"] for m in control.get("/v1/messages?key=order-").json["items"]] == ["order-2", "order-1"]
    assert [m["key"] for m in control.get("/v1/messages?key=Order%25").json["items"]] == ["Order%3"]
    assert control.get("/v1/messages?key=order-&state=dead").json["items"] == []


def test_lanes_tell_what_each_agent_and_each_order_has_not_handled(control):
    to = Target("pair", "amber", "reader")
    for n in range(0x200, 0x203):
        control.store.write_sync(partial(send, letter=Letter(f"{n:032x}", to, "v", "1", lane="customer 7")))
    reader, writer, order = control.get("/v1/messages/lanes").json["items"]
    assert (reader["target"], reader["order"], reader["states"]["dead"]) == ("amber/reader", None, 2)
    assert reader["states"]["waiting"] >= 1
    assert reader["sent_again"] == 1
    assert reader["stream"]["messages"] == 0
    assert (writer["target"], writer["oldest_at"], sum(writer["states"].values())) == ("amber/writer", None, 0)
    assert (order["name"], order["order"]) == ("amber/reader customer 7", "customer 7")
    assert order["states"] == {"behind": 2, "waiting": 1, "sent": 0, "dead": 0}
    assert order["oldest_at"] is not None
    assert order["stream"] is None
