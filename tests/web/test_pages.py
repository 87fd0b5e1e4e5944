"""Every page as a person gets it: whole, titled, within its window, reachable, and harmless whatever agents say."""

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from ruamel.yaml import YAML

from quarterdeck.errors import QuarterdeckError

STATIC = Path(__file__).parents[2] / "src" / "quarterdeck" / "web" / "static"
PAGES = {
    "/": "trio",
    "/deployments": "Deployments",
    "/deployments/1": "Revision 1",
    "/clusters": "Clusters",
    "/clusters/edge": "edge",
    "/agents/core/worker": "worker",
    "/agents/edge/poet": "poet",
    "/replicas": "Replicas",
    "/replicas/core/worker-0": "core/worker-0",
    "/replicas/edge/poet-0": "edge/poet-0",
    "/links": "Links",
    "/changes": "Changes",
    "/journal": "Journal",
    "/journal/1": "Record 1",
    "/journal/verified": "Verified",
    "/settings": "Settings",
    "/tasks": "Tasks",
    "/tasks/dead": "Dead letters",
    "/tasks/unknown": "Effects unknown",
    "/waiting": "Waiting for you",
    "/messages": "Messages",
    "/budgets": "Budgets",
    "/alerts": "Alerts",
    "/incidents": "Incidents",
    "/scaling": "Scaling",
    "/recovery": "Recovery",
    "/silences": "Silences",
    "/objectives": "Objectives",
    "/drills": "Drills",
    "/calendar": "Calendar",
    "/traces": "Traces",
    "/contacts": "Contacts",
    "/evals": "Evals",
    "/schedules": "Schedules",
    "/compliance": "Compliance",
    "/act/scale?target=core/worker": "Scale core/worker",
    "/act/validate": "Prove again",
}
HOSTILE = [
    "<script>window.pwned = 1; alert(1)</script>",
    "</code></pre><script>window.pwned = 2</script>",
    "<img src=x onerror='window.pwned = 3'>",
    '"><svg onload=window.pwned=4>',
    "' onmouseover='window.pwned=5' autofocus onfocus='window.pwned=6",
    '<a href="javascript:window.pwned=7">click</a> javascript:window.pwned=8',
    "<iframe src=//evil.example></iframe><link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{background:url(//evil.example/y)}</style>",
    "{{ 7 * 7 }} {% raw %} ${7*7} <% x %>",
    "<form action=//evil.example><button>go</button></form><base href=//evil.example>",
    "hx-on:load <div hx-get='/v1/systems' hx-trigger='load' hx-on::load='window.pwned=9'>",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J",
    "\u202egnp.exe\u202c \u2066isolate \u200f",
    "<!-- --!> <![CDATA[ ]]> &lt;script&gt; &#x3c;",
    "long " + "w" * 10_000,
]
POET = f'''\
"""Says what no page should believe."""

import os
import sys

from quarterdeck import Agent

agent = Agent("poet")
LINES = {HOSTILE!r}


@agent.on("recite")
def recite() -> list[str]:
    """<script>window.pwned = 10</script> a verb's own words."""
    for line in LINES:
        print(line, flush=True)
        print(line, file=sys.stderr, flush=True)
    return LINES


@agent.on("echo")
def echo(text: str) -> str:
    return text


@agent.on("fail")
def fail() -> None:
    """Raises what it has to say, {"and says at length beforehand what it is about to raise, " * 9}as agents do."""
    raise ValueError(" ".join(LINES)[:3000])


@agent.on("die")
def die() -> None:
    print(LINES[0], LINES[2], file=sys.stderr, flush=True)
    os._exit(3)
'''
OF_COLOUR = ("color-contrast", "link-in-text-block")
INNOCENT = r"""() => {
  const foreign = (e) => ['href', 'action', 'src'].some((name) => new URL(e.getAttribute(name) ?? '', location).origin !== location.origin);
  const acts = (a) => a.name.startsWith('on') || a.name.startsWith('hx-on') || /^\s*javascript:/i.test(a.value);
  const found = [
    ...document.querySelectorAll('main script, main iframe, main style, main base, main img, main link'),
    ...[...document.querySelectorAll('*')].filter((e) => [...e.attributes].some(acts)),
    ...[...document.querySelectorAll('[href], [action], [src]')].filter(foreign),
  ];
  return [...found.map((e) => e.outerHTML.slice(0, 80)), ...('pwned' in window ? [`pwned ${window.pwned}`] : [])];
}"""
FITS = """() => {
  const room = document.documentElement.clientWidth, most = document.documentElement.scrollWidth;
  if (most <= room) return [];
  const wide = [...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > room + 1);
  return [`${most} in ${room}`, ...wide.slice(0, 5).map((e) => e.outerHTML.slice(0, 120))];
}"""


