"""The door of budgets: accounts of a day, and a trip as a Condition that comes and goes with it."""

import json

import pytest

from quarterdeck.model.budgets import MICRO, day
from quarterdeck.store import budgets, tables
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn
from quarterdeck.work import spending

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      budgets: [{per: day, money: 10.0, money_per_minute: 1.5}]
      agents:
        reader: {run: "agents:reader"}
"""


@pytest.fixture
def control(make_control):
    with make_control(SPEC) as control:
        control.up()
        yield control


def write(control, work):
    def within(tx):
        turn = Turn(tx, Fairness())
        work(turn)
        turn.close()

    control.store.write_sync(within)


def spent_on(control, of, amount):
    (allowance,) = control.fleet.desired("pair").budgets
    shared = spending.account_of(allowance, "pair", "", of)
    values = json.dumps({"money": amount * MICRO})
    write(control, lambda turn: turn.update(tables.budgets, budgets.shared(turn, shared), spent=values))


def condition(control):
    return [c for c in control.get("/v1/conditions").json["items"] if c["kind"] == "WithinBudget"]


def test_each_day_has_an_account_of_its_own(control):
    now = control.engine.clock.now()
    spent_on(control, day(now), 3)
    spent_on(control, day(now - 86_400), 7)
    assert [one["limits"]["money"]["spent"] for one in control.get("/v1/budgets").json["items"]] == [3]
    assert [one["limits"]["money"]["spent"] for one in control.get(f"/v1/budgets?day={day(now - 86_400)}").json["items"]] == [7]
    assert control.get("/v1/budgets?day=soon").status == 422


def test_a_budget_of_each_owner_tells_who_has_used_how_much_of_it(make_control):
    owners = SPEC.replace("money: 10.0, money_per_minute: 1.5}", 'owner: "*", money: 10.0}, {per: day, owner: b, money: 100.0}')
    with make_control(owners) as control:
        control.up()
        each, own = control.fleet.desired("pair").budgets
        today = day(control.engine.clock.now())
        for allowance, owner, amount in ((each, "a", 3), (own, "b", 50), (each, "c", 9)):
            values = json.dumps({"money": amount * MICRO})
            shared = spending.account_of(allowance, "pair", owner, today)
            write(control, lambda turn, s=shared, v=values: turn.update(tables.budgets, budgets.shared(turn, s), spent=v))
        found = [(one["owner"], one["limits"]["money"]) for one in control.get("/v1/budgets").json["items"]]
    assert [(owner, numbers["spent"], numbers["limit"]) for owner, numbers in found] == [
        ("*", None, 10.0), ("c", 9.0, 10.0), ("a", 3.0, 10.0), ("b", 50.0, 100.0),
    ]  # fmt: skip


def test_a_trip_is_a_condition_an_incident_and_lost_points_until_it_is_over(control):
    score = control.get("/v1/status").json["readiness"]["score"]
    assert condition(control) == []
    write(control, lambda turn: spending._trip(turn, "pair", "one", 2.5))
    (found,) = condition(control)
    assert (found["target"], found["status"], found["reason"]) == ("one", "false", "Tripped")
    told = control.get("/v1/status").json
    assert [one["message"] for one in told["incidents"]] == [found["message"]]
    assert told["readiness"]["score"] <= score
    assert "qd budget resume, +7" in told["readiness"]["next"]
    assert control.post("/v1/budgets/resume", {"scope": "one", "reason": "a test"}).status == 200
    assert condition(control) == []
    assert control.get("/v1/status").json["incidents"] == []


def test_a_trip_holds_for_its_own_day(control):
    write(control, lambda turn: spending._trip(turn, "pair", "one", 2.5))
    assert control.get("/v1/budgets").json["items"][0]["tripped"]["reason"] == "one spent 2.5 within a minute"
    assert control.get("/v1/budgets?day=2001-01-01").json["items"][0]["tripped"] is None


def test_a_cluster_sees_its_own_budget_and_trip_alone(control):
    write(control, lambda turn: spending._trip(turn, "pair", "one", 2.5))
    token = control.post("/v1/tokens", {"role": "viewer", "cluster": "one"}).json["token"]
    answer = control.stranger("GET", "/v1/status", headers={"authorization": f"Bearer {token}"})
    assert [one["target"] for one in answer.json["incidents"]] == ["one"]
