"""What others wrote is harmless wherever a page shows it, and a record's mark tells what became of what it is about."""

import pytest
from jinja2 import StrictUndefined, UndefinedError
from ruamel.yaml import YAML

from quarterdeck.model.records import Actor, Condition, Entry
from quarterdeck.store import conditions, journal
from quarterdeck.web import live, pages
from quarterdeck.web.text import UNSEEN, counted, exact, harmless, turned_out

SIGNS = "\u202e\u202c\u200b\x1b\x07\x01"
EVIL = f"a{SIGNS}b<i>"
SHOWN = f"a{UNSEEN * len(SIGNS)}b&lt;i&gt;"


def render(source, **facts):
    return pages.PAGES.from_string(source).render(**facts)


def test_whatever_a_template_prints_is_harmless_and_only_what_a_form_sends_back_is_exact():
    assert (
        render("{{ t }}|{{ t ~ 1 }}|{% macro m(x) %}<b>{{ x }}</b>{% endmacro %}{{ m(t) }}", t=EVIL) == f"{SHOWN}|{SHOWN}1|<b>{SHOWN}</b>"
    )
    assert render("{% macro m(x) %}<input value='{{ x|exact }}'>{% endmacro %}{{ m(t) }}", t=EVIL) == f"<input value='{exact(EVIL)}'>"
    assert SIGNS in exact(EVIL)
    assert "<" not in exact(EVIL)
    assert pages.PAGES.undefined is StrictUndefined
    with pytest.raises(UndefinedError):
        render("{{ nothing }}")


@pytest.mark.parametrize("text", ["10\u00a0km", "\u6771\u3000\u4eac", "tab\tand\nline", "naïve 🙂"])
def test_what_people_write_and_see_stays(text):
    assert harmless(text) == text


def test_no_page_shows_a_sign_that_nobody_sees(control, monkeypatch):
    control.up()
    reason = "a\u202e\u202c\u200bb"
    changed = {"target": "one/reader", "field": "hold", "value": True, "reason": EVIL}
    control.post("/v1/changes", changed)
    now = control.engine.clock.now()
    for kind in ("JournalVerified", "Step:EnsureBus"):
        found = Condition(kind, "pair", "false", "", EVIL, now, now, EVIL, 1, "control_plane_deployment")
        control.store.write_sync(lambda tx, found=found: conditions.put(tx, "pair", found))
    for verb in ("replica.exited", "replica.failed"):
        entry = Entry(Actor("node", "engine"), verb, "one/reader-0", EVIL, evidence={"detail": EVIL, "incarnation": 1}, system="pair")
        control.store.write_sync(lambda tx, entry=entry: journal.append(tx, entry))

    async def lines(self, path, **query):
        return [{"at": "2026-11-28T12:00:00.000Z", "stream": stream, "text": EVIL} for stream in ("out", "err")]

    monkeypatch.setattr("quarterdeck.web.inner.Api.lines", lines)
    paths = ("/", "/deployments", "/changes", "/journal", "/journal/5", "/clusters/one", "/agents/one/reader", "/replicas/one/reader-0",
             f"/act/hold?target={reason}", f"/journal?target={reason}", f"/clusters/{reason}")  # fmt: skip
    for path in paths:
        shown = control.get(path).text
        visible = shown if "/act/" not in path else shown.replace(f'value="{reason}"', "")
        assert [c for c in SIGNS if c in visible] == [], path
    for path in ("/changes", "/journal", "/replicas/one/reader-0"):
        assert SHOWN in control.get(path).text, path
    assert control.get("/replicas/one/reader-0").text.count(SHOWN) >= 4


def test_yaml_shows_every_sign_and_is_read_back_as_the_api_says_it(control):
    control.up()
    control.post("/v1/changes", {"target": "one/reader", "field": "hold", "value": True, "reason": EVIL})
    source = "/v1/changes"
    shown, said = control.get(f"/yaml?source={source}"), control.get(source)
    assert shown.headers["content-type"] == "text/plain; charset=utf-8"
    assert [c for c in SIGNS if c in shown.text] == []
    assert "\\u202E" in shown.text
    assert YAML(typ="safe").load(shown.text) == said.json
    assert said.json["items"][0]["reason"] == EVIL, "the API stays exact"


@pytest.mark.parametrize(
    "document",
    [
        {f"key {EVIL}": [EVIL * 40, {"n": 1, "none": None, "yes": True}]},
        ["\U000e0041\ufeff\u2028\x85", f"lines\n{EVIL}\n", "plain\nlines\n"],
        {"naïve": "10\u00a0km \u6771\u3000\u4eac 🙂"},
    ],
)
def test_any_document_is_the_same_after_yaml(document):
    text = live.yaml_of(document)
    assert harmless(text) == text
    assert YAML(typ="safe").load(text) == document


def test_what_nothing_hides_in_is_written_as_people_write_it():
    assert live.yaml_of({"naïve": "東京 🙂", "why": "it is"}) == "naïve: 東京 🙂\nwhy: it is\n"


@pytest.mark.parametrize(
    ("verb", "more", "state"),
    [
        ("replica.failed", {}, "failed"),
        ("replica.killed", {}, "failed"),
        ("replica.exited", {"evidence": {"asked": False}}, "failed"),
        ("replica.exited", {"evidence": {"asked": True}}, "pending"),
        ("task.dead", {}, "failed"),
        ("message.dead", {}, "failed"),
        ("task.unknown", {}, "unknown"),
        ("effect.unknown", {}, "unknown"),
        ("bus.lost", {}, "failed"),
        ("control.lost", {}, "failed"),
        ("budget.tripped", {}, "failed"),
        ("replica.quarantined", {}, "quarantined"),
        ("replica.ready", {}, "done"),
        ("change.add", {}, "done"),
        ("down", {}, "done"),
        ("step.ApplyWorkload", {"outcome": "failed"}, "failed"),
        ("step.ApplyWorkload", {"outcome": "begun"}, "begun"),
    ],
)
def test_the_mark_of_a_record_follows_what_happened(verb, more, state):
    assert turned_out({"verb": verb, "outcome": "done", "evidence": None, **more})[0] == state


def test_no_record_of_a_failure_is_green_in_any_table(control):
    control.up()
    for verb in ("replica.failed", "replica.killed", "task.dead", "task.unknown"):
        entry = Entry(Actor("node", "engine"), verb, "one/reader-0", "why", system="pair")
        control.store.write_sync(lambda tx, entry=entry: journal.append(tx, entry))
    for path in ("/", "/journal", "/clusters/one", "/agents/one/reader", "/replicas/one/reader-0"):
        rows = [row for row in control.get(path).text.split("<tr ") if ">replica.failed<" in row or ">task.dead<" in row]
        assert rows, path
        assert [row for row in rows if 'class="said failed"' not in row] == [], path


def test_one_thing_is_not_counted_as_many():
    assert (counted(1, "effect"), counted(2, "effect"), counted(1, "effect|unknown"), counted(0, "dead letter")) == (
        "1 effect", "2 effects", "1 effect unknown", "0 dead letters",
    )  # fmt: skip
