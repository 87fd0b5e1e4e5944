"""No word of an agent, however long, makes a page of work wider than its window: in keys, steps, effects, questions, errors and output."""

import json
import re

import pytest

from quarterdeck.work.output import Progress

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one:
      agents:
        reader: {run: "agents:reader", replicas: 2}
"""
KEY = "k" * 180
WORD = "w" * 900
LINE = "/".join(["w" * 300] * 3) + "\t" + WORD
PAGES = ("/", "/tasks", "/tasks?state=dead", "/tasks/dead", "/tasks/unknown", "/waiting", "/agents/one/reader")


@pytest.fixture(scope="module")
def pages(load_module):
    return load_module("web_long_pages", "web/test_pages.py")


@pytest.fixture(scope="module")
def served(serve, load_module):
    playing = load_module("web_long_playing", "unit/api/working.py")
    with serve(SPEC, lambda control: filled(control, playing)) as served:
        yield served


def filled(control, playing):
    """A task in each state that a human has to look at, one that is being worked on and one that is done: their ids."""
    replica = playing.Replica(control)

    def begun(name, **more):
        made = playing.give(control, {WORD: LINE}, key=f"{name}{KEY}", **more)
        return made["id"], replica.claim()

    ids = {}
    ids["asks"], held = begun("a")
    question = {"name": f"{WORD[:100]}#1", "question": LINE, "options": [WORD[:100], "no"], "default": WORD[:100], "until": None}
    replica.say("ask_human", **held, **question, arguments=json.dumps({WORD: WORD}))
    replica.say("wait", **held, children=[], questions=[question["name"]])
    ids["doubt"], held = begun("b")
    replica.say("begin", **held, key=KEY, semantics="unsafe", arguments="h")
    replica.say("finish", **held, key=KEY, outcome="unknown", value=None, error=LINE)
    ids["dead"], held = begun("c", attempts=1)
    replica.say("fail", **held, error=LINE, again=True)
    ids["done"], held = begun("d")
    replica.say("step", **held, name=f"{KEY}#1", code="c", value="1")
    replica.say("begin", **held, key=KEY, semantics="idempotent", arguments="h")
    replica.say("finish", **held, key=KEY, outcome="done", value=json.dumps([WORD, {WORD: LINE}]), error="")
    replica.say("done", **held, result=json.dumps({WORD: LINE}))
    ids["says"], held = begun("e")
    output = control.guard.app.state.services.work.output
    values = tuple(json.dumps(value) for value in (WORD, LINE, {WORD: [WORD]}))
    output.add(ids["says"], held["fence"], 1, values, control.engine.clock.now())
    output.moved(ids["says"], Progress(0.5, WORD))
    return ids


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


def wide(surf, pages, path):
    """What does not fit into a window as wide as a desk's and a phone's."""
    assert surf.go(path).status == 200, path
    found = []
    for width in (1280, 390):
        surf.page.set_viewport_size({"width": width, "height": 844})
        found += [f"{path} at {width}: {line}" for line in surf.page.evaluate(pages.FITS)]
    return found


@pytest.mark.parametrize("path", PAGES)
def test_a_page_of_work_fits_with_the_longest_words(surf, pages, path):
    assert wide(surf, pages, path) == []


def test_no_part_of_a_page_of_work_grows_with_a_word(surf, served, pages):
    """Also what only the control plane writes today: every part of each page is given such a word."""
    found = []
    for path in (*PAGES, *(f"/tasks/{task}" for task in served.made.values())):
        surf.go(path)
        surf.page.evaluate("document.body.dataset.every = 0")
        assert surf.page.evaluate(pages.LONG), path
        for width in (1280, 390):
            surf.page.set_viewport_size({"width": width, "height": 844})
            found += [f"{path} at {width}: {line}" for line in surf.page.evaluate(pages.FITS)]
    assert found == []


@pytest.mark.parametrize(("name", "shown"), [("asks", LINE), ("doubt", LINE), ("dead", LINE), ("done", WORD), ("says", WORD)])
def test_the_page_of_a_task_fits_with_the_longest_words(surf, served, pages, name, shown):
    assert wide(surf, pages, f"/tasks/{served.made[name]}") == []
    assert re.sub(r"\s", "", shown) in re.sub(r"\s", "", surf.main()), "it was there"


def test_output_is_broken_within_its_box_and_all_of_it_can_be_read(surf, served):
    surf.page.set_viewport_size({"width": 390, "height": 844})
    surf.go(f"/tasks/{served.made['says']}")
    room, most = surf.page.evaluate("(() => { const log = document.querySelector('.log'); return [log.clientWidth, log.scrollWidth]; })()")
    assert most <= room
    assert WORD in surf.page.inner_text(".figures"), "how far it is, in its own words"


def test_what_will_be_done_again_fits_with_the_longest_names(surf, served, pages):
    assert wide(surf, pages, f"/tasks/{served.made['done']}/fork?from={KEY}%231") == []
    assert KEY in surf.main()
