"""The pages of work in a real Chromium: the real doors, store and ledger, a thousand tasks; who works on them is played by requests."""

import json
import socket
import time
from types import SimpleNamespace

import httpx
import pytest

TASKS = 1000


@pytest.fixture(scope="module")
def doors(load_module):
    return load_module("web_task_doors", "unit/api/conftest.py")


@pytest.fixture(scope="module")
def pages(load_module):
    return load_module("web_task_pages", "web/test_pages.py")


@pytest.fixture(scope="module")
def work(load_module, doors, pages, tmp_path_factory):
    """A control plane with work in every state, and what an agent of it said."""
    playing = load_module("web_task_playing", "unit/api/working.py")
    listening = load_module("web_task_many", "web/test_many.py").listening
    hostile = " ".join(pages.HOSTILE)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        doors.PORT = sock.getsockname()[1]
        with doors.opened(tmp_path_factory.mktemp("work"), doors.SPEC) as control:
            control.up()
            ids = _filled(control, playing, hostile)
            control.stopping.set()  # streams end at once
            with listening(control.guard, sock):
                yield SimpleNamespace(
                    base=f"http://127.0.0.1:{doors.PORT}",
                    ids=ids,
                    control=control,
                    logs=str,
                    hostile=hostile,
                    replica=playing.Replica(control),
                )


def _filled(control, playing, hostile):
    replica = playing.Replica(control)

    def begun(key, **more):
        made = playing.give(control, {"text": hostile}, key=key, priority=9, **more)
        return made["id"], replica.claim()

    ids = {}
    ids["tree"], top = begun("tree", budget={"calls": 20})
    replica.say("step", **top, name="read#1", code="c", value="5")
    for n in range(3):
        replica.say("delegate", **top, name=f"c#{n}", to="one/reader", verb="", payload=json.dumps(hostile), priority=9)
        held = replica.claim()
        replica.say("begin", **held, key=f"effect {n}", semantics="idempotent", arguments="h")
        replica.say("finish", **held, key=f"effect {n}", outcome="done", value=json.dumps(hostile), error="")
        replica.say("done", **held, result=json.dumps(hostile))
    for key in ("asks", "asks too"):
        ids[key], held = begun(key)
        question = {
            "name": "q#1",
            "question": f"May I? {hostile[:3000]}",
            "options": ["approve", "<b>deny</b>"],
            "default": "approve",
            "until": None,
        }
        replica.say("ask_human", **held, **question, arguments=json.dumps({"amount": 5, "to": pages_safe(hostile)}))
        replica.say("wait", **held, children=[], questions=["q#1"])
    for key in ("doubt", "doubt too"):
        ids[key], held = begun(key)
        replica.say("begin", **held, key=f"pay <i>{key}</i>", semantics="unsafe", arguments="h")
        replica.say("finish", **held, key=f"pay <i>{key}</i>", outcome="unknown", value=None, error=hostile[:3000])
    ids["dead"], held = begun("dead", attempts=1)
    replica.say("fail", **held, error=hostile[:3000], again=True)
    for key in ("sold", "sold too"):
        ids[key], held = begun(key)
        replica.say("step", **held, name="first <b>step</b>#1", code="c", value="1")
        replica.say("begin", **held, key="charge", semantics="unsafe", arguments="h")
        replica.say("finish", **held, key="charge", outcome="done", value="1", error="")
        replica.say("step", **held, name="second#1", code="c", value="2")
        replica.say("done", **held, result="3")
    ids["queued"] = playing.give(control, 1, key="queued")["id"]
    orders = [{"target": "one/reader", "payload": n, "key": f"many-{n:04}"} for n in range(TASKS)]
    assert len(control.post("/v1/tasks/batch", {"tasks": orders}).json["items"]) == TASKS
    return ids


def pages_safe(text):
    """What the ledger takes for the arguments of a question."""
    return text[:2000]


@pytest.fixture
def open_window(work, open_surf):
    def opened(**options):
        link = asyncio_free(lambda: work.control.post("/v1/login", {}).json["url"])
        return open_surf(work, link=link, **options)

    return opened


