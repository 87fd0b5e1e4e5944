"""Plan, apply and roll back: one answer tells what is carried out, and a plan alone carries out nothing."""

CODE = "def reader(text: str) -> str:\n    return text\n"
NOTHING = {"add": 0, "change": 0, "remove": 0}


def test_an_apply_answers_with_the_very_plan_that_planning_alone_gives(control):
    planned = control.post("/v1/plan", control.body).json
    applied = control.post("/v1/apply", control.body).json
    assert planned["steps"]
    assert applied["plan"] == planned
    assert (applied["kind"], applied["created"], applied["number"]) == ("Revision", True, 1)
    assert applied["index"] > planned["index"]


def test_the_code_is_looked_at_once_for_plan_and_apply_together(control, tmp_path):
    seen = tmp_path / "seen"
    (control.folder / "agents.py").write_text(f"open({str(seen)!r}, 'a').write('imported ')\n{CODE}")
    control.post("/v1/apply", control.body)
    assert seen.read_text() == "imported "


def test_code_that_takes_long_to_import_does_not_hold_the_loop(control, loops):
    loops.limit = 1.0
    (control.folder / "agents.py").write_text(f"import time\n\ntime.sleep(1.2)\n{CODE}")
    assert control.post("/v1/plan", control.body).status == 200
    assert loops.held == []


def test_a_plan_changes_nothing(control):
    control.up()
    before = control.journalled()
    (control.folder / "agents.py").write_text(CODE.replace("return text", "return text * 2"))
    planned = control.post("/v1/plan", control.body).json
    assert [(s["action"], s["target"]) for s in planned["steps"]] == [("change", "one/reader")]
    assert control.journalled() == before
    assert control.get("/v1/revisions").json["items"][0]["number"] == 1


def test_the_same_content_again_has_nothing_to_do(control):
    control.up()
    again = control.post("/v1/apply", control.body).json
    assert (again["created"], again["plan"]["steps"], again["plan"]["summary"]) == (False, [], NOTHING)


def steps(planned):
    return [(s["action"], s["target"], s["reason"]) for s in planned["steps"]]


def test_a_plan_names_what_changes_though_nothing_has_to_be_done_for_it(control):
    control.up()
    (control.folder / "notes.md").write_text("of no agent")
    planned = control.post("/v1/plan", control.body).json
    assert steps(planned) == [("change", "pair", "revision 1 → 2: files that no agent is made of")]
    control.spec = control.spec.replace("spec:", "spec:\n  owner: alice\n  admission: {rate: 5}")
    planned = control.post("/v1/plan", control.body).json
    told = "revision 1 → 2: spec.owner, spec.admission.rate"
    assert steps(planned) == [("change", "pair", told)]
    assert planned["summary"] == {**NOTHING, "change": 1}
    control.spec = control.spec.replace("replicas: 2", "replicas: 3")
    planned = control.post("/v1/plan", control.body).json
    assert [s[:2] for s in steps(planned)] == [("change", "pair"), ("change", "one/reader")]
    assert control.post("/v1/apply", control.body).json["plan"] == planned
    control.converge()
    assert control.post("/v1/plan", control.body).json["steps"] == []


def test_a_plan_tells_that_the_room_of_a_cluster_goes_with_its_agents(control):
    control.spec += "    two: {agents: {more: {run: 'agents:reader'}}}\n"
    control.up()
    control.spec = control.spec[: control.spec.index("    two:")]
    planned = control.post("/v1/plan", control.body).json
    assert {s[:2] for s in steps(planned)} == {("remove", "two/more"), ("remove", "two")}


def test_an_apply_at_an_old_index_is_refused_and_adopts_nothing(control):
    control.up()
    control.spec = control.spec.replace("replicas: 2", "replicas: 3")
    index = control.post("/v1/plan", control.body).json["index"]
    control.post("/v1/changes", {"target": "one/reader", "field": "hold", "value": True, "reason": "being debugged"})
    refused = control.post("/v1/apply", {**control.body, "index": index})
    assert refused.status == 409
    assert f"planned at index {index}" in refused.json["error"]["message"]
    assert refused.json["error"]["hint"]
    assert len(control.get("/v1/revisions").json["items"]) == 1


