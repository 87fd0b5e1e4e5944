"""What a Change would do is told before it is made, and is what it then does."""

import pytest

SCALE = {"target": "one/reader", "field": "replicas", "value": 3, "reason": "load test"}


def steps(plan):
    return [(step["action"], step["target"]) for step in plan["steps"]]


def test_a_dry_change_tells_what_the_change_then_does_and_changes_nothing(control):
    control.up()
    before = control.journalled()
    told = control.post("/v1/changes", {**SCALE, "dry_run": True}).json
    assert (told["kind"], steps(told)) == ("Plan", [("change", "one/reader")])
    assert "load test" in told["steps"][0]["reason"]
    assert control.journalled() == before
    assert control.get("/v1/changes").json["items"] == []

    made = control.post("/v1/changes", SCALE).json
    assert made["kind"] == "Change"
    control.converge()
    assert control.get("/v1/agents").json["items"][0]["replicas"]["desired"] == 3
    assert steps(control.post("/v1/changes", {**SCALE, "dry_run": True}).json) == [], "it is so already"


def test_a_dry_revert_tells_what_the_revert_then_does(control):
    control.up()
    number = control.post("/v1/changes", SCALE).json["id"]
    control.converge()
    told = control.delete(f"/v1/changes/{number}?dry_run=true").json
    assert steps(told) == [("change", "one/reader")]
    assert control.get("/v1/changes").json["items"][0]["state"] == "live"
    control.delete(f"/v1/changes/{number}")
    control.converge()
    assert control.get("/v1/agents").json["items"][0]["replicas"]["desired"] == 2
    assert control.delete(f"/v1/changes/{number}?dry_run=true").status == 409


@pytest.mark.parametrize(
    ("body", "status"),
    [({"target": "one/writer"}, 404), ({"value": -1}, 400), ({"reason": ""}, 422), ({"until": 1.0}, 400)],
    ids=["unknown", "senseless", "without a reason", "past"],
)
def test_what_would_be_refused_is_refused_dry_too(control, body, status):
    control.up()
    assert control.post("/v1/changes", {**SCALE, **body, "dry_run": True}).status == status
    assert control.post("/v1/changes", {**SCALE, **body}).status == status


def test_without_an_engine_nothing_can_be_foreseen(control):
    control.up()
    control.engine.absent = True
    assert control.post("/v1/changes", {**SCALE, "dry_run": True}).status == 503


KEEPING = (
    ("one/reader-1", "quarantined", True),
    ("one/reader-1", "quarantined", False),
    ("one/reader-1", "hold", True),
    ("one", "hold", True),
)


def keep(control):
    """Changes that keep things as they are, one beside and one above; gives their ids."""
    control.up()
    made = [control.post("/v1/changes", {"target": t, "field": f, "value": v, "reason": f"{f} {t}"}).json["id"] for t, f, v in KEEPING]
    control.converge()
    return made


def release(control, target="one/reader-1", **more):
    return control.post("/v1/changes/release", {"target": target, "reason": "looked at", **more})


def states(control):
    return {c["id"]: c["state"] for c in control.get("/v1/changes").json["items"]}


def test_a_release_ends_every_hold_and_quarantine_of_its_target_and_no_other_change(control):
    *mine, above = keep(control)
    beside = control.post("/v1/changes", {**SCALE, "value": 2}).json["id"]
    ended = release(control).json
    assert ended["kind"] == "List"
    assert [(c["id"], c["state"]) for c in ended["items"]] == [(number, "reverted") for number in mine]
    assert states(control) == {**dict.fromkeys(mine, "reverted"), above: "live", beside: "live"}
    written = control.get("/v1/journal?verb=change.revert").json["items"]
    assert [r["reason"] for r in written] == ["looked at"] * len(mine)


