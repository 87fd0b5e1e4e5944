"""The door that says why a thing is as it is: its work, what it waits for, that it is stopped, and what to do next."""

import asyncio
import json

import pytest
from tests.unit.api.working import Replica, give

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      agents:
        reader: {run: "agents:reader"}
        reader-x: {run: "agents:reader"}
    two:
      agents:
        reader: {run: "agents:reader"}
"""


@pytest.fixture
def control(make_control):
    with make_control(SPEC) as control:
        control.up()
        yield control


@pytest.fixture
def work(control):
    """One task each that waits for a human, whose effect is unknown, that is dead; one runs, and one is in the queue."""
    replica, ids = Replica(control), {}

    def begun(key, **more):
        ids[key] = give(control, 1, key=key, priority=9, **more)["id"]
        return replica.claim()

    asks = begun("asks")
    question = {"name": "q#1", "question": "May I?", "options": ["yes"], "default": None, "until": None, "arguments": "{}"}
    replica.say("ask_human", **asks, **question)
    replica.say("wait", **asks, children=[], questions=["q#1"])
    doubt = begun("doubt")
    replica.say("begin", **doubt, key="pay", semantics="unsafe", arguments="h")
    replica.say("finish", **doubt, key="pay", outcome="unknown", value=None, error="cut off")
    replica.say("fail", **begun("dead", attempts=1), error="no", again=True)
    begun("running")
    ids["queued"] = give(control, 1, key="queued")["id"]
    return ids


def explain(control, target):
    answer = control.get(f"/v1/explain?target={target}")
    assert answer.status == 200, answer.text
    return answer.json


def test_an_agent_tells_its_work_by_state_and_what_is_stuck_first(control, work):
    found = explain(control, "one/reader")
    assert found["work"]["states"] == {"dead": 1, "queued": 1, "running": 1, "unknown": 1, "waiting": 1}
    assert (found["work"]["questions"], found["work"]["unknown_effects"]) == (1, 1)
    assert [task["key"] for task in found["work"]["tasks"]] == ["doubt", "asks", "dead", "running", "queued"]
    assert [wait["kind"] for wait in found["work"]["tasks"][0]["waits_on"]] == ["effect"]
    assert [wait["kind"] for wait in found["work"]["tasks"][1]["waits_on"]] == ["human"]
    commands = ["qd get effects", "qd get questions", "qd get tasks --state dead --target one/reader", f"qd explain {work['doubt']}"]
    assert found["next"] == commands


@pytest.mark.parametrize(("target", "count"), [("one", 5), ("one/reader-0", 5), ("pair", 5), ("pair:", 5), ("two", 0), ("one/reader-x", 0)])
def test_each_place_tells_its_own_work(control, work, target, count):
    assert sum(explain(control, target)["work"]["states"].values()) == count


def test_a_system_is_explained_by_its_name(control):
    found = explain(control, "pair")
    assert found["target"] == "pair:"
    assert found["spec"] == {"clusters": 2, "agents": 3, "links": 0}
    assert found["sentence"].startswith("agents: ")
    assert found["journal"]


def test_what_is_stopped_says_by_whom_since_when_and_how_it_goes_on(control, work):
    control.post("/v1/stops/fleet", {"reason": "incident 4711"})
    for target in ("pair", "one", "two/reader", "one/reader"):
        found = explain(control, target)
        assert found["sentence"].startswith("stopped by uid:")
        assert found["sentence"].endswith(": incident 4711")
        assert found["next"][0] == "qd start fleet"
    told = control.get("/v1/status").json
    assert (told["ready"], told["stopped"]["reason"]) == (False, "incident 4711")
    assert control.get("/v1/systems").json["items"][0]["stopped"] == told["stopped"]
    control.post("/v1/starts/fleet", {"reason": "over"})
    assert explain(control, "one")["stopped"] is None
    assert control.get("/v1/status").json["stopped"] is None


def test_a_stopped_part_leaves_the_rest_alone(control):
    control.post("/v1/stops", {"target": "one/reader", "reason": "it mails customers"})
    assert explain(control, "one/reader")["stopped"]["command"] == "qd start agent one/reader"
    for target in ("one", "pair", "one/reader-x", "two"):
        assert explain(control, target)["stopped"] is None, target


def test_a_queued_task_says_which_stop_it_waits_for(control, work):
    control.post("/v1/stops", {"target": "one", "reason": "moving house"})
    waits = control.get(f"/v1/tasks/{work['queued']}").json["waits_on"]
    assert [(wait["kind"], wait["target"]) for wait in waits] == [("stop", "one")]
    assert [w for w in control.get(f"/v1/tasks/{work['dead']}").json["waits_on"] if w["kind"] == "stop"] == []


def test_a_cluster_reader_sees_the_work_of_its_cluster_alone(control, work):
    token = control.post("/v1/tokens", {"role": "viewer", "cluster": "two"}).json["token"]
    bearer = {"authorization": f"Bearer {token}"}
    answer = control.stranger("GET", "/v1/explain?target=two", headers=bearer)
    assert json.loads(answer.text)["work"]["states"] == {}
    assert control.stranger("GET", "/v1/explain?target=one", headers=bearer).status == 403


@pytest.fixture
def looped(make_control):
    """A control plane whose own loop carries out what is planned, and writes it down."""
    with make_control(SPEC) as control:
        yield control


def deploy(control):
    """Apply, and let the loop go round until nothing is left to do."""
    assert control.post("/v1/apply", control.body).status == 200
    for _ in range(8):
        asyncio.run(control.fleet.reconciler.tick("pair"))


def carried(control, target):
    return control.get(f"/v1/explain?target={target}").json["carried_out"]


def test_the_last_plan_of_an_agent_says_what_asked_for_it_and_what_became_of_each_step(looped):
    control = looped
    deploy(control)
    first = carried(control, "one/reader")
    assert (first["edit"]["verb"], first["edit"]["revision"]) == ("revision.apply", 1)
    assert [(s["step"], s["target"], s["outcome"]) for s in first["steps"]] == [("ApplyWorkload", "one/reader", "done")]
    control.spec = SPEC.replace('{run: "agents:reader"}', '{run: "agents:reader", replicas: 2}', 1)
    deploy(control)
    second = carried(control, "one/reader-1")
    assert second["edit"]["revision"] == 2
    assert [(s["reason"], s["outcome"]) for s in second["steps"]] == [("replicas 1 → 2", "done")]
    assert carried(control, "two/reader")["edit"]["revision"] == 1


def test_the_last_plan_of_a_cluster_and_of_all_has_the_steps_inside(looped):
    control = looped
    deploy(control)
    everything = carried(control, "pair:")["steps"]
    assert {s["target"] for s in everything} >= {"one", "two", "one/reader", "one/reader-x", "two/reader", "bus"}
    assert {s["target"] for s in carried(control, "one")["steps"]} == {"one", "one/reader", "one/reader-x"}
    assert [s["at"] for s in everything] == sorted(s["at"] for s in everything)