LONG = """() => {
  const told = ':is(p, li, h1, h2, dt, dd, td, label, figcaption, legend, button, summary, .said, .dim, code)';
  const parts = document.querySelectorAll(`main ${told}`);
  parts.forEach((e) => e.append('w'.repeat(900)));
  return parts.length;
}"""
END = """(() => {
  const log = document.querySelector('.tail'), words = document.createRange();
  words.selectNodeContents(log);
  return [log.scrollHeight > log.clientHeight, words.getBoundingClientRect().bottom - log.getBoundingClientRect().bottom];
})()"""


@pytest.fixture(scope="module")
def fleet(make_fleet):
    """The usual fleet with one agent more, whose every word is an attack, and with reasons that are no better."""
    with make_fleet("hostile") as fleet:
        fleet.write(poet=POET)
        fleet.edit("quarterdeck.yaml", "        clerk:", '        poet: {run: "poet:agent"}\n        clerk:')
        fleet.up()
        fleet.ask("edge/poet", "recite")
        for field, value in (("replicas", 3), ("hold", True)):
            reason = " ".join(HOSTILE[:11])[:990]
            target = "core/worker" if field == "replicas" else "edge/poet"
            fleet.client.post("/v1/changes", {"target": target, "field": field, "value": value, "reason": reason})
        fleet.ready()
        yield fleet


def test_every_page_answers_with_its_heading_and_a_title_of_its_own_and_fits_a_phone_and_a_desk(surf, open_surf):
    titles, wide = {}, []
    for path, heading in PAGES.items():
        answer = surf.go(path)
        assert answer.status == 200, path
        assert surf.page.inner_text("h1").strip() == heading, path
        assert surf.page.get_attribute("html", "lang") == "en"
        titles.setdefault(surf.page.title(), []).append(path)
        for width in (1280, 390):
            surf.page.set_viewport_size({"width": width, "height": 844})
            wide += [f"{path} at {width}: {line}" for line in surf.page.evaluate(FITS)]
    assert not wide, "\n".join(wide)
    assert [paths for paths in titles.values() if len(paths) > 1] == []


def test_without_javascript_every_page_is_whole_and_says_how_to_renew_it(fleet, open_surf):
    with open_surf(fleet, java_script_enabled=False) as surf:
        for path, heading in PAGES.items():
            assert surf.go(path).status == 200, path
            assert surf.page.inner_text("h1").strip() == heading, path
            assert surf.page.locator("noscript").inner_text().startswith("This page is not live"), path
            assert surf.page.locator("noscript a").get_attribute("href") == path
            assert surf.page.locator("nav a:visible").count() > 20, path
            assert surf.page.locator("#as-command:visible").count() == 1, path
            assert surf.page.locator(".js:visible").count() == 0, path


def test_no_word_however_long_makes_a_page_wider_than_its_window(surf):
    wide = []
    for path in PAGES:
        surf.go(path)
        surf.page.evaluate("document.body.dataset.every = 0")
        assert surf.page.evaluate(LONG)
        for width in (1280, 390):
            surf.page.set_viewport_size({"width": width, "height": 844})
            wide += [f"{path} at {width}: {line}" for line in surf.page.evaluate(FITS)]
    assert not wide, "\n".join(wide)


@pytest.mark.parametrize("path", ["/", "/journal", "/changes", "/clusters"])
def test_on_a_phone_the_reason_of_a_row_is_in_sight_below_it(surf, path):
    surf.page.set_viewport_size({"width": 390, "height": 844})
    surf.go(path)
    rows = surf.page.evaluate("""[...document.querySelectorAll('.rows .why')].map((why) => {
      const box = why.getBoundingClientRect(), row = why.parentElement.getBoundingClientRect(), first = why.parentElement.children[0];
      return [box.left >= 0 && box.right <= innerWidth, box.top >= first.getBoundingClientRect().bottom - 1, row.width <= innerWidth];
    })""")
    assert rows
    assert [row for row in rows if not all(row)] == []


