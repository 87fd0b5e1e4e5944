"""Pages over the in-process control plane: hostile text stays text, forms show the plan first, and nobody gets more than by curl."""

import re
import shlex
from html import unescape
from urllib.parse import quote

import pytest
from ruamel.yaml import YAML

SCRIPT = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
PAGES = (
    "/",
    "/deployments",
    "/clusters",
    "/clusters/one",
    "/links",
    "/changes",
    "/journal",
    "/settings",
    "/tasks",
    "/act/scale?target=one/reader",
)


@pytest.fixture
def hostile(control):
    """A deployed pair with a Change whose reason is an attack."""
    control.up()
    change = {"target": "one/reader", "field": "replicas", "value": 3, "reason": SCRIPT}
    assert control.post("/v1/changes", change).status == 200
    return control


@pytest.mark.parametrize("path", PAGES)
def test_hostile_text_is_text(hostile, path):
    page = hostile.get(path)
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert "<img src=x" not in page.text


@pytest.mark.parametrize("path", ["/changes", "/journal", "/clusters"])
def test_it_is_shown_all_the_same(hostile, path):
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile.get(path).text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_runs_our_own_scripts_only_and_lets_forms_name_their_origin(hostile, path):
    headers = hostile.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "form-action")} == {"'self'"}
    assert headers["referrer-policy"] == "same-origin"  # with no-referrer a browser posts forms with the origin "null"


def test_a_form_shows_the_plan_first_and_does_it_when_confirmed(control):
    control.up()
    wish = {"target": "one/reader", "value": "4", "reason": "load test"}
    planned = control.post_form("/act/scale", wish)
    assert planned.status == 200
    assert "replicas 2 → 4" in planned.text
    assert control.get("/v1/changes").json["items"] == []
    done = control.post_form("/act/scale", {**wish, "confirmed": "yes"})
    assert (done.status, done.headers["location"]) == (303, "/agents/one/reader")
    assert [c["reason"] for c in control.get("/v1/changes").json["items"]] == ["load test"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"value": "many"}, "is no number of replicas"),
        ({"reason": " "}, "say why"),
        ({"until": "tomorrow"}, "is no time"),
        ({"target": "one/writer"}, "one/writer"),
    ],
)
def test_wrong_input_is_told_in_the_form_and_nothing_typed_is_lost(control, fields, words):
    control.up()
    wish = {"target": "one/reader", "value": "4", "reason": "load test", **fields}
    shown = control.post_form("/act/scale", wish)
    assert 400 <= shown.status < 500
    assert words in shown.text
    assert f'value="{wish["value"]}"' in shown.text
    assert control.get("/v1/changes").json["items"] == []


def test_a_page_may_do_no_more_than_its_reader(control):
    control.up()
    control.post("/v1/apply", {**control.body, "text": control.spec.replace("replicas: 2", "replicas: 1")})
    secret = control.post("/v1/tokens", {"role": "operator", "ttl": 600, "note": "no deployer"}).json["token"]
    fields = {"target": "1", "reason": "back", "confirmed": "yes"}
    answer = control.stranger("POST", "/act/rollback", data=fields, headers={"authorization": f"Bearer {secret}"})
    assert answer.status == 403
    assert "this needs the role deployer" in answer.text
    assert [r["number"] for r in control.get("/v1/revisions").json["items"]] == [2, 1]


def copied(page):
    """The three copies of a page: a command's words, the address of its curl, and the YAML (None of an action)."""
    shown = {name: unescape(text) for name, text in re.findall(r'id="as-(command|curl)">(.*?)</code>', page.text)}
    link = re.search(r'id="as-yaml" href="([^"]*)"', page.text)
    return shlex.split(shown["command"]), re.search(r'</span>([^"]*)"', shown["curl"])[1], link and unescape(link[1])


@pytest.mark.parametrize("path", [path for path in PAGES if not path.startswith("/act/")])
def test_what_a_page_offers_to_copy_is_answered(control, path):
    control.up()
    _, source, link = copied(control.get(path))
    assert control.get(source).status == 200
    yaml = control.get(link)
    assert yaml.status == 200
    assert yaml.headers["content-type"].startswith("text/plain")
    assert YAML(typ="safe").load(yaml.text).keys() == control.get(source).json.keys()


def test_the_copies_of_a_filtered_journal_are_filtered(control):
    control.up()
    _, source, link = copied(control.get("/journal?target=pair&verb=revision.apply"))
    assert {r["verb"] for r in control.get(source).json["items"]} == {"revision.apply"}
    assert "verb: revision.apply" in control.get(link).text
    assert control.get(copied(control.get("/journal?verb=nothing"))[1]).json["items"] == []


@pytest.mark.parametrize("words", ["$(touch gone)", "a b; touch gone", "`touch gone`", "'; touch gone #", '"; touch gone #'])
def test_what_stands_in_an_address_is_one_word_of_the_command_to_copy(control, words):
    control.up()
    for path, at in ((f"/journal?target={quote(words)}", -1), (f"/act/scale?target={quote(words)}&value=3", 2)):
        command, source, _ = copied(control.get(path))
        assert command[at] == words
        assert not set(source) & set("$`\"' ;"), "it stands between double quotes"


def test_where_several_systems_run_the_copies_name_theirs(control):
    control.up()
    control.post("/v1/apply", {**control.body, "text": control.spec.replace("name: pair", "name: other")})
    for path in ("/changes", "/journal", "/clusters"):
        command, source, link = copied(control.get(f"{path}?system=pair"))
        assert command[-2:] == ["-s", "pair"]
        assert control.get(source).status == 200
        assert control.get(link).status == 200
    assert "name: one" in control.get(copied(control.get("/clusters?system=pair"))[2]).text
