"""Pages of work follow what happens to tasks, by the one stream of a browser; only without it they ask again and again."""

import time

import pytest

TALKER = """\
import asyncio

from quarterdeck import Agent, Context, UserError

agent = Agent("talker")


@agent.task()
async def talk(seconds: float, ctx: Context) -> str:
    for n in range(3):
        ctx.emit(f"piece {n}")
        await asyncio.sleep(seconds)
    return "all said"


@agent.on("hum")
async def hum(tune: str) -> str:
    return tune


@agent.task("shout")
async def shout(words: str, ctx: Context) -> str:
    ctx.emit(words)
    raise UserError(words)
"""
HOSTILE = "<img src=x onerror='window.pwned = 1'></code></pre><script>window.pwned = 2</script>"
SEEN = """() => {
  window.seen = {};
  const look = () => {
    for (const word of ['piece 0', 'piece 1', 'piece 2', 'all said']) {
      if (!(word in window.seen) && document.querySelector('main').textContent.includes(word)) window.seen[word] = Date.now();
    }
  };
  look();
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
}"""


@pytest.fixture(scope="module")
def fleet(make_fleet):
    with make_fleet("talking") as fleet:
        fleet.write(talker=TALKER)
        fleet.edit("quarterdeck.yaml", "        clerk:", '        talker: {run: "talker:agent", replicas: 2}\n        clerk:')
        fleet.up()
        yield fleet


@pytest.fixture
def talk(fleet):
    """Give a task that says something three times, so many seconds apart; gives its id."""
    return lambda seconds: fleet.client.post("/v1/tasks", {"target": "edge/talker", "payload": seconds})["id"]


def fetches(page, path):
    """The times at which a page is fetched, from now on."""
    seen = []
    page.on("request", lambda asked: seen.append(time.monotonic()) if asked.url.endswith(path) else None)
    return seen


def test_a_task_is_seen_to_speak_and_to_end_in_every_tab_over_one_stream(surf, talk):
    other, streams = surf.context.new_page(), []
    surf.context.on("request", lambda asked: streams.append(asked.url) if "/live" in asked.url else None)
    surf.go("/tasks")
    surf.wait("navigator.locks.query().then((all) => all.held.length === 1)")
    task = talk(1.5)
    for page in (surf.page, other):
        surf.go(f"/tasks/{task}", page)
        page.evaluate(SEEN)
    for page in (surf.page, other):
        surf.wait("'all said' in window.seen", page=page)
        seen = page.evaluate("window.seen")
        apart = [(seen[b] - seen[a]) / 1000 for a, b in (("piece 1", "piece 2"), ("piece 2", "all said"))]
        print(f"\nseconds apart on the page, 1.5 in the task: {apart}")
        assert all(0.5 < one < 3.5 for one in apart), "a page that asks every 10 s would not see each"
    assert len(streams) <= 3  # one for each page that was left, one for the tab that listens now


def test_what_is_given_as_a_task_is_heard_while_it_speaks(surf):
    surf.go("/agents/edge/talker?verb=task")
    surf.page.get_by_label("payload").fill("1.5")
    surf.press("button:text-is('Send')")
    surf.page.evaluate(SEEN)
    surf.wait("'piece 1' in window.seen && !('all said' in window.seen)")
    assert surf.page.url.endswith("#answer")
    surf.wait("'all said' in window.seen")
    assert "done" in surf.page.inner_text("#answer")
    assert "--data 1.5 --wait" in surf.page.inner_text("#as-ask")
    assert surf.page.get_by_label("payload").input_value() == "1.5", "what was sent stands in the box"
    with surf.page.expect_navigation():
        surf.page.reload()
    assert "piece 2" in surf.page.inner_text("#answer"), "the address tells the task"
    surf.press("#answer a")
    assert "/tasks/" in surf.page.url