def test_a_log_is_open_at_its_end_and_stays_there_until_the_reader_goes_up(surf, fleet):
    surf.go("/replicas/edge/poet-0")
    fleet.ask("edge/poet", "recite")
    longer, below = surf.page.evaluate(END)
    assert longer
    assert below < 20
    shown = len(surf.page.text_content(".tail"))
    fleet.ask("edge/poet", "echo", "hello")
    fleet.ask("edge/poet", "recite")
    surf.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    surf.wait("(shown) => document.querySelector('.tail').textContent.length !== shown", shown)
    assert surf.page.evaluate(END)[1] < 20
    surf.page.evaluate("document.querySelector('.tail').scrollTop = -300")
    surf.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    surf.page.wait_for_timeout(1500)
    assert surf.page.evaluate("document.querySelector('.tail').scrollTop") < -200


def test_a_line_of_a_log_has_one_time_and_its_stream_in_a_word(surf):
    surf.go("/replicas/edge/poet-0")
    shown = surf.page.text_content(".tail")
    assert {"err", "out"} == set(surf.page.locator(".tail .stream").all_inner_texts())
    assert re.search(r"\d{4}-\d\d-\d\d[T ]\d\d:", shown) is None
    amber = surf.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--draining')")
    assert amber not in surf.page.evaluate("[...document.querySelectorAll('.tail *')].map((e) => getComputedStyle(e).color)")


def test_many_states_of_a_replica_are_reached_by_keyboard(surf, axe):
    surf.go("/replicas/core/worker-0")
    surf.page.evaluate("document.body.dataset.every = 0")
    more = "for (let n = 0; n < 60; n++) ((list) => list.append(list.children[0].cloneNode(true)))(document.querySelector('.history ol'))"
    surf.page.evaluate(more)
    assert surf.page.evaluate("document.querySelector('.history').scrollHeight > document.querySelector('.history').clientHeight")
    assert axe(surf.page, ["scrollable-region-focusable", "aria-allowed-role", "list"]) == []


def test_every_link_of_every_page_leads_somewhere(surf):
    seen, ahead, dead = {}, [*PAGES], []
    while ahead:
        path = ahead.pop()
        shape = re.sub(r"(?<=/journal/)\d+|(?<=before=)\d+", "N", path.partition("#")[0])
        if shape in seen:
            continue
        seen[shape] = path
        answer = surf.context.request.get(surf.base + path)
        if answer.status != 200:
            dead.append(f"{answer.status} {path}")
        elif "html" in answer.headers["content-type"] and not path.startswith("/docs"):
            hrefs = re.findall(r'<a [^>]*?href="([^"]*)"', answer.text())
            ahead += [href.replace("&amp;", "&") for href in hrefs if href.startswith("/") and not href.startswith("/docs")]
    print(f"\n{len(seen)} addresses")
    assert dead == []
    assert len(seen) > len(PAGES) + 10


COPIES = ("as-command", "as-curl", "as-yaml")


def test_each_copy_of_a_page_lands_on_the_clipboard(surf):
    surf.context.grant_permissions(["clipboard-read", "clipboard-write"])
    surf.go("/agents/core/worker")
    landed = {}
    for name in COPIES:
        surf.page.click(f"[data-copy={name}]")
        surf.wait("(name) => document.querySelector(`[data-copy=${name}]`).textContent === 'Copied'", name)
        landed[name] = surf.page.evaluate("navigator.clipboard.readText()")
    assert landed["as-command"] == "qd explain core/worker"
    assert landed["as-curl"] == f'curl -H "Authorization: Bearer $QD_TOKEN" "{surf.base}/v1/agents/core/worker"'
    document = YAML(typ="safe").load(landed["as-yaml"])
    assert (document["kind"], document["name"]) == ("Agent", "core/worker")


def test_a_copy_that_cannot_be_fetched_is_not_said_to_be_one(surf):
    surf.watched.expects("status of 404")
    surf.context.grant_permissions(["clipboard-read", "clipboard-write"])
    surf.go("/agents/core/worker")
    surf.page.evaluate("document.querySelector('#as-yaml').href = '/yaml?source=/v1/agents/core/nobody'")
    surf.page.click("[data-copy=as-yaml]")
    surf.wait("document.querySelector('[data-copy=as-yaml]').textContent === 'Not copied'")


def test_without_javascript_the_yaml_is_a_link(fleet, open_surf):
    with open_surf(fleet, java_script_enabled=False) as surf:
        surf.go("/agents/core/worker")
        assert surf.page.locator("[data-copy]:visible").count() == 0
        surf.page.click("#as-yaml")
        assert YAML(typ="safe").load(surf.page.inner_text("body"))["name"] == "core/worker"


