"""Effects of a system that was taken down are still somebody's to say: they are told of wherever a person looks, and lead to their form."""

import re

import pytest

from quarterdeck.web.inner import address

WORRIES = re.compile(r'<ul class="worries">(.*?)</ul>', re.DOTALL)
LEADS = "/tasks/unknown?system=pair"


@pytest.fixture
def left(control, replica):
    """An effect of `pair`, which is not deployed any more: its task."""
    task = control.post("/v1/tasks", {"target": "one/reader", "payload": 1, "key": "INC-1"}).json["id"]
    held = replica.claim()
    replica.say("begin", **held, key="pay", semantics="unsafe", arguments="h")
    replica.say("finish", **held, key="pay", outcome="unknown", value=None, error="cut off")
    assert control.post("/v1/down", {"system": "pair"}).status == 200
    return task


@pytest.fixture
def other(control, left):
    """A system that runs besides."""
    text = control.spec.replace("name: pair", "name: other")
    assert control.post("/v1/apply", {**control.body, "text": text}).status == 200


def attention(control, path="/"):
    return " ".join(WORRIES.findall(control.get(path).text))


def test_where_nothing_is_deployed_the_overview_tells_of_them(control, left):
    told = attention(control)
    assert "1 effect" in told
    assert 'href="/tasks/unknown"' in told
    assert left in control.get("/tasks/unknown").text
    assert "worries" not in control.get("/clusters").text


def test_where_nothing_is_left_it_tells_of_nothing(control):
    assert "worries" not in control.get("/").text


def test_besides_another_system_they_are_told_of_wherever_one_looks(control, left, other):
    assert f'href="{LEADS}"' in attention(control)
    assert "of pair, which was taken down" in attention(control)
    assert "qd get effects -s pair" in attention(control)
    for path in ("/waiting", "/tasks/unknown"):
        shown = control.get(path).text
        assert f'href="{LEADS}"' in shown, path
        assert "None: of every effect" not in shown
        assert '<b class="badge" aria-label="1 thing">1</b>' in shown, path
    listed = control.get(LEADS).text
    assert left in listed
    assert f'action="/tasks/{left}/resolve"' in listed
    assert "say what became of them" not in listed, "the page itself is of it"


def test_once_it_was_said_nothing_is_told_any_more(control, left, other):
    said = {"key": "pay", "outcome": "failed", "reason": "seen at the bank"}
    assert control.post(f"/v1/tasks/{left}/resolve", said).status == 200
    assert control.get("/v1/tasks/counts?system=other").json["gone"] == {}
    assert LEADS not in control.get("/").text


def test_of_a_deployed_system_nothing_is_gone(control, left, other):
    assert control.get("/v1/tasks/counts?system=other").json["gone"] == {"pair": 1}
    assert control.get("/v1/tasks/counts").json["gone"] == {}, "they are among the others"
    control.up()
    assert control.get("/v1/tasks/counts?system=other").json["gone"] == {}
    assert f'href="{LEADS}' not in control.get("/?system=other").text


def test_where_several_run_a_link_names_each_system_once(control, left, other):
    third = control.spec.replace("name: pair", "name: third")
    control.post("/v1/apply", {**control.body, "text": third})
    assert f'href="{LEADS}"' in attention(control, "/?system=third")


@pytest.mark.parametrize(
    ("path", "whole"),
    [
        ("/tasks", "/tasks?system=a"),
        ("/messages?state=dead", "/messages?state=dead&system=a"),
        ("/tasks/unknown?system=b", "/tasks/unknown?system=b"),
        ("/links#a->b", "/links?system=a#a->b"),
    ],
)
def test_a_link_keeps_what_it_asks_for_already(path, whole):
    assert address(path, system="a") == whole
