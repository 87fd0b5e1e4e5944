"""What pages show of figures and times, what they offer to copy, and where a number leads."""

import json
import re
import shlex
from dataclasses import replace
from html import unescape

import pytest
from starlette.requests import Request

from quarterdeck.model.records import Actor, Condition, Entry
from quarterdeck.model.world import Flow, Verb
from quarterdeck.store import conditions, journal
from quarterdeck.web.fleet import table_of

HOSTILE = "<script>alert(1)</script>"
LINKED = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader"}}}
    two: {agents: {reader: {run: "agents:reader"}}}
  links: [{from: one, to: two}]
"""


def copies(page):
    """The command and the curl of a page, as a shell takes them."""
    shown = {name: unescape(re.sub(r"<[^>]*>", "", text)) for name, text in re.findall(r'id="as-(command|curl)">(.*?)</code>', page.text)}
    return shlex.split(shown["command"]), shlex.split(shown["curl"])


def change(control, field, value, target="one/reader"):
    asked = {"target": target, "field": field, "value": value, "reason": "for a test"}
    return control.post("/v1/changes", asked).json["id"]


@pytest.mark.parametrize(
    ("path", "command", "method", "source", "body"),
    [
        (
            "scale?target=one/reader&value=3",
            "qd scale one/reader 3 --reason WHY",
            "POST",
            "/v1/changes",
            {"target": "one/reader", "field": "replicas", "value": 3, "reason": "WHY"},
        ),
        (
            "scale",
            "qd scale CLUSTER/AGENT N --reason WHY",
            "POST",
            "/v1/changes",
            {"target": "CLUSTER/AGENT", "field": "replicas", "value": "N", "reason": "WHY"},
        ),
        ("revert?target=7", "qd revert 7 --reason WHY", "DELETE", "/v1/changes/7?reason=WHY", None),
        ("rollback", "qd rollback N --reason WHY", "POST", "/v1/rollback", {"to": "N", "reason": "WHY"}),
        ("stop?target=pair:", "qd stop fleet --reason WHY", "POST", "/v1/stops/fleet", {"reason": "WHY"}),
        ("start?target=one", "qd start cluster one --reason WHY", "POST", "/v1/starts", {"target": "one", "reason": "WHY"}),
        ("validate?value=deep", "qd validate --deep", "POST", "/v1/validate", {"deep": True}),
    ],
)
def test_an_action_is_copied_as_the_deed_it_is(control, path, command, method, source, body):  # noqa: PLR0917 a table
    control.up()
    words, curl = copies(control.get(f"/act/{path}"))
    assert shlex.join(words) == command
    assert curl[:3] == ["curl", "-X", method]
    assert curl[-1] == source
    assert (json.loads(curl[curl.index("-d") + 1]) if body else None) == body
    assert 'id="as-yaml"' not in control.get(f"/act/{path}").text


def test_the_copied_request_does_the_deed(control):
    control.up()
    _, curl = copies(control.get("/act/scale?target=one/reader&value=3"))
    assert control.post(curl[-1], json.loads(curl[curl.index("-d") + 1])).status == 200
    (made,) = control.get("/v1/changes").json["items"]
    _, curl = copies(control.get(f"/act/revert?target={made['id']}"))
    assert control.delete(curl[-1]).status == 200


def test_what_stands_in_an_address_stays_one_word_of_the_request_to_copy(control):
    control.up()
    odd = "'; touch gone #"
    _, curl = copies(control.get(f"/act/scale?target={odd.replace('#', '%23')}&value=3"))
    assert json.loads(curl[curl.index("-d") + 1])["target"] == odd
    assert not set(copies(control.get("/act/revert?target=$(touch)"))[1][-1]) & set("$`\"'")


PATHS = ("/", "/deployments", "/deployments/1", "/changes", "/settings", "/clusters/one", "/agents/one/reader", "/replicas/one/reader-0")


def test_every_age_has_the_time_itself_on_hover(control):
    control.up()
    now = control.engine.clock.now()
    for kind in ("JournalVerified", "BusSynced"):
        found = Condition(kind, "pair", "true", "", "", now, now, "seen", 1, "control_plane_deployment")
        control.store.write_sync(lambda tx, found=found: conditions.put(tx, "pair", found))
    control.engine.clock.advance(300)
    for path in PATHS:
        outside = re.sub(r"<(time|code|pre|title)\b.*?</\1>", "", control.get(path).text, flags=re.DOTALL)
        cells = re.findall(r">\s*(?:in )?\d[\d.]* (?:s|min|h|d)(?: ago)?\s*<", re.sub(r'<span class="n">.*?</span>', "", outside))
        assert cells == [], path
    shown = control.get("/deployments").text
    assert re.search(r'<time datetime="([^"]+Z)" title="\1">5 min</time>', shown)


def test_a_change_is_told_by_its_field_and_a_value_that_says_something(control):
    control.up()
    change(control, "quarantined", value=True, target="one/reader-0")
    change(control, "hold", value=True)
    change(control, "replicas", 3)
    for path in ("/agents/one/reader", "/changes"):
        shown = control.get(path).text
        assert "True" not in shown, path
        assert "replicas 3" in shown, path


def test_a_replica_without_a_process_has_no_lag_and_nothing_in_flight(control, monkeypatch):
    control.up()
    whole = type(control.engine).workloads

    async def workloads(self, system):
        dead = await whole(self, system)
        return tuple(
            replace(w, replicas=tuple(replace(r, pid=None, state="failed", lag=0.0, inflight=0) for r in w.replicas)) for w in dead
        )

    monkeypatch.setattr(type(control.engine), "workloads", workloads)
    shown = control.get("/replicas/one/reader-0").text
    assert "not known" in shown
    assert "<dd>0<" not in shown[: shown.index("Handled")]
    for path in ("/clusters/one", "/replicas"):
        assert "0.0 ms" not in control.get(path).text


def happened(control, verb, why="", **detail):
    entry = Entry(Actor("node", "engine"), f"replica.{verb}", "one/reader-0", why, evidence=detail, system="pair")
    control.store.write_sync(lambda tx: journal.append(tx, entry))


def test_restarts_are_told_one_by_one_with_their_causes(control):
    control.up()
    for n, asked, cause in ((1, False, "signal 9"), (2, True, "exit 0")):
        happened(control, "started", pid=40 + n, incarnation=n)
        happened(control, "exited", f"{cause} {HOSTILE}", pid=40 + n, incarnation=n, asked=asked)
    shown = control.get("/replicas/one/reader-0").text
    table = shown[shown.index('id="lives"') :]
    rows = re.findall(r"<tr>(.*?)</tr>", table[: table.index("</table>")], re.DOTALL)[1:]
    assert ["42" in row and "exit 0" in row for row in rows] == [True, False]
    assert ['class="said failed"' in row for row in rows] == [False, True]
    assert HOSTILE not in shown


def test_a_number_leads_to_its_cause(control):
    control.up()
    shown = control.get("/").text
    assert 'href="/replicas"' in shown[shown.index("Answering") :]
    control.engine.crash("pair", "one/reader-0")
    assert control.get("/replicas?state=not ready").status == 200
    assert 'href="/deployments?rule=clusters%20isolated#evidence"' in shown
    assert "rule=alerts" not in shown, "nothing proves it yet"


def figures(page):
    """What each figure is of, and where it leads."""
    shown = re.findall(r"<div><dt>(.*?)</dt><dd>(.*?)</dd></div>", page.text, re.DOTALL)
    return {name: [unescape(href) for href in re.findall(r'<a href="([^"]*)"', told)] for name, told in shown}


def test_every_figure_leads_somewhere_that_is_there(control, monkeypatch):
    control.up()
    whole = type(control.engine).workloads

    async def workloads(self, system):
        busy = await whole(self, system)
        return tuple(replace(w, replicas=tuple(replace(r, handled=9, failed=2, inflight=1) for r in w.replicas)) for w in busy)

    monkeypatch.setattr(type(control.engine), "workloads", workloads)
    task = control.post("/v1/tasks", {"target": "one/reader", "payload": 1}).json["id"]
    for path in ("/", "/clusters/one", "/agents/one/reader", "/replicas/one/reader-0", f"/tasks/{task}"):
        page = control.get(path)
        found = figures(page)
        assert len(found) >= 3, path
        assert [name for name, to in found.items() if not to] == [], path
        for to in (to for links in found.values() for to in links):
            there, _, part = to.partition("#")
            led = control.get(there) if there else page
            assert led.status == 200, (path, to)
            assert not part or f'id="{part}"' in led.text, (path, to)


def test_figures_lead_to_what_they_count(control):
    control.up()
    change(control, "quarantined", value=True, target="one/reader-1")
    control.converge()
    agent = figures(control.get("/agents/one/reader"))
    assert agent["Waiting messages"] == ["/messages?target=one%2Freader"]
    assert agent["Bounds"] == ["/deployments/1"]
    assert figures(control.get("/clusters/one"))["Memory"] == ["/clusters/one?by=memory_bytes#replicas"]


def test_failures_of_a_replica_lead_to_what_it_wrote_and_what_was_not_answered_to_its_link(make_control, monkeypatch):
    with make_control(LINKED) as control:
        control.up()
        whole = type(control.engine).workloads

        async def workloads(self, system):
            told = {"failed": 2, "flows": (Flow("two", 5, 3, 0.5, 0.1),)}
            return tuple(replace(w, replicas=tuple(replace(r, **told) for r in w.replicas)) for w in await whole(self, system))

        monkeypatch.setattr(type(control.engine), "workloads", workloads)
        page = control.get("/replicas/one/reader-0")
        assert figures(page)["Handled"] == ["#charts", "#lines"]
        assert '<td class="n"><a href="/links#one-&gt;two">3</a></td>' in page.text


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("/waiting", "qd get tasks --state waiting"),
        ("/tasks/dead", "qd get tasks --state failed"),
        ("/tasks/unknown", "qd get effects --state done"),
    ],
)
def test_where_nothing_is_a_command_tells_what_is_near(control, path, command):
    control.up()
    calm = re.search(r'<p class="calm">(.*?)</p>', control.get(path).text, re.DOTALL)[1]
    assert f"<code>{command}</code>" in calm


@pytest.mark.parametrize(
    ("path", "command", "source"),
    [("/deployments", "qd status", "/v1/status"), ("/deployments?rule=clusters isolated", "qd get conditions", "/v1/conditions")],
)
def test_deployments_copy_what_they_show(control, path, command, source):
    control.up()
    page = control.get(path).text
    assert f'id="as-command">{command}</code>' in page
    assert f"</span>{source}&#34;" in page or f'</span>{source}"' in page


def test_the_evidence_of_one_rule_is_what_its_proofs_found(control):
    control.up()
    now = control.engine.clock.now()
    for kind in ("JournalVerified", "BusSynced"):
        found = Condition(kind, "pair", "true", "", "", now, now, f"{kind} is so", 1, "control_plane_deployment")
        control.store.write_sync(lambda tx, found=found: conditions.put(tx, "pair", found))
    shown = control.get("/deployments?rule=control plane proven").text
    evidence = shown[shown.index('id="evidence"') : shown.index("Revisions</h2>")]
    assert "JournalVerified is so" in evidence
    assert "BusSynced" not in evidence
    assert HOSTILE not in control.get(f"/deployments?rule={HOSTILE}").text


def test_replicas_are_listed_and_filtered_by_whether_they_are_ready(control):
    control.up()
    change(control, "quarantined", value=True, target="one/reader-1")
    control.converge()
    control.get("/v1/agents/one/reader")
    assert "one/reader-0</a>" in control.get("/replicas").text
    odd = control.get("/replicas?state=not ready").text
    assert "one/reader-1</a>" in odd
    assert "one/reader-0</a>" not in odd


def test_replicas_are_ordered_by_what_they_take():
    used = [{"name": f"a/x-{n}", "state": "ready", "reason": "", "cpu": cpu, "restarts": n} for n, cpu in enumerate((0.1, None, 0.7))]

    def names(query):
        return [r["name"] for r in table_of(Request({"type": "http", "query_string": query, "headers": []}), list(used))["replicas"]]

    assert names(b"") == names(b"by=nonsense") == ["a/x-0", "a/x-1", "a/x-2"]
    assert names(b"by=cpu") == ["a/x-2", "a/x-0", "a/x-1"]
    assert names(b"by=restarts&q=x-1") == ["a/x-1"]


def test_a_phase_opens_into_its_steps_with_outcome_and_time(control):
    control.up()
    clock = control.engine.clock
    clock.advance(1.0)
    for kind, status in (("Step:EnsureBus", "true"), ("BusSynced", "false")):
        clock.advance(0.5)
        now = clock.now()
        found = Condition(kind, "bus", status, "", HOSTILE, now, now, "", 1, "data_plane_deployment")
        control.store.write_sync(lambda tx, found=found: conditions.put(tx, "pair", found))
    shown = control.get("/deployments").text
    phase = shown[shown.index('id="phase-data_plane_deployment"') :]
    steps = phase[: phase.index("</details>")]
    assert re.findall(r"<span>(EnsureBus|BusSynced)</span>", steps) == ["EnsureBus", "BusSynced"]
    assert "+1.5 s" in steps
    assert "+2.0 s" in steps
    assert HOSTILE not in shown


def test_pages_to_come_name_an_agent_that_is_there(control):
    control.up()
    for path in ("/silences", "/objectives", "/drills", "/calendar", "/incidents", "/scaling"):
        shown = control.get(path)
        assert (shown.status, "analysts" in shown.text) == (200, False), path
        assert "Not in this version" in shown.text
    assert "qd journal --target one/reader" in control.get("/incidents").text


def test_the_palette_offers_what_may_be_done(control):
    control.up()
    control.post("/v1/apply", {**control.body, "text": control.spec.replace("replicas: 2", "replicas: 1")})
    number = change(control, "hold", value=True)
    change(control, "quarantined", value=True, target="one/reader-0")
    restart = change(control, "restart_before", value=None)
    offered = {item["name"]: item["path"] for item in control.get("/palette").json if item["kind"] == "action"}
    wanted = {
        "scale one/reader",
        "restart one/reader",
        "quarantine one/reader-0",
        "hold one",
        "stop one/reader",
        "release one/reader",
        "release one/reader-0",
        f"revert {number}: hold one/reader",
        "rollback to revision 1",
        "stop everything",
        "validate",
    }
    assert wanted <= offered.keys()
    assert [name for name in offered if name.startswith(f"revert {restart}")] == [], "a restart was done once"
    assert all(control.get(path).status == 200 for path in offered.values())
    secret = control.post("/v1/tokens", {"role": "viewer", "ttl": 600}).json["token"]
    seen = control.stranger("GET", "/palette", headers={"authorization": f"Bearer {secret}"}).json
    assert [item for item in seen if item["kind"] == "action"] == []


def test_the_palette_offers_the_revert_of_a_stop_of_everything_to_an_admin_alone(control):
    control.up()
    control.post("/v1/stops/fleet", {"reason": "incident 4711"})
    secret = control.post("/v1/tokens", {"role": "operator", "ttl": 600}).json["token"]
    for seen, count in (
        (control.get("/palette").json, 1),
        (control.stranger("GET", "/palette", headers={"authorization": f"Bearer {secret}"}).json, 0),
    ):
        assert len([item for item in seen if item["name"].endswith(": stopped pair:")]) == count


def test_each_verb_has_an_example_of_its_own(control, monkeypatch):
    control.up()

    async def verbs(self, system, agent):
        count = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
        return (Verb("count", count, "long " * 60), Verb("rest", None, HOSTILE))

    monkeypatch.setattr(type(control.engine), "verbs", verbs)
    begun = []
    for verb in ("count", "rest"):
        shown = control.get(f"/agents/one/reader?verb={verb}&as=json").text
        begun.append(json.loads(unescape(re.findall(r'<textarea id="payload"[^>]*>\n([^<]*)', shown)[0]) or "null"))
        assert HOSTILE not in shown
    assert begun == [{"n": 0}, None]


def test_what_is_sent_as_a_task_leads_to_its_page(control):
    control.up()
    fields = {"verb": "rest", "payload": '{"text": "x"}', "as": "task"}
    answer = control.post_form("/agents/one/reader", fields)
    assert answer.status == 303
    assert control.get(answer.headers["location"]).status == 200
    assert control.get("/v1/tasks").json["items"][0]["verb"] == "rest"


def test_the_journal_shows_what_belongs_to_no_system_too_and_leads_from_record_to_record(control):
    control.up()
    control.post("/v1/tokens", {"role": "viewer", "ttl": 60})
    listed = control.get("/journal?verb=token.create").text
    seq = int(re.search(r"/journal/(\d+)", listed)[1])
    shown = control.get(f"/journal/{seq}").text
    assert "token.create" in shown
    beside = {int(n) for n in re.findall(r'href="/journal/(\d+)', shown)}
    assert beside
    assert {control.get(f"/journal/{n}").status for n in beside} == {200}
    assert seq - 1 in beside