def test_a_page_that_is_not_there_says_so_in_the_frame(surf):
    surf.watched.expects("status of 404")
    for path in (
        "/clusters/nowhere",
        "/agents/edge/nobody",
        "/replicas/edge/front-9",
        "/deployments/99",
        "/journal/999999",
        "/act/dance",
        "/nonexistent",
    ):
        assert surf.go(path).status == 404, path
        assert surf.page.locator("[role=alert]").count() == 1
        assert surf.page.locator("nav a[href='/journal']").count() == 1


def test_no_page_has_a_barrier_that_axe_finds_in_light_or_in_dark(fleet, open_surf, axe):
    def judged(where):
        found = [f"{where}: {line}" for line in axe(surf.page)]
        surf.page.emulate_media(color_scheme="dark")
        found += [f"{where}, dark: {line}" for line in axe(surf.page, OF_COLOUR)]
        surf.page.emulate_media(color_scheme="light")
        return found

    found = []
    with open_surf(fleet, reduced_motion="reduce") as surf:
        for path in PAGES:
            surf.go(path)
            found += judged(path)
        surf.go("/")
        for key, inside in (("?", "table"), ("Control+k", "[role=option]")):
            surf.page.keyboard.press(key)
            surf.page.wait_for_selector(f"#dialog {inside}")
            found += judged(key)
            surf.page.keyboard.press("Escape")
    assert not found, "\n".join(found)


def test_what_an_agent_says_is_text_on_every_page(surf, fleet):
    for path in PAGES:
        surf.go(path)
        assert surf.page.evaluate(INNOCENT) == [], path
    surf.go("/replicas/edge/poet-0")
    shown = surf.page.text_content("pre.log[aria-label=Log]")
    for line in HOSTILE:
        if not line.startswith(("\x1b", "long", "\u202e")):
            assert line in shown
    assert not set("\u202e\u202c\u2066\u200f\x1b\x07") & set(shown)
    assert "w" * 1000 in shown
    surf.go("/changes")
    assert HOSTILE[0] in surf.main()


def test_what_an_agent_answers_is_text_however_it_fails(surf):
    surf.go("/agents/edge/poet")
    for verb, payload in (
        ("recite", ""),
        ("fail", ""),
        ("echo", '{"text": "</textarea><script>window.pwned=11</script>"}'),
        ("echo", "</textarea><script>"),
    ):
        surf.go(f"/agents/edge/poet?verb={verb}&as=json")
        assert "<script>window.pwned = 10</script>" in surf.main() or verb != "recite"
        surf.page.fill("#payload", payload)
        surf.press("button:text-is('Send')")
        assert surf.page.evaluate(INNOCENT) == [], verb
        assert surf.page.evaluate(FITS) == [], verb
        assert "<script>" in surf.page.inner_text("#answer") or "no JSON" in surf.page.inner_text("#answer"), verb


def test_a_last_exit_with_hostile_words_is_text(surf, fleet):
    surf.go("/replicas/edge/poet-0")
    with pytest.raises(QuarterdeckError):
        fleet.ask("edge/poet", "die")
    surf.wait("document.querySelector('main').textContent.includes('exit 3')")
    assert surf.page.evaluate(INNOCENT) == []
    fleet.ready()


@pytest.mark.parametrize("text", HOSTILE[:6])
def test_what_stands_in_an_address_is_text(surf, text):
    surf.watched.expects("status of 4", "cannot be parsed")
    for path in (
        f"/journal?target={quote(text)}&verb={quote(text)}",
        f"/clusters/{quote(text, safe='')}",
        f"/clusters/core?q={quote(text)}&state={quote(text)}",
        f"/act/scale?target={quote(text)}&value={quote(text)}",
        f"/?system={quote(text)}",
        f"/act/{quote(text, safe='')}",
    ):
        surf.go(path)
        assert surf.page.evaluate(INNOCENT) == [], path


def test_scripts_and_styles_weigh_less_than_150_kb():
    sizes = {str(p.relative_to(STATIC)): p.stat().st_size for p in STATIC.rglob("*") if p.suffix in (".js", ".css")}
    print(f"\n{sum(sizes.values())} bytes: {sizes}")
    assert 0 < sum(sizes.values()) < 150_000
