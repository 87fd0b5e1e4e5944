"""The stream behind the pages: that the journal grew, and to which tasks something happened, of those the reader may see."""

import asyncio
import json
from dataclasses import replace

import pytest

from quarterdeck.api import sse
from quarterdeck.model.grant import EVERYTHING, Grant
from quarterdeck.web import live
from quarterdeck.work.desk import MOST_FOLLOWED

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      agents:
        reader: {run: "agents:reader"}
    two:
      agents:
        reader: {run: "agents:reader"}
"""


@pytest.fixture
def control(make_control, monkeypatch):
    monkeypatch.setattr(live, "APART", 0.0)
    monkeypatch.setattr(sse, "KEEP_ALIVE", 0.05)
    with make_control(SPEC) as control:
        control.up()
        yield control


def heard(control, grant, *stirred):
    """What a reader hears after the first news, of each set of tasks that something happened to."""
    services = replace(control.guard.app.state.services, grant=grant)

    async def listen():
        stream, found = live._news(services, None), []
        assert (await anext(stream)).split("\n")[1] == "event: news"
        for tasks in stirred:
            services.work.stir(frozenset(tasks))
            found.append(await anext(stream))
        await stream.aclose()
        return found

    return control.run(listen())


def give(control, cluster):
    return control.post("/v1/tasks", {"target": f"{cluster}/reader", "payload": 1}).json["id"]


def roots(event):
    head, _, data = event.strip().partition("\n")
    assert head == "event: work"
    return json.loads(data.removeprefix("data: "))


def test_it_tells_the_roots_of_tasks_that_something_happened_to(control):
    ids = [give(control, "one"), give(control, "two")]
    (told,) = heard(control, EVERYTHING, ids)
    assert roots(told) == sorted(ids)


def test_a_cluster_reader_hears_of_its_own_tasks_alone(control):
    mine, other = give(control, "one"), give(control, "two")
    grant = Grant.at("viewer", "pair/one")
    quiet, told = heard(control, grant, [other], [mine, other])
    assert quiet == sse.COMMENT
    assert roots(told) == [mine]


def test_of_very_many_none_is_named(control):
    (told,) = heard(control, Grant.at("viewer", "pair/one"), [str(n) for n in range(MOST_FOLLOWED + 1)])
    assert roots(told) == []


def resumed(control, seen, many):
    """The first events of a stream that begins after what was seen."""
    services = replace(control.guard.app.state.services, grant=EVERYTHING)

    async def listen():
        stream = live._news(services, seen)
        found = [await anext(stream) for _ in range(many)]
        await stream.aclose()
        return found

    return control.run(listen())


def test_who_resumes_hears_what_was_missed_and_that_any_task_may_have_moved(control):
    seen = control.journalled()
    give(control, "one")
    control.post("/v1/changes", {"target": "one", "field": "hold", "value": True, "reason": "meanwhile"})
    news, work, quiet = resumed(control, seen, 3)
    assert news.startswith(f"id: {control.journalled()}\nevent: news\n")
    assert roots(work) == []
    assert quiet == sse.COMMENT


def test_who_missed_nothing_hears_no_news(control):
    work, quiet = resumed(control, control.journalled(), 2)
    assert (roots(work), quiet) == ([], sse.COMMENT)


@pytest.mark.parametrize(
    ("query", "header", "begins"), [("?after=3", None, 3), ("", "4", 4), ("?after=5", "4", 5), ("?after=3", "4", 4), ("", None, None)]
)
def test_a_stream_begins_after_the_later_of_its_address_and_its_header(control, monkeypatch, query, header, begins):
    given = []

    async def news(services, seen):
        given.append(seen)
        yield sse.COMMENT

    monkeypatch.setattr(live, "_news", news)
    assert control.get(f"/live{query}", **({"last-event-id": header} if header else {})).status == 200
    assert given == [begins]


@pytest.mark.parametrize("after", ["-1", "soon", str(2**63)])
def test_what_is_no_place_in_the_journal_is_refused(control, after):
    assert control.get(f"/live?after={after}").status in (400, 422)


def test_a_reader_who_does_not_read_keeps_nothing_but_that_something_happened(control):
    """Back-pressure: however much happens while a page is slow, one event waits for it, and it says to look at all of it."""
    services = replace(control.guard.app.state.services, grant=EVERYTHING)

    async def slow():
        stream = live._news(services, None)
        await anext(stream)
        for number in range(100_000):
            services.work.stir(frozenset((f"task-{number}",)))
        kept = [len(one._tasks) for one in services.work._followers]
        told = await anext(stream)
        another = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.02)
        more = another.done()
        another.cancel()
        await asyncio.gather(another, return_exceptions=True)
        return kept, told, more

    kept, told, more = control.run(slow())
    assert kept == [MOST_FOLLOWED + 1]
    assert roots(told) == []
    assert not more
