"""An open page follows what happens: replicas, phases, many tabs, a control plane that dies, a fleet that is taken down."""

import os
import re
import signal
import time

import pytest

SEEN = """(id) => {
  window.seen = [];
  const look = () => {
    const dot = document.getElementById(id), now = dot ? [...dot.classList].find((name) => name !== 'dot') : 'away';
    if (now !== window.seen.at(-1)) window.seen.push(now);
  };
  look();
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""
TOLD = """() => {
  window.told = [];
  new BroadcastChannel('quarterdeck').onmessage = (event) => window.told.push(event.data);
}"""
PHASES = """() => {
  window.phases = new Set();
  const look = () => document.querySelectorAll('.phases li').forEach((li) => window.phases.add(`${li.id} ${li.className}`));
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, attributes: true});
}"""
SLOW = """\
import asyncio

agent = Agent("clerk")


@agent.start
async def slowly() -> None:
    await asyncio.sleep(2.5)
"""
AWAY = ("status of 503", "net::ERR_", "Failed to fetch")
"""What Chromium says while nobody answers."""


def stays(surf, page=None):
    """Mark the document: the mark is gone when the page is loaded again."""
    (page or surf.page).evaluate("window.same = true")


def same(surf, page=None):
    return (page or surf.page).evaluate("window.same === true")


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """The usual fleet, with one agent that takes its time to start: others are back before a page could show that they were away."""
    with make_fleet("living") as fleet:
        fleet.edit("clerk.py", 'agent = Agent("clerk")', SLOW)
        fleet.up()
        yield fleet


def test_a_killed_replica_is_seen_to_fall_and_to_return(surf, fleet):
    fleet.ready()
    surf.go("/")
    stays(surf)
    surf.page.evaluate(SEEN, "dot-edge/clerk-0")
    began = time.monotonic()
    os.kill(fleet.replicas()["edge/clerk-0"]["pid"], signal.SIGKILL)
    surf.wait("window.seen.length > 1")
    fell = time.monotonic() - began
    surf.wait("window.seen.at(-1) === 'ready'")
    states = surf.page.evaluate("window.seen")
    print(f"\n{' → '.join(states)}: fell on the page after {fell:.1f} s, back after {time.monotonic() - began:.1f} s")
    assert states[0] == "ready"
    assert "starting" in states
    assert "1 restarts" in surf.page.text_content("[id='dot-edge/clerk-0'] title")
    assert same(surf)


def test_a_fall_that_is_over_before_a_page_could_show_it_is_shown_all_the_same(surf, fleet):
    fleet.ready()
    surf.go("/")
    other = surf.context.new_page()
    surf.go("/replicas", other)
    stays(surf)
    surf.page.evaluate(SEEN, "dot-edge/front-0")
    old = fleet.replicas()["edge/front-0"]["pid"]
    os.kill(old, signal.SIGKILL)
    surf.wait("window.seen.includes('failed')")
    fell = time.monotonic()
    assert surf.page.get_attribute("[id='dot-edge/front-0'] use", "href") == "#m-failed"
    assert surf.page.text_content("[id='dot-edge/front-0'] title") == "edge/front-0 fell"
    assert "edge/front-0 fell" in surf.page.inner_text("#live")
    surf.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    surf.wait("window.seen.at(-1) === 'ready'")
    assert time.monotonic() - fell > 1.4
    assert surf.page.inner_text("#live") == ""
    assert same(surf)
    other.bring_to_front()
    surf.wait("document.getElementById('x-edge/front-0').querySelector('.said').textContent === 'ready'", page=other)
    old = fleet.replicas()["edge/front-0"]["pid"]
    os.kill(old, signal.SIGKILL)
    surf.wait("document.getElementById('x-edge/front-0').querySelector('.said.failed')?.textContent === 'fell'", page=other)
    surf.wait("document.getElementById('x-edge/front-0').querySelector('.said').textContent === 'ready'", page=other)


def test_phases_turn_green_while_a_deployment_runs(surf, fleet):
    surf.go("/deployments")
    stays(surf)
    surf.page.evaluate(PHASES)
    fleet.edit("worker.py", '"""Keeps', '"""Really keeps')
    fleet.up()
    surf.wait("document.querySelector('h2').textContent === 'Phases of revision 2'")
    surf.wait("document.querySelectorAll('.phases li.done').length === 7")
    seen = surf.page.evaluate("[...window.phases]")
    print(f"\n{sorted(seen)}")
    assert "phase-agent_cluster_deployment running" in seen or "phase-agent_cluster_deployment pending" in seen
    assert "phase-agent_cluster_deployment done" in seen
    assert same(surf)


def test_what_is_being_typed_outlives_the_renewal_of_the_page(surf, fleet):
    surf.go("/agents/core/worker?as=json")
    surf.page.fill("#payload", '{"number": 12')
    surf.page.fill("#q", "worker-1")
    surf.page.focus("#payload")
    fleet.client.post("/v1/changes", {"target": "core/worker", "field": "replicas", "value": 3, "reason": "something new"})
    surf.wait("document.querySelector('.figures dd').textContent.startsWith('3 of 3')")
    assert surf.page.input_value("#payload") == '{"number": 12'
    assert surf.page.input_value("#q") == "worker-1"
    assert surf.page.evaluate("document.activeElement.id") == "payload"
    for change in fleet.items("changes"):
        if change["state"] == "live":
            fleet.client.delete(f"/v1/changes/{change['id']}", {"reason": "over"})


def test_a_seventh_tab_works_and_all_share_one_stream(surf, fleet):
    pages = [surf.page, *(surf.context.new_page() for _ in range(6))]
    asked = []
    surf.context.on("request", lambda request: asked.append(request.url) if "/live" in request.url else None)
    for page in pages:
        began = time.monotonic()
        surf.go("/changes", page)
        assert time.monotonic() - began < 5
        stays(surf, page)
    surf.wait("navigator.locks.query().then((all) => all.held.length === 1 && all.pending.length === 6)")
    assert len(asked) == 1  # after a first page that did not stay
    reason = "all tabs hear of it"
    change = fleet.client.post("/v1/changes", {"target": "edge", "field": "hold", "value": True, "reason": reason})
    for page in pages:
        surf.wait("(reason) => document.querySelector('main').textContent.includes(reason)", reason, page=page)
        assert same(surf, page)
    pages[0].close()  # the tab that listened
    surf.wait("navigator.locks.query().then((all) => all.held.length === 1 && all.pending.length === 5)", page=pages[1])
    fleet.client.delete(f"/v1/changes/{change['id']}", {"reason": "heard"})
    for page in pages[1:]:
        surf.wait("document.querySelector('main tbody').textContent.includes('reverted')", page=page)


def test_a_page_resumes_when_the_control_plane_was_killed_and_came_back(surf, fleet):
    surf.watched.expects(*AWAY)
    surf.go("/changes")
    stays(surf)
    surf.page.evaluate(TOLD)
    earlier = fleet.client.post("/v1/changes", {"target": "core", "field": "hold", "value": True, "reason": "before the fall"})
    surf.wait("document.querySelector('main').textContent.includes('before the fall')")
    fleet.client.delete(f"/v1/changes/{earlier['id']}", {"reason": "over"})
    opened = []
    surf.page.on("request", lambda request: opened.append(request.url.partition("/live")[2]) if "/live" in request.url else None)
    before = fleet.journal("change.add")[-1]["seq"]
    old = fleet.control()
    os.kill(old, signal.SIGKILL)
    surf.wait("document.querySelector('#live').textContent.includes('connection lost')")
    fleet.until(lambda: (found := fleet.client.answers()) and found["pid"] != old, what=fleet.logs)
    change = fleet.client.post("/v1/changes", {"target": "edge", "field": "hold", "value": True, "reason": "after the fall"})
    surf.wait("document.querySelector('main').textContent.includes('after the fall')", within=25)
    surf.wait("document.querySelector('#live').textContent === ''")  # the page asks by itself too, and may be the first
    assert same(surf)
    happened = fleet.journal("change.add")[-1]["seq"]
    asked = [int(query.removeprefix("?after=")) for query in opened]
    assert asked, "the stream was opened again"
    assert all(before <= seq < happened for seq in asked), "from what was heard last on"
    surf.wait("(seq) => window.told.some((one) => one.seq >= seq)", happened)
    fleet.client.delete(f"/v1/changes/{change['id']}", {"reason": "over"})
    fleet.ready()


def test_a_stream_begins_after_the_last_event_that_was_heard(surf, fleet):
    head = fleet.client.get("/v1/journal/head")["seq"]
    script = """async ([url, after]) => {
      const stop = new AbortController(), answer = await fetch(url, {headers: {'Last-Event-ID': String(after)}, signal: stop.signal});
      const part = new TextDecoder().decode((await answer.body.getReader().read()).value);
      stop.abort();
      return part;
    }"""
    surf.go("/")
    behind = surf.page.evaluate(script, ["/live", head - 1])
    assert int(re.search(r"id: (\d+)", behind)[1]) >= head
    assert "event: news" in behind


def test_going_down_does_not_wait_for_open_pages(make_fleet, open_surf):
    with make_fleet("leaving") as fleet:
        fleet.up()
        with open_surf(fleet, link=fleet.qd("open", "--print").out.strip()) as surf:
            surf.watched.expects(*AWAY)
            for _ in range(3):
                surf.go("/", surf.context.new_page())
            surf.wait("navigator.locks.query().then((all) => all.held.length === 1)")
            went = fleet.qd("down", "--yes")
            print(f"\nqd down took {went.seconds:.1f} s with 4 tabs open")
            assert went.code == 0, went
            assert went.seconds < 5  # a stream is silent for up to 10
            assert fleet.left() == []
            assert "Traceback" not in fleet.written()
            surf.wait("document.querySelector('#live').textContent.includes('connection lost')")
            surf.wait("document.querySelector('.pulse').innerText.includes('unknown, as of')")
