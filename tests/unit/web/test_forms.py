"""Forms: what was typed is never lost, what is not there is said at once, and where they are opened again they are whole."""

import re
from html import unescape

import pytest

from quarterdeck.web import operate

HOSTILE = 'why "so\u202e" <b>'
PAGE = {"accept": "text/html"}


def value(page, name):
    """What stands in a field."""
    found = re.search(rf'<input [^>]*name="{name}"[^>]*?value="([^"]*)"', page.text)
    return unescape(found[1]) if found else None


@pytest.fixture
def pair(control):
    control.up()
    return control


def test_back_from_a_plan_brings_everything_that_was_typed(pair):
    typed = {"target": "one/reader", "value": "3", "reason": HOSTILE, "until": "2099-01-01T10:00"}
    plan = pair.post_form("/act/scale", typed)
    assert (plan.status, 'name="confirmed"' in plan.text, 'name="back"' in plan.text) == (200, True, True)
    back = pair.post_form("/act/scale", {**typed, "back": "yes"})
    assert {name: value(back, name) for name in typed} == typed
    assert "Show the plan" in back.text
    assert pair.get("/v1/changes").json["items"] == []


def test_the_address_of_a_plan_opened_again_is_the_form_of_the_same_target(pair):
    plan = pair.post_form("/act/scale", {"target": "one/reader", "value": "3", "reason": "x"})
    address = unescape(re.search(r'<form class="act" action="([^"]*)"', plan.text)[1])
    again = pair.get(address)
    assert (again.status, value(again, "target"), value(again, "value")) == (200, "one/reader", "3")


@pytest.mark.parametrize("verb", ["scale", "stop", "hold", "revert", "rollback", "quarantine"])
def test_a_form_without_a_target_asks_for_one(pair, verb):
    page = pair.get(f"/act/{verb}")
    assert page.status == 200
    assert re.search(r'<input id="target" name="target"[^>]* required autofocus', page.text)


@pytest.mark.parametrize(
    ("path", "told", "hint"),
    [
        ("stop?target=nope", "no &#34;nope&#34;", "qd get agents"),
        ("scale?target=one/raeder", "one/raeder", "did you mean &#34;one/reader&#34;?"),
        ("quarantine?target=one/readr-0", "one/readr-0", ""),
        ("revert?target=999", "there is no change 999", "choose one"),
        ("rollback?target=9", "there is no revision 9", "choose one"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_before_anything_is_typed(pair, path, told, hint):
    page = pair.get(f"/act/{path}")
    alert = page.text[page.text.index('role="alert">') :]
    assert page.status == 404
    assert told in alert[: alert.index("</div>")]
    assert hint in alert[: alert.index("</div>")]


def test_a_change_that_has_ended_is_not_offered_to_be_reverted(pair):
    made = pair.post("/v1/changes", {"target": "one/reader", "field": "hold", "value": True, "reason": "x"}).json["id"]
    assert pair.get(f"/act/revert?target={made}").status == 200
    pair.delete(f"/v1/changes/{made}?reason=enough")
    page = pair.get(f"/act/revert?target={made}")
    assert (page.status, f"change {made} was reverted before" in page.text) == (404, True)


def test_scale_begins_with_the_number_there_is_and_tells_the_bounds(pair):
    page = pair.get("/act/scale?target=one/reader")
    assert value(page, "value") == "2"
    assert "now 2, of which 2 answer; the spec says 2" in page.text
    assert re.search(r'id="value"[^>]* autofocus', page.text)
    assert not re.search(r'id="reason"[^>]* autofocus', page.text)
    assert re.search(r'<a href="/agents/one/reader">Cancel</a>', page.text)


def test_a_restart_asks_for_no_end_and_is_shown_as_done(pair):
    assert 'name="until"' not in pair.get("/act/restart?target=one/reader").text
    assert 'name="until"' in pair.get("/act/hold?target=one/reader").text
    typed = {"target": "one/reader", "reason": "fresh start", "until": "2099-01-01T10:00", "confirmed": "yes"}
    assert pair.post_form("/act/restart", typed).status == 303
    assert pair.get("/v1/changes").json["items"][0]["until"] is None
    page = pair.get("/changes").text
    row = page[page.index("fresh start") - 600 : page.index("fresh start") + 600]
    assert ">done<" in row.replace("</svg>", ">").replace("</span>", "<")
    assert "restart_before" not in page
    assert "/act/revert" not in page
    shown = pair.get("/agents/one/reader").text
    assert "Why so many" not in shown
    assert "Live changes" not in shown


def test_a_change_that_was_reverted_says_when_by_whom_and_why(pair):
    body = {"target": "one/reader", "field": "hold", "value": True, "reason": "hands off", "until": pair.engine.clock.now() + 7200}
    made = pair.post("/v1/changes", body).json["id"]
    assert "in 2 h" in pair.get("/changes").text
    pair.engine.clock.advance(60)
    pair.delete(f"/v1/changes/{made}?reason=hands on")
    page = pair.get("/changes").text
    assert "in 2 h" not in page
    assert re.search(r"by uid:\d+: hands on", page)


def unknown(pair, fields, deed):
    task = pair.post("/v1/tasks", {"target": "one/reader", "payload": 1}).json["id"]
    return pair.post_form(f"/tasks/{task}/{deed}", fields)


def test_what_was_typed_about_a_task_is_still_there_when_it_is_refused(replica, fleet):
    task = fleet.post("/v1/tasks", {"target": "one/reader", "payload": 1}).json["id"]
    page = fleet.post_form(f"/tasks/{task}/cancel", {"reason": " "})
    assert page.status == 400
    page = fleet.post_form(f"/tasks/{task}/retry", {"reason": HOSTILE})
    assert page.status >= 400
    assert value(page, "reason") == HOSTILE


def test_a_page_of_a_noun_to_come_copies_what_reads_and_marks_what_changes(pair):
    for path in operate.COMING:
        page = pair.get(f"/{path}").text
        copied = unescape(re.search(r'id="as-command">(.*?)</code>', page)[1])
        assert copied.split()[1] in ("logs", "get", "status", "journal"), path
        changing = re.findall(r"<dt><code>qd (?:scale|restart|hold|task submit)[^\n]*?</dd>", page)
        assert all("An example: it changes the fleet." in one for one in changing)
        assert len(changing) == (path in ("silences", "drills", "scaling", "schedules")), path


def test_a_copy_that_cannot_carry_the_filter_says_that_it_is_of_all(pair):
    narrowed = ("/clusters/one?state=ready", "/clusters/one?by=cpu", "/agents/one/reader?q=1", "/deployments?rule=clusters isolated")
    for path in ("/replicas?state=failed", "/replicas?q=x", "/replicas?by=cpu", "/budgets?day=2026-01-01", *narrowed):
        page = pair.get(path)
        if page.status == 200:
            assert "All of them by command, without the filter" in page.text, path
    for path in ("/replicas", "/clusters/one", "/agents/one/reader", "/deployments"):
        assert "The same by command" in pair.get(path).text, path
    assert "qd get revisions 1 -o yaml" in pair.get("/deployments/1").text


def test_the_send_box_is_busy_while_it_waits(pair, monkeypatch):
    page = pair.get("/agents/one/reader").text
    assert re.search(r'<form class="send"[^>]* hx-disabled-elt=".send button" hx-indicator="#busy"', page)
    assert "waiting for an answer…" in page