def test_words_of_a_task_are_words_below_the_box_and_its_failure_too(surf, axe):
    surf.go("/agents/edge/talker?verb=shout")
    surf.page.get_by_label("payload").fill(HOSTILE)
    surf.press("button:text-is('Send')")
    surf.wait("document.querySelector('#answer').textContent.includes('failed')")
    assert surf.page.inner_text("#answer .log").count(HOSTILE) == 1
    assert surf.page.evaluate("window.pwned") is None
    assert axe(surf.page) == []


def test_what_takes_messages_has_one_answer_or_is_given_as_a_task(surf):
    surf.go("/agents/edge/talker?verb=hum&as=json")
    surf.page.fill("#payload", '"la"')
    surf.press("button:text-is('Send')")
    assert "answered" in surf.page.inner_text("#answer")
    surf.page.wait_for_timeout(4500)
    assert '"la"' in surf.page.inner_text("#answer"), "it stays when the page is fetched again"
    surf.press("button:text-is('Give as a task')")
    surf.wait("document.querySelector('#answer').textContent.includes('done')")
    assert "as=json" in surf.page.url
    assert "--verb hum" in surf.page.inner_text("#as-ask")
    assert surf.page.input_value("#payload") == '"la"'


def test_without_scripts_a_task_answers_below_the_box_when_the_page_is_loaded_again(fleet, open_surf):
    with open_surf(fleet, java_script_enabled=False) as surf:
        surf.go("/agents/edge/talker?verb=task")
        surf.page.get_by_label("payload").fill("0")
        surf.page.click("button:text-is('Send')")
        for _ in range(20):
            if "all said" in surf.page.inner_text("#answer"):
                break
            surf.page.wait_for_timeout(250)
            surf.page.reload()
        assert "piece 2" in surf.page.inner_text("#answer")


def test_a_task_of_somebody_else_or_of_nobody_is_told_apart_from_an_answer(surf, talk):
    task = talk(0.0)
    surf.go(f"/agents/edge/clerk?task={task}")
    assert "is a task of edge/talker" in surf.page.inner_text("#answer")
    surf.go("/agents/edge/talker?task=nothing-of-the-kind")
    assert "nothing-of-the-kind" in surf.page.inner_text("#answer")
    assert surf.page.locator("button:text-is('Send')").count() == 1


def test_a_page_is_left_alone_while_nothing_happens_to_its_task(surf, talk):
    ended, busy = talk(0.0), talk(0.0)
    surf.go(f"/tasks/{busy}")
    surf.wait("document.querySelector('main').textContent.includes('all said')")
    surf.go(f"/tasks/{ended}")
    surf.wait("document.querySelector('main').textContent.includes('all said')")
    surf.page.wait_for_timeout(1000)
    asked = fetches(surf.page, f"/tasks/{ended}")
    other = talk(1.0)
    surf.page.wait_for_timeout(4500)
    assert asked == []
    surf.go("/tasks")
    assert other in surf.main()


def test_a_list_of_tasks_shows_a_new_one_at_once(surf, talk):
    surf.go("/tasks")
    surf.wait("document.querySelector('#live').textContent === ''")
    surf.page.wait_for_timeout(500)
    began = time.monotonic()
    task = talk(0.0)
    surf.wait("(task) => document.querySelector('main').textContent.includes(task)", task)
    took = time.monotonic() - began
    print(f"\na new task was listed after {took:.1f} s")
    assert took < 4


def test_without_the_stream_the_page_asks_again_and_again(fleet, open_surf, talk):
    with open_surf(fleet) as surf:
        surf.watched.expects("net::ERR_FAILED")
        surf.context.route("**/live*", lambda route: route.abort())
        task = talk(2.5)
        surf.go(f"/tasks/{task}")
        surf.page.evaluate(SEEN)
        surf.wait("'all said' in window.seen", within=20)
        seen = surf.page.evaluate("window.seen")
        assert {"piece 1", "piece 2"} <= seen.keys()
        assert "connection lost" in surf.page.inner_text("#live")
