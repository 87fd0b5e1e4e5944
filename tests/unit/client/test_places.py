"""Where a program's client leads, and what it sends."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from quarterdeck.client import values
from quarterdeck.client.doors import Remote
from quarterdeck.client.places import Way, place_of
from quarterdeck.client.wire import Request, Unreached
from quarterdeck.errors import Transient, UserError
from quarterdeck.model.blobs import MOST_BLOB
from quarterdeck.model.home import Home
from quarterdeck.model.work import MOST_BODY, TaskFailed, TooLarge

TOKEN = "qd_00000000_word"  # noqa: S105 of nobody


@pytest.fixture
def environ(tmp_path):
    return {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config"), "QUARTERDECK_HOME": str(tmp_path / "home")}


def test_without_a_word_it_is_the_home_of_qd(environ, tmp_path):
    assert place_of(Way(), environ) == Home(tmp_path / "home")
    assert place_of(Way(home=tmp_path / "other"), environ) == Home(tmp_path / "other")


def test_a_url_comes_from_the_environment_unless_a_home_is_named(environ, tmp_path):
    environ |= {"QUARTERDECK_URL": "https://fleet.example.org/", "QUARTERDECK_TOKEN": TOKEN, "QUARTERDECK_CA": "/ca.pem"}
    assert place_of(Way(), environ) == Remote("https://fleet.example.org", Path(), Path("/ca.pem"), TOKEN)
    assert isinstance(place_of(Way(home=tmp_path), environ), Home)
    there = place_of(Way(token_file="/file"), environ)  # noqa: S106 a file
    assert (there.token, there.token_file) == ("", Path("/file"))


def test_the_token_is_in_no_repr(environ):
    assert TOKEN not in repr(place_of(Way(url="https://fleet.example.org", token=TOKEN), environ))


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (Way(url="https://x"), "needs a token"),
        (Way(url="http://fleet.example.org", token="t"), "in the clear"),  # noqa: S106
        (Way(url="ftp://x", token="t"), "is not the URL"),  # noqa: S106
        (Way(home="/a", url="https://x"), "several places"),
        (Way(context="a", home="/a"), "several places"),
    ],
)
def test_what_leads_nowhere_is_refused(environ, way, words):
    with pytest.raises(UserError, match=words):
        place_of(way, environ)


@dataclass
class Incident:
    text: str
    lines: list[str]


def test_an_order_has_a_key_even_if_nobody_gave_one():
    first, second = (values.order(None, "a/b", Incident("x", ["y"]), None, {"budget": {"calls": 3}}) for _ in range(2))
    assert first["payload"] == {"text": "x", "lines": ["y"]}
    assert first["key"] != second["key"]
    assert first["budget"] == {"calls": 3}
    assert set(values.order(None, "a/b", None, "k", {})) == {"target", "key"}


@pytest.mark.parametrize("payload", [{1, 2}, float("nan"), [float("inf")], b"bytes", Incident, object()])
def test_what_json_cannot_say_is_refused_before_it_is_sent(payload):
    with pytest.raises(UserError, match="cannot be said in JSON"):
        values.plain(payload)


def test_only_what_harms_nobody_is_sent_again(tmp_path):
    place, unknown, unreached = Remote("https://x", Path(), None, "t"), Transient("?"), Unreached("?")
    submit = Request("POST", "/v1/tasks", body={"key": "k"})
    assert values.may_repeat(submit, unknown, place)
    fork = Request("POST", "/v1/tasks/x/fork", body=values.fork("middle", None, ""))
    assert values.may_repeat(fork, unknown, place), "a key was made up for it"
    assert not values.may_repeat(Request("POST", "/v1/tasks/x/fork", body={"from": "middle"}), unknown, place)
    assert values.may_repeat(Request("GET", "/v1/tasks/x"), unknown, place)
    assert values.may_repeat(Request("POST", "/v1/blobs", raw=b"1"), unknown, place)
    for path in ("/v1/tasks/x/cancel", "/v1/tasks/x/resolve"):
        assert not values.may_repeat(Request("POST", path, body={"key": "k"}), unknown, place)
        assert values.may_repeat(Request("POST", path), unreached, place)
    assert not values.may_repeat(submit, unreached, Home(tmp_path))  # nobody will start it


def test_a_large_payload_goes_ahead_of_its_order():
    order = values.order("s", "a/b", "x" * MOST_BODY, "k", {"lane": "l"})
    assert values.too_large(values.order("s", "a/b", "x" * (MOST_BODY - 2), "k", {}), "s") is None
    kept = values.too_large(order, "s")
    assert (kept.name, kept.target, kept.content) == ("POST /v1/blobs", "/v1/blobs?system=s", json.dumps("x" * MOST_BODY).encode())
    assert kept.headers["Content-Type"] == "application/octet-stream"
    assert values.referring(order, {"ref": "r"}) == {"system": "s", "target": "a/b", "key": "k", "lane": "l", "payload_ref": "r"}
    with pytest.raises(TooLarge, match="67,108,866 bytes"):
        values.too_large(values.order("s", "a/b", "x" * MOST_BLOB, "k", {}), "s")


def test_only_a_result_that_is_kept_elsewhere_is_fetched():
    shown = {"$ref": "sha256:r:9", "bytes": 9}
    document = {"id": "x", "key": None, "target": "a/b", "state": "done", "reason": "", "attempts": 1, "result": shown, "system": "s"}
    assert values.elsewhere(values.TaskSeen.of(document)) is None
    assert values.elsewhere(values.TaskSeen.of({**document, "large": ["payload"]})) is None
    assert values.elsewhere(values.TaskSeen.of({**document, "large": ["result"]})).target == "/v1/blobs/sha256:r:9?system=s"


@pytest.mark.parametrize(
    ("state", "kind"),
    [("failed", TaskFailed), ("dead", TaskFailed), ("cancelled", TaskFailed), ("unknown", Transient), ("running", Transient)],
)
def test_a_task_without_a_result_says_why(state, kind):
    seen = values.TaskSeen.of({"id": "x", "key": None, "target": "a/b", "state": state, "reason": "because", "attempts": 1})
    with pytest.raises(kind, match=f"x of a/b is {state}: because"):
        seen.value()
    assert seen.ended == (kind is TaskFailed)


def test_pauses_grow_and_stay_short():
    assert [round(values.pause(n, 1.0), 2) for n in (0, 1, 2, 10)] == [0.12, 0.22, 0.42, 2.02]