def asyncio_free(call):
    """Playwright has an event loop in this thread: what makes one of its own goes into another."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result()


@pytest.fixture
def surf(open_window):
    with open_window() as surf:
        yield surf


@pytest.fixture
def paths(work):
    tasks = [f"/tasks/{work.ids[name]}" for name in ("tree", "asks", "doubt", "dead", "queued", "sold")]
    forks = [f"{tasks[-1]}/fork{query}" for query in ("", "?from=second%231")]
    return [
        "/agents/one/reader",
        "/tasks",
        "/tasks?state=done&below=true",
        "/tasks?key=nothing",
        "/tasks/dead",
        "/tasks/unknown",
        "/waiting",
        *tasks,
        *forks,
    ]


def test_every_page_of_work_fits_is_titled_and_believes_no_agent(surf, paths, pages):
    wide = []
    for path in paths:
        assert surf.go(path).status == 200, path
        assert surf.page.inner_text("h1").strip(), path
        assert surf.page.evaluate(pages.INNOCENT) == [], path
        for width in (1280, 390):
            surf.page.set_viewport_size({"width": width, "height": 844})
            wide += [f"{path} at {width}: {line}" for line in surf.page.evaluate(pages.FITS)]
    assert not wide, "\n".join(wide)


def test_no_page_of_work_has_a_barrier_that_axe_finds(open_window, paths, axe, pages):
    found = []
    with open_window(reduced_motion="reduce") as surf:
        for path in paths:
            surf.go(path)
            found += [f"{path}: {line}" for line in axe(surf.page)]
            surf.page.emulate_media(color_scheme="dark")
            found += [f"{path}, dark: {line}" for line in axe(surf.page, pages.OF_COLOUR)]
            surf.page.emulate_media(color_scheme="light")
    assert not found, "\n".join(found)


def test_a_thousand_tasks_are_listed_a_page_at_a_time_within_a_second(work, surf):
    token = asyncio_free(lambda: work.control.post("/v1/tokens", {"role": "viewer"}).json["token"])
    with httpx.Client(base_url=work.base, headers={"Authorization": f"Bearer {token}"}) as client:
        took = []
        for _ in range(3):
            began = time.perf_counter()
            assert client.get("/tasks").status_code == 200
            took.append(time.perf_counter() - began)
    print(f"\n/tasks with {TASKS} tasks: {sorted(took)[1] * 1000:.0f} ms")
    assert sorted(took)[1] < 1
    surf.go("/tasks")
    assert surf.page.locator("table.rows tbody tr").count() == 100
    first = surf.page.inner_text("table.rows tbody tr:first-child")
    surf.press("text=Older tasks")
    assert surf.page.locator("table.rows tbody tr").count() == 100
    assert surf.page.inner_text("table.rows tbody tr:first-child") != first
    surf.go("/tasks")
    surf.page.fill("#key", "many-0417")
    surf.press("button:text-is('Show')")
    assert surf.page.locator("table.rows tbody tr").count() == 1
    surf.press("table.rows tbody a")
    assert surf.page.inner_text("h1").strip() == "many-0417"


def test_what_waits_for_a_human_is_counted_wherever_one_looks(surf):
    surf.go("/")
    assert int(surf.page.inner_text("nav .badge")) >= 3
    worries = surf.page.inner_text(".worries")
    assert "questions of tasks, waiting for an answer" in worries.replace("\n", " ")
    assert worries.index("qd get effects") < worries.index("qd get questions"), "the worst first"
    assert "qd get effects" in worries
    assert "dead letter" in worries


def test_the_page_of_an_agent_tells_its_work_and_what_is_stuck_first(surf):
    surf.go("/agents/one/reader")
    told = surf.page.inner_text("[aria-labelledby=work]")
    assert "queued" in told
    assert "waits for a human's word on an effect" in told
    surf.press("[aria-labelledby=work] li a")
    assert "/tasks/" in surf.page.url


def test_the_tree_is_drawn_with_its_effects_and_leads_to_each_task(surf, work):
    surf.go(f"/tasks/{work.ids['tree']}")
    assert surf.page.locator(".timeline g").count() == 4
    assert surf.page.locator(".timeline .spot").count() == 3
    assert "3 of 3 done" in surf.page.inner_text(".figures").replace("\n", " ")
    assert "read#1" in surf.main()
    assert "calls" in surf.main()
    surf.press(".timeline g:nth-of-type(2) a")
    assert "/tasks/" in surf.page.url
    assert work.ids["tree"][-6:] in surf.page.inner_text(".crumbs")


def test_a_question_shows_its_arguments_and_is_answered_by_a_button(surf, work):
    surf.go("/waiting")
    asked = surf.page.locator("article.asks").first
    assert "Words of the agent one/reader" in asked.inner_text()
    assert '"amount": 5' in asked.inner_text()
    assert asked.locator("fieldset button").all_inner_texts() == ["approve", "<b>deny</b>"]
    surf.page.locator("article.asks input[name=reason]").first.fill("looked at")
    surf.press("article.asks >> nth=0 >> button >> nth=1")
    assert "answered" in surf.main()
    (answered,) = [e for e in history(work, surf.page.url.rpartition("/")[2]) if e["event"] == "answer"]
    assert answered["detail"]["answer"] == "<b>deny</b>"


def test_an_unknown_effect_is_resolved_with_a_reason_and_a_value(surf, work):
    surf.go(f"/tasks/{work.ids['doubt']}")
    surf.page.fill(".answers input[name=reason]", "seen at the bank")
    surf.page.fill(".answers input[name=value]", "{no json")
    surf.watched.expects("status of 400")
    surf.press("button:text-is('It happened')")
    assert "no JSON" in surf.page.inner_text("[role=alert]")
    assert surf.page.input_value(".answers input[name=reason]") == "seen at the bank"
    assert surf.page.input_value(".answers input[name=value]") == "{no json"
    surf.page.fill(".answers input[name=value]", '{"receipt": 7}')
    surf.press("button:text-is('It happened')")
    assert surf.page.locator(".answers").count() == 0
    resolved = [e for e in history(work, work.ids["doubt"]) if e["event"] == "effect.resolved"]
    assert [e["detail"]["reason"] for e in resolved] == ["seen at the bank"]


def test_without_javascript_a_person_cancels_retries_and_resolves(open_window, work):
    with open_window(java_script_enabled=False) as surf:
        surf.watched.expects("favicon")
        surf.go(f"/tasks/{work.ids['queued']}")
        surf.page.fill("#reason", "not needed")
        surf.page.click("text=Cancel it and all below it")
        assert "cancelled: not needed" in surf.main()
        surf.go(f"/tasks/{work.ids['dead']}")
        surf.page.fill("#reason", "mended")
        surf.page.click("text=Back into the queue")
        assert "queued" in surf.main()
        surf.go("/tasks/unknown")
        surf.page.locator(".answers input[name=reason]").first.fill("it did not")
        surf.page.locator("text=It did not happen").first.click()
        assert "/tasks/" in surf.page.url
        assert surf.go("/tasks/unknown").status == 200
        assert "None: of every effect" in surf.main() or "doubt" in surf.main()


def test_a_task_is_run_again_from_a_step_once_it_was_shown_what_is_kept(surf, work):
    surf.go(f"/tasks/{work.ids['sold']}")
    surf.press("[aria-labelledby=steps] li:nth-child(2) >> text=Run again from here")
    assert surf.page.inner_text("h1") == "Run again from second#1"
    assert surf.page.locator("[aria-labelledby=kept] li b").all_inner_texts() == ["first <b>step</b>#1", "charge"]
    assert surf.page.locator("[aria-labelledby=anew] li b").all_inner_texts() == ["second#1"]
    assert f"qd task fork {work.ids['sold']} --from 'second#1'" in surf.page.inner_text("#as-command")
    surf.page.fill("#reason", "it was lost")
    surf.press("button:text-is('Run again')")
    made = surf.page.url.rpartition("/")[2]
    assert made != work.ids["sold"]
    assert "Run again from second#1 of task" in surf.main()
    assert "first <b>step</b>#1" in surf.page.inner_text("[aria-labelledby=steps]")
    assert [e["event"] for e in history(work, made)][:3] == ["submit", "step.kept", "effect.kept"]
    surf.go(f"/tasks/{work.ids['sold']}")
    assert f"Run again as …{made[-6:]}." in surf.main()


def test_without_javascript_too_and_sent_twice_it_is_one_fork(open_window, work):
    with open_window(java_script_enabled=False) as surf:
        surf.watched.expects("favicon")
        surf.watched.expects("status of 4")
        task = work.ids["sold too"]
        surf.go(f"/tasks/{task}")
        surf.page.click("[aria-labelledby=again] a")
        assert "Nothing." in surf.page.inner_text("[aria-labelledby=kept]")
        surf.page.click("[aria-labelledby=anew] li:last-child >> text=Only from here")
        assert surf.page.inner_text("h1") == "Run again from second#1"
        surf.page.fill("#reason", " ")
        surf.page.click("button:text-is('Run again')")
        assert "say why" in surf.page.inner_text("[role=alert]")
        second = surf.page.context.new_page()
        second.goto(f"{work.base}/tasks/{task}/fork?from=second%231")
        for page in (surf.page, second):
            page.fill("#reason", "it was lost")
            page.click("button:text-is('Run again')")
        assert second.url == surf.page.url != f"{work.base}/tasks/{task}"
        assert surf.go(f"/tasks/{task}/fork?from=nothing").status == 404
        assert "has no step 'nothing'" in surf.page.inner_text("[role=alert]")
        assert surf.go(f"/tasks/{work.ids['tree']}/fork").status == 409
        assert surf.page.locator("form.act").count() == 0


def test_a_deed_that_is_refused_is_told_on_the_page(surf, work):
    surf.watched.expects("status of 4")
    assert surf.go("/tasks/01M8HXFD25B4EETYEXX2273T60").status == 404
    surf.go(f"/tasks/{work.ids['tree']}")
    surf.page.evaluate("document.querySelector('#reason').required = false")
    surf.press("text=Cancel it and all below it")
    assert "say why" in surf.page.inner_text("[role=alert]")


def history(work, task):
    return asyncio_free(lambda: work.control.get(f"/v1/tasks/{task}/history").json["items"])
