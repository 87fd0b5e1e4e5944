"""What flows between two clusters and how a replica has been, on real processes: rates, breakers, and the gap of one that was stopped."""

import os
import signal

import pytest

SILENT = '''

@agent.on("ignore")
async def ignore() -> None:
    """Answer too late for everybody.

    For whoever wants to see a breaker open.
    """
    await asyncio.sleep(3)
'''
IMPATIENT = '''

@agent.on("insist")
async def insist(ctx: Context) -> int:
    """Ask somebody who does not answer, again and again."""
    refused = 0
    for _ in range(8):
        try:
            await ctx.ask("core/worker", "ignore", timeout=0.3)
        except Transient:
            refused += 1
    return refused
'''


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """One fleet for all: the first test counts from nothing, the others what they add."""
    with make_fleet("flowing") as fleet:
        fleet.edit("quarterdeck.yaml", "hang_after: 2s", "hang_after: 5s")
        fleet.write(
            worker=(fleet.folder / "worker.py").read_text().replace("from pathlib", "import asyncio\nfrom pathlib") + SILENT,
            front=(fleet.folder / "front.py").read_text().replace("Agent, Context", "Agent, Context, Transient") + IMPATIENT,
        )
        fleet.up()
        yield fleet


def link(fleet):
    return fleet.items("links")[0]


def stream(fleet):
    told = fleet.client.get("/v1/agents/core/worker")["stream"]
    return {name: told[name] for name in ("messages", "taken_in")}


def whole(fleet, name):
    return fleet.client.get(f"/v1/replicas/{name}")


def samples(fleet, name):
    told = whole(fleet, name)["samples"]
    return [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]]


def test_traffic_is_seen_at_the_link_at_its_ends_and_in_the_samples(fleet):
    assert link(fleet)["circuits"] == {"closed": 2, "half-open": 0, "open": 0}
    with fleet.load("send") as load:
        load.more(20)
        seen = fleet.until(lambda: (k := link(fleet))["per_second"] > 1.0 and k, what=lambda: link(fleet))
        assert seen["failed_per_second"] == 0.0
    sent = len(load.done)
    fleet.until(lambda: link(fleet)["sent"] == sent, what=lambda: (sent, link(fleet)))
    # A message counts as handled when its answer is sent, which is after what it sent itself.
    front = fleet.until(
        lambda: (r := whole(fleet, "edge/front-0"))["handled"] >= sent and r, what=lambda: (sent, whole(fleet, "edge/front-0"))
    )
    assert [(f["to"], f["sent"], f["failed"]) for f in front["flows"]] == [("core", sent, 0)]
    assert (front["handled"], front["failed"]) == (sent, 0)
    fleet.until(lambda: sum(r["handled"] for r in fleet.replicas(agent="core/worker").values()) == sent)
    assert front["memory_bytes"] > 1 << 20
    assert 0 < front["cpu_seconds"] < 60
    fleet.until(lambda: samples(fleet, "edge/front-0")[-1]["sent"] == sent)
    assert {h["state"] for h in front["history"]} == {"starting", "ready"}
    fleet.until(lambda: link(fleet)["per_second"] == 0.0, within=20, what=lambda: link(fleet))
    assert "PER SECOND" in fleet.qd("get", "links", "-o", "wide").out


def test_an_agent_tells_its_verbs_what_they_take_and_what_waits_for_it(fleet):
    found = fleet.client.get("/v1/agents/core/worker")
    assert found["verbs"]["take"] == {"payload": {"type": "integer"}, "doc": "", "task": False}
    assert found["verbs"]["ignore"] == {"payload": None, "doc": "Answer too late for everybody.", "task": False}
    assert found["verbs_reason"] == ""
    assert [r["name"] for r in found["replicas_seen"]] == ["core/worker-0", "core/worker-1"]
    before = found["stream"]["taken_in"]
    for number in range(1000, 1020):  # keys that nobody has sent: others are known as duplicates
        assert fleet.ask("edge/front", "send", number) == number
    done = {"messages": 0, "taken_in": before + 20}
    fleet.until(lambda: stream(fleet) == done, what=lambda: (done, stream(fleet)))


def test_a_stopped_replica_leaves_a_gap_and_its_successor_goes_on_after_it(fleet):
    fleet.until(lambda: len(samples(fleet, "edge/clerk-0")) >= 3)
    pid = fleet.replicas()["edge/clerk-0"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    fleet.until(lambda: samples(fleet, "edge/clerk-0")[-1]["incarnation"] == 2, within=20)
    rows = samples(fleet, "edge/clerk-0")
    before = [row for row in rows if row["incarnation"] == 1]
    assert max(row["beat_age"] for row in before if row["beat_age"] is not None) > 3.5, before
    assert rows[0]["incarnation"] == 1
    history = fleet.until(lambda: [h for h in whole(fleet, "edge/clerk-0")["history"] if h["state"] == "stopped"])
    assert "no beat" in history[0]["cause"]


def test_a_breaker_that_opens_is_seen_with_what_went_unanswered(fleet):
    before = next(iter(whole(fleet, "edge/front-0")["flows"]), {"sent": 0, "failed": 0})
    assert fleet.ask("edge/front", "insist", timeout=20.0) == 8
    found = fleet.until(lambda: (k := link(fleet))["circuits"]["open"] == 1 and k, what=lambda: link(fleet))
    assert found["failed_per_second"] > 0
    front = whole(fleet, "edge/front-0")
    assert front["circuits"] == {"core/worker": "open"}
    assert [(f["sent"], f["failed"]) for f in front["flows"]] == [(before["sent"] + 8, before["failed"] + 8)]
