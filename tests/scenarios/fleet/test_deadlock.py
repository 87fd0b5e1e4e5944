"""Agents that wait for one another, or talk in circles, on real processes: found, named and broken; whoever may go on is left alone."""

import json
import os
import signal
import threading
import time

import pytest

from quarterdeck.errors import QuarterdeckError

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: ring}
spec:
  clusters:
    west:
      agents:
        a: {run: "agents:a", hang_after: 60s, rollout: {drain: 2s}}
        b: {run: "agents:b", hang_after: 60s, rollout: {drain: 2s}}
        left: {run: "agents:left", rollout: {drain: 2s}}
    east:
      agents:
        c: {run: "agents:c", hang_after: 60s, rollout: {drain: 2s}}
        right: {run: "agents:right", rollout: {drain: 2s}}
  links:
    - {from: west, to: east, timeout: 40s}
    - {from: east, to: west, timeout: 40s}
"""
AGENTS = '''\
"""Three that have one place each and ask on along a route, and two that talk to one another."""

import asyncio
import os
from pathlib import Path

from quarterdeck import Agent, Context, Deadlock


def holder(name: str) -> Agent:
    agent = Agent(name, concurrency=1)

    @agent.on("hold")
    async def hold(order: dict, ctx: Context) -> object:
        """Ask the next one of the route, and keep the place meanwhile."""
        route = order["route"]
        await asyncio.sleep(order["before"] if route else order.get("last", 0))
        if not route:
            return "the end"
        return await ctx.ask(route[0], "hold", {**order, "route": route[1:]}, timeout=60)

    @agent.on("pid")
    async def pid() -> int:
        return os.getpid()

    @agent.task()
    async def work(order: dict, ctx: Context) -> object:
        """Delegate to the next one of the route."""
        route = order["route"]
        if not route:
            return "the end"
        try:
            return await ctx.delegate(route[0], payload={**order, "route": route[1:]}, lane=order.get("lane"))
        except Deadlock as error:
            if not order.get("catch"):
                raise
            return str(error)

    return agent


def talker(name: str, other: str) -> Agent:
    agent = Agent(name, concurrency=64)

    def said() -> int:
        with Path("said").open("a") as file:
            file.write("x")
        return Path("said").stat().st_size

    @agent.on("ping")
    async def ping(number: int, ctx: Context) -> int:
        said()
        return await ctx.ask(other, "ping", number + 1)

    @agent.on("note")
    async def note(number: int, ctx: Context) -> None:
        said()
        await ctx.publish(other, "note", number + 1)

    @agent.on("hint")
    async def hint(number: int, ctx: Context) -> None:
        said()
        await ctx.tell(other, "hint", number + 1)

    @agent.on("walk")
    async def walk(left: int, ctx: Context) -> int:
        """A long way on purpose, which says that it gets on."""
        if not left:
            return 0
        ctx.progress(1 / left)
        return 1 + await ctx.ask(other, "walk", left - 1)

    @agent.on("deep")
    async def deep(left: int, ctx: Context) -> int:
        """Recursion that ends."""
        return 1 + await ctx.ask(f"{ctx.cluster}/{ctx.agent}", "deep", left - 1) if left else 0

    @agent.on("many")
    async def many(count: int, ctx: Context) -> int:
        """Forty questions to the same one are no circle."""
        return sum(await asyncio.gather(*(ctx.ask(other, "deep", 0) for _ in range(count))))

    @agent.on("said")
    def count() -> int:
        return Path("said").stat().st_size if Path("said").exists() else 0

    @agent.on("forget")
    def forget() -> None:
        Path("said").unlink(missing_ok=True)

    return agent


a, b, c = holder("a"), holder("b"), holder("c")
left, right = talker("left", "east/right"), talker("right", "west/left")
'''


@pytest.fixture(scope="module")
def ring(make_fleet):
    """One fleet for all; each test leaves it idle."""
    with make_fleet("ring") as fleet:
        fleet.write(quarterdeck=SPEC, agents=AGENTS)
        fleet.up()
        yield fleet


@pytest.fixture
def journal(ring):
    """What this test adds to the journal, by verb."""
    before = {verb: len(ring.journal(verb)) for verb in ("deadlock.broken", "loop.broken")}
    return lambda verb: ring.journal(verb)[before[verb] :]


class Asked(threading.Thread):
    """A question from outside, in the background: `answer` or `error`, after `seconds`."""

    def __init__(self, fleet, target, payload, verb="hold", timeout=60.0):
        super().__init__(daemon=True)
        self.fleet, self.question, self.timeout = fleet, (target, verb, payload), timeout
        self.answer, self.error, self.seconds = None, "", 0.0
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            self.answer = self.fleet.ask(*self.question, timeout=self.timeout)
        except QuarterdeckError as error:
            self.error = str(error)
        self.seconds = time.monotonic() - began


def over(*asked):
    for one in asked:
        one.join(70)
        assert not one.is_alive()


def record(value):
    print(json.dumps(value))


def test_two_that_ask_one_another_crosswise(ring, journal):
    ways = [Asked(ring, f"west/{one}", {"before": 0.4, "route": [f"west/{other}"]}) for one, other in ("ab", "ba")]
    over(*ways)
    (victim,) = [way for way in ways if way.error]
    (other,) = [way for way in ways if not way.error]
    assert other.answer == "the end"
    assert "deadlock" in victim.error
    assert "west/a-0 ask hold" in victim.error
    assert "queued behind west/b-0 ask hold" in victim.error
    record({"broken_after": round(victim.seconds - 0.4, 2)})
    assert victim.seconds - 0.4 <= 2.5, "2 s, and half a one for a busy machine"
    (entry,) = ring.until(lambda: journal("deadlock.broken"), within=5)
    assert [step["how"] for step in entry["after"]["cycle"]] == ["ask", "place", "ask", "place"]
    assert "the youngest" in entry["after"]["policy"]


def test_a_chain_of_three_over_two_clusters_that_comes_back_to_its_beginning(ring, journal):
    way = Asked(ring, "west/a", {"before": 0.1, "route": ["west/b", "east/c", "west/a"]})
    over(way)
    assert "deadlock" in way.error
    record({"broken_after": round(way.seconds - 0.3, 2)})
    assert way.seconds - 0.3 <= 2.5
    (entry,) = ring.until(lambda: journal("deadlock.broken"), within=5)
    assert [step["how"] for step in entry["after"]["cycle"]].count("ask") == 3
    assert {step["waits"].partition(" ")[0] for step in entry["after"]["cycle"]} == {"west/a-0", "west/b-0", "east/c-0"}
    assert ring.ask("west/a", "hold", {"before": 0, "route": ["west/b", "east/c"]}) == "the end", "all places are free again"


@pytest.mark.parametrize(("route", "places"), [(["west/b", "west/a"], 1), (["west/a"], 1)])
def test_tasks_that_delegate_in_a_circle_while_all_places_are_held(ring, journal, route, places):
    began = time.monotonic()
    ran = ring.qd("task", "submit", "west/a", "-d", json.dumps({"route": route}), "--wait", "-o", "json")
    took = time.monotonic() - began
    record({"ended_after": round(took, 2)})
    assert ran.code == 1, str(ran)
    (entry,) = ring.until(lambda: journal("deadlock.broken"), within=5)
    assert {step["how"] for step in entry["after"]["cycle"]} == {"delegate", "place"}
    assert took < 8
    open_ = [task for task in ring.items("tasks") if task["state"] not in ("done", "failed", "dead", "cancelled")]
    ring.until(lambda: not [task for task in ring.items("tasks") if task["state"] in ("queued", "running", "waiting")], what=open_)


def test_who_catches_a_deadlock_goes_on_and_the_child_is_given_up(ring, journal):
    order = json.dumps({"route": ["west/a"], "catch": True})
    ran = ring.qd("task", "submit", "west/a", "-d", order, "--wait", "-o", "json")
    assert ran.code == 0, str(ran)
    assert "delegates to west/a task" in ran.json["result"]
    (child,) = ran.json["children"]
    ring.until(lambda: ring.client.get(f"/v1/tasks/{child}")["state"] == "cancelled", within=5)
    assert len(journal("deadlock.broken")) == 1


def test_a_slow_chain_that_lives_is_left_alone(ring, journal):
    """Twenty seconds, all places of three agents held or waited for."""
    way = Asked(ring, "west/a", {"before": 0.1, "route": ["east/c", "west/b"], "last": 20})
    time.sleep(1)
    queued = [Asked(ring, target, {"before": 0, "route": []}) for target in ("west/a", "east/c", "west/b")]
    over(way, *queued)
    assert (way.answer, way.error) == ("the end", "")
    assert [one.answer for one in queued] == ["the end"] * 3
    assert journal("deadlock.broken") == []


def test_a_paused_replica_is_no_deadlock(ring, journal):
    """The others wait for it, it waits for nobody as far as anybody knows; when it goes on, so do they."""
    pid = ring.ask("east/c", "pid")
    os.kill(pid, signal.SIGSTOP)
    try:
        ways = [Asked(ring, "west/a", {"before": 0.1, "route": ["east/c"]}), Asked(ring, "west/b", {"before": 0.1, "route": ["east/c"]})]
        time.sleep(4)
        assert [way.is_alive() for way in ways] == [True, True]
    finally:
        os.kill(pid, signal.SIGCONT)
    over(*ways)
    assert [way.answer for way in ways] == ["the end"] * 2
    assert journal("deadlock.broken") == []


def test_a_deadlock_with_a_paused_member_waits_until_that_can_say_so(ring, journal):
    pid = ring.ask("west/b", "pid")
    ways = [Asked(ring, f"west/{one}", {"before": 0.4, "route": [f"west/{other}"]}) for one, other in ("ab", "ba")]
    time.sleep(0.5)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2.5)
    assert journal("deadlock.broken") == []
    os.kill(pid, signal.SIGCONT)
    over(*ways)
    assert sorted(bool(way.error) for way in ways) == [False, True]
    assert len(ring.until(lambda: journal("deadlock.broken"), within=5)) == 1


@pytest.mark.parametrize("verb", ["ping", "note", "hint"])
def test_a_ping_pong_ends_within_twenty_messages_with_the_cycle_in_the_journal(ring, journal, verb):
    for name in ("west/left", "east/right"):
        ring.ask(name, "forget")
    began = Asked(ring, "west/left", 0, verb, timeout=10.0)
    over(began)
    if verb == "ping":
        assert "west/left" in began.error
        assert "goes round" in began.error
    (entry,) = ring.until(lambda: journal("loop.broken"), within=10)
    exchanged = sum(ring.ask(name, "said") for name in ("west/left", "east/right"))
    record({"verb": verb, "messages": exchanged})
    assert exchanged == 17, "the eighteenth was refused before its handler ran"
    assert entry["after"]["cycle"] == ["east/right", "west/left"]
    assert "→" in entry["reason"]
    time.sleep(1)
    assert sum(ring.ask(name, "said") for name in ("west/left", "east/right")) == exchanged


def test_what_gets_on_or_goes_deep_or_wide_on_purpose_is_no_loop(ring, journal):
    assert ring.ask("west/left", "walk", 40, timeout=20.0) == 40
    assert ring.ask("west/left", "deep", 30, timeout=20.0) == 30
    assert ring.ask("west/left", "many", 40, timeout=20.0) == 0
    assert journal("loop.broken") == []