def test_a_dry_release_tells_what_the_release_then_does_and_ends_nothing(control):
    control.up()
    quarantine = {"target": "one/reader-1", "field": "quarantined", "value": True, "reason": "odd"}
    control.post("/v1/changes", quarantine)
    control.converge()
    before = control.journalled()
    told = release(control, dry_run=True).json
    assert (told["kind"], steps(told)) == ("Plan", [("change", "one/reader")])
    assert control.journalled() == before
    release(control)
    control.converge()
    assert control.get("/v1/agents").json["items"][0]["quarantined"] == []


def test_a_release_of_what_is_held_from_above_names_the_hold_and_ends_nothing(control):
    keep(control)
    release(control)
    before = states(control)
    for dry in (True, False):
        answer = release(control, dry_run=dry)
        assert answer.status == 409
        assert answer.json["error"]["message"] == "nothing holds or quarantines one/reader-1 itself"
        assert answer.json["error"]["hint"] == "the hold of one covers it: qd release one"
    assert states(control) == before
    assert len(release(control, "one").json["items"]) == 1
    assert release(control, "one").json["error"]["hint"] == "qd get changes lists what is live"


def test_what_has_ended_by_itself_is_not_released_again(control):
    control.up()
    until = control.fleet.clock.now() + 60
    control.post("/v1/changes", {"target": "one", "field": "hold", "value": True, "reason": "a minute", "until": until})
    control.fleet.clock.advance(61)
    assert release(control, "one").status == 409


@pytest.mark.parametrize(("more", "status"), [({"target": "one/writer"}, 404), ({"reason": ""}, 422), ({"system": "none"}, 404)])
def test_a_release_that_makes_no_sense_is_refused(control, more, status):
    keep(control)
    before = states(control)
    assert release(control, **more).status == status
    assert states(control) == before


def test_the_page_of_a_release_shows_the_plan_ends_them_and_returns_to_the_target(control):
    *mine, _ = keep(control)
    wish = {"target": "one/reader-1", "reason": "looked at"}
    assert "What it would do" in control.post_form("/act/release", wish).text
    assert set(states(control).values()) == {"live"}
    done = control.post_form("/act/release", {**wish, "confirmed": "yes"})
    assert (done.status, done.headers["location"]) == (303, "/replicas/one/reader-1")
    assert {states(control)[number] for number in mine} == {"reverted"}
    again = control.post_form("/act/release", {**wish, "confirmed": "yes"})
    assert again.status == 409
    assert "nothing holds or quarantines" in again.text


def test_a_change_that_is_only_planned_has_no_number(control):
    control.up()
    body = {"target": "one/reader", "field": "replicas", "value": 3, "reason": "load test", "dry_run": True}
    (step,) = control.post("/v1/changes", body).json["steps"]
    assert '(human change, "load test")' in step["reason"]


def test_a_change_that_asks_for_more_than_there_may_be_says_how_many_there_may_be(control, make_control):
    with make_control(control.spec.replace("replicas: 2", "replicas: {min: 2, max: 4}")) as bounded:
        bounded.up()
        for value, cut in ((99, "at most 4"), (1, "at least 2"), (3, None)):
            bounded.post("/v1/changes", {**SCALE, "value": value})
            assert bounded.get("/v1/changes").json["items"][0]["cut"] == cut
            assert bounded.get("/v1/explain?target=one/reader").json["changes"][-1]["cut"] == cut
        page = bounded.get("/changes").text
        assert "replicas 99, at most 4" in page
        assert "replicas 99, at most 4" in bounded.get("/agents/one/reader").text


def test_a_change_of_a_plain_number_is_bound_by_the_quota_alone(control):
    control.up()
    assert "replicas: 2" in control.spec
    for value, cut in ((99, "at most 20"), (1, None)):
        control.post("/v1/changes", {**SCALE, "value": value})
        assert control.get("/v1/changes").json["items"][0]["cut"] == cut


def test_a_change_that_has_ended_is_not_told_as_cut(control):
    control.up()
    number = control.post("/v1/changes", {**SCALE, "value": 99}).json["id"]
    control.delete(f"/v1/changes/{number}")
    assert control.get("/v1/changes").json["items"][0]["cut"] is None
