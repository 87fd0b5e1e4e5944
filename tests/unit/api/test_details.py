"""One replica and one agent by their own addresses."""

import pytest

from quarterdeck.errors import NotFound, Transient
from quarterdeck.model.records import Actor, Entry
from quarterdeck.model.world import Verb
from quarterdeck.store import journal

from .conftest import SPEC


def test_a_replica_has_an_address_with_its_samples_and_its_history(control):
    control.up()
    control.get("/v1/agents/one/reader")
    entry = Entry(Actor("node", "engine"), "replica.ready", "one/reader-1", "", evidence={"pid": 5, "incarnation": 1}, system="pair")
    control.store.write_sync(lambda tx: journal.append(tx, entry))
    found = control.get("/v1/replicas/one/reader-1")
    assert (found.status, found.json["kind"], found.json["name"]) == (200, "Replica", "one/reader-1")
    assert len(found.json["samples"]["rows"]) == 1
    assert [(h["state"], h["pid"]) for h in found.json["history"]] == [("ready", 5)]


@pytest.mark.parametrize("path", ["/v1/replicas/one/reader-9", "/v1/agents/one/raeder", "/v1/replicas/two/reader-0", "/v1/agents/two/x"])
def test_what_is_not_there_is_refused_with_what_is(control, path):
    control.up()
    answer = control.get(path)
    assert answer.status == 404
    assert answer.json["error"]["hint"] in ('did you mean "one/reader"?', "qd get agents lists what there is")


def test_links_are_told_without_an_engine_but_not_what_goes_over_them(control, monkeypatch):
    control.spec = SPEC + "    two: {agents: {writer: {run: 'agents:reader'}}}\n  links: [{from: one, to: two}]\n"
    control.up()
    seen = control.get("/v1/links").json["items"][0]
    assert (seen["per_second"], seen["sent"], seen["circuits"]) == (0.0, 0, {"closed": 2, "half-open": 0, "open": 0})

    async def absent(self, system):
        raise Transient("the node is not attached")

    monkeypatch.setattr(type(control.fleet), "workloads", absent)
    unseen = control.get("/v1/links").json["items"][0]
    assert (unseen["per_second"], unseen["sent"], unseen["circuits"]) == (None, None, {})
    assert control.get("/v1/replicas/one/reader-0").status == 503


def test_an_agent_has_an_address_with_its_verbs(control, monkeypatch):
    control.up()

    async def verbs(self, system, agent):
        return (Verb("window", {"type": "object"}, "Read one."),)

    monkeypatch.setattr(type(control.engine), "verbs", verbs)
    found = control.get("/v1/agents/one/reader").json
    assert (found["kind"], found["name"], found["verbs_reason"]) == ("Agent", "one/reader", "")
    assert found["verbs"] == {"window": {"payload": {"type": "object"}, "doc": "Read one.", "task": False}}
    assert [r["name"] for r in found["replicas_seen"]] == ["one/reader-0", "one/reader-1"]
    assert found["stream"] == {"messages": 0, "bytes": 0, "taken_in": 0}


@pytest.mark.parametrize("error", [Transient("one/reader has no replica to ask"), NotFound("pair has no agent one/reader", hint="x")])
def test_an_agent_without_a_replica_to_ask_is_shown_all_the_same(control, monkeypatch, error):
    control.up()

    async def verbs(self, system, agent):
        raise error

    monkeypatch.setattr(type(control.engine), "verbs", verbs)
    found = control.get("/v1/agents/one/reader")
    assert (found.status, found.json["verbs"], found.json["verbs_reason"]) == (200, {}, error.message)