def test_an_engine_that_cannot_be_asked_stops_a_plan_but_neither_an_apply_nor_the_way_back(control):
    control.up()
    control.spec = control.spec.replace("replicas: 2", "replicas: 3")
    control.engine.absent = True
    refused = control.post("/v1/plan", control.body)
    assert (refused.status, refused.json["error"]["message"]) == (503, "the engine cannot be asked: no node")
    applied = control.post("/v1/apply", control.body)
    assert (applied.status, applied.json["number"], applied.json["plan"]) == (200, 2, None)
    back = control.post("/v1/rollback", {})
    assert (back.status, back.json["number"], back.json["plan"]) == (200, 3, None)


def test_a_dry_rollback_tells_what_the_rollback_then_does_and_changes_nothing(control):
    control.up()
    control.spec = control.spec.replace("replicas: 2", "replicas: 3")
    control.up()
    before = control.journalled()
    dry = control.post("/v1/rollback", {"dry_run": True}).json
    assert (dry["kind"], dry["system"]) == ("Plan", "pair")
    assert [(s["action"], s["target"]) for s in dry["steps"]] == [("change", "one/reader")]
    assert control.journalled() == before
    real = control.post("/v1/rollback", {}).json
    assert (real["number"], {**real["plan"], "to": 1}) == (3, dry)


def test_going_back_to_what_runs_is_no_new_revision(control):
    control.up()
    assert control.post("/v1/rollback", {"to": 1, "dry_run": True}).json["summary"] == NOTHING
    back = control.post("/v1/rollback", {"to": 1}).json
    assert (back["created"], back["number"]) == (False, 1)


def test_a_rollback_without_an_earlier_revision_is_refused_dry_or_not(control):
    control.up()
    for dry in (True, False):
        none = control.post("/v1/rollback", {"dry_run": dry})
        assert (none.status, none.json["error"]["message"]) == (400, "pair has no earlier revision")
        unknown = control.post("/v1/rollback", {"to": 9, "dry_run": dry})
        assert unknown.status == 404
        assert "kept: 1" in unknown.json["error"]["hint"]


def test_the_description_of_the_api_tells_of_the_dry_run(control):
    described = control.get("/openapi.json").json["components"]["schemas"]["RollbackBody"]
    assert "dry_run" in described["properties"]
    assert "change nothing" in described["description"]


def test_the_revisions_that_are_kept_stand_beside_their_limit(control):
    control.up()
    assert control.get("/v1/status").json["limits"]["revisions"] == {"kept": 1, "limit": 10}


def test_an_apply_of_what_was_not_planned_is_refused_and_adopts_nothing(control):
    control.up()
    control.spec = control.spec.replace("replicas: 2", "replicas: 3")
    planned = control.post("/v1/plan", control.body).json
    expected = {"index": planned["index"], "digest": planned["digest"]}
    (control.folder / "agents.py").write_text(CODE.replace("return text", "return text * 2"))
    refused = control.post("/v1/apply", {**control.body, **expected})
    assert (refused.status, refused.json["error"]["code"], refused.json["error"]["kind"]) == (409, "E1502", "Conflict")
    (control.folder / "agents.py").write_text(CODE)
    edited = {**control.body, "text": control.spec.replace("replicas: 3", "replicas: 4"), **expected}
    assert control.post("/v1/apply", edited).json["error"]["code"] == "E1502"
    assert control.get("/v1/revisions").json["items"][0]["number"] == 1
    applied = control.post("/v1/apply", {**control.body, **expected}).json
    assert (applied["number"], applied["plan"]) == (2, planned)
    assert control.post("/v1/apply", {**control.body, **expected}).json["error"]["code"] == "E1501"


def test_every_refusal_has_a_code(control):
    assert control.post("/v1/plan", {**control.body, "text": "spec: {"}).json["error"]["code"] == "E1010"
    assert control.post("/v1/plan", {"nothing": 1}).json["error"]["code"] == "E1001"
    assert control.get("/v1/nothing").json["error"]["code"] == "E1003"
    assert control.get("/v1/explain?target=two").json["error"]["code"] == "E1003"
