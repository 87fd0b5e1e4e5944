"""Every action from its button through the plan to what comes of it; by mouse, by keyboard alone, and without JavaScript."""

from datetime import UTC, datetime, timedelta

import pytest

READY = "(count) => document.querySelectorAll('.picture .dot.ready[id^=\"dot-core/worker-\"]').length === count"

STAFFED = """() => {
  const wanted = Number(document.querySelector('.figures small').textContent.slice(4));
  return wanted > 0 && document.querySelectorAll('tr[id^=x-] .said.ready').length === wanted;
}"""
FRESH = """(old) => {
  const pid = document.querySelector('#x-edge\\\\/clerk-0 td:nth-child(4)')?.textContent;
  return pid && !old.includes(Number(pid));
}"""


def confirm(surf, reason, **fields):
    """Fill the form in, see the plan, and mean it. Gives what the plan said."""
    for name, value in {"reason": reason, **fields}.items():
        surf.page.fill(f"#{name}", str(value))
    surf.press("text=Show the plan")
    plan = surf.page.inner_text(".act section")
    assert surf.page.input_value("#reason") == reason
    surf.press("button[name=confirmed]")
    return plan


def live_changes(fleet):
    return [c for c in fleet.items("changes") if c["state"] == "live"]


@pytest.fixture
def clean(fleet):
    """No Change is live before, and none afterwards."""
    yield fleet
    for change in live_changes(fleet):
        fleet.client.delete(f"/v1/changes/{change['id']}", {"reason": "the test is over"})
    fleet.ready()


def test_scale_and_see_it_and_revert_it(surf, clean):
    surf.go("/agents/core/worker")
    surf.press(".actions >> text=Scale")
    assert "Scale core/worker" in surf.page.title()
    plan = confirm(surf, "load test", value=3)
    assert "core/worker" in plan
    assert surf.page.inner_text("h1") == "worker"
    surf.wait("document.querySelector('.figures dd').textContent.startsWith('3 of 3')")
    surf.press("nav >> text=Overview")
    surf.wait(READY, 3)
    surf.press("nav >> text=Changes")
    row = surf.page.locator("tr", has_text="load test")
    assert "live" in row.inner_text()
    surf.press("tr:has-text('load test') >> a:text-is('Revert')")
    confirm(surf, "enough load")
    assert surf.page.locator("tr", has_text="load test").get_by_text("reverted").count()
    surf.press("nav >> text=Overview")
    surf.wait(READY, 2)


def test_quarantine_shows_the_replica_kept_and_release_ends_it(surf, clean):
    surf.go("/replicas/core/worker-1")
    surf.press(".actions >> text=Quarantine")
    confirm(surf, "it looks odd")
    assert surf.page.inner_text("h1").strip() == "core/worker-1"
    surf.wait("document.querySelector('.head').textContent.includes('quarantined')")
    surf.press(".actions >> text=Release")
    assert surf.page.locator("#until").count() == 0, "it ends at once"
    confirm(surf, "it was nothing")
    assert live_changes(clean) == [], "nothing is left over"
    assert surf.page.inner_text("h1").strip() == "core/worker-1"
    surf.wait("!document.querySelector('.head').textContent.includes('quarantined')")
    surf.wait("document.querySelector('.head p.dim').textContent.startsWith('ready')")


def test_restart_replaces_each_replica(surf, clean):
    before = {r["pid"] for r in clean.replicas(agent="edge/clerk").values()}
    surf.go("/agents/edge/clerk")
    surf.press(".actions >> text=Restart")
    confirm(surf, "fresh start")
    surf.wait(FRESH, [*before])


def test_hold_until_a_time_shows_who_and_until_when(surf, clean):
    surf.go("/clusters/edge")
    surf.press(".actions >> text=Hold")
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    confirm(surf, "hands off", until=until)
    (change,) = live_changes(clean)
    assert (change["target"], change["reason"], change["until"][:16]) == ("edge", "hands off", until)
    surf.press("nav >> text=Changes")
    assert until[11:] in surf.page.inner_text("tr:has-text('hands off')")


@pytest.mark.parametrize("path", ["/agents/core/worker", "/clusters/core"])
def test_a_hold_is_released_where_it_is_shown(surf, clean, path):
    surf.go(path)
    assert surf.page.locator(".actions >> text=Release").count() == 0
    surf.press(".actions >> text=Hold")
    confirm(surf, "hands off")
    surf.press(".actions >> text=Release")
    confirm(surf, "hands on")
    assert surf.page.locator(".actions >> text=Release").count() == 0
    assert surf.page.url == surf.base + path
    assert live_changes(clean) == []
    assert clean.journal("change.revert")[-1]["reason"] == "hands on"


def test_roll_back_from_the_page_of_an_earlier_revision(surf, clean):
    clean.edit("worker.py", '"one"', '"two"')
    clean.up()
    surf.go("/deployments")
    surf.press("tr:has(a:text-is('1')) >> text=Roll back")
    assert "core/worker" in confirm(surf, "two is no good")
    assert surf.page.inner_text("h1") == "Deployments"
    assert "two is no good" in surf.page.inner_text("tr.current")
    surf.wait("document.querySelectorAll('.phases li.done').length === 7", within=30)
    assert clean.ask("edge/front", "through") == "one"
    clean.edit("worker.py", '"two"', '"one"')


def test_prove_again(surf, clean):
    before = max(c["age_seconds"] for c in clean.items("conditions") if c["kind"] == "LinkCarries")
    surf.go("/deployments")
    surf.press("text=Prove again")
    surf.press("button:text-is('Prove')")
    assert surf.page.inner_text("h1") == "Deployments"
    clean.until(lambda: len(clean.journal()) > before)


ODD = """() => {
  document.querySelector('main').append(Object.assign(document.createElement('i'), {id: 'odd'}));
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def test_the_send_box_answers_and_says_what_was_wrong(surf, fleet):
    surf.go("/agents/edge/front?as=json")
    surf.press("#verb >> text=through")
    surf.press("button:text-is('Send')")
    assert '"one"' in surf.page.inner_text("#answer")
    surf.press("#verb >> text=send")
    surf.page.fill("#payload", '{"number": ')
    surf.press("button:text-is('Send')")
    assert "no JSON" in surf.page.inner_text("#answer")
    surf.page.evaluate(ODD)
    surf.wait("!document.getElementById('odd')")  # the page was fetched again
    assert surf.page.input_value("#payload") == '{"number": '
    surf.page.fill("#payload", '{"number": 41}')
    surf.press("button:text-is('Send')")
    assert "41" in surf.page.inner_text("#answer")


WRONG = {
    "no target": ("/act/scale?target=core/nobody&value=3", {"value": "3", "reason": "why not"}, "core/nobody"),
    "no number": ("/act/scale?target=core/worker&value=3", {"value": "1e2", "reason": "greed"}, "1e2"),
    "the past": ("/act/hold?target=edge", {"reason": "too late", "until": "2020-01-01T10:00"}, "past"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused_is_said_in_the_form_and_nothing_typed_is_lost(surf, fleet, case):
    path, fields, told = WRONG[case]
    surf.watched.expects("status of 4")
    surf.go(path)
    for name, value in fields.items():
        surf.page.fill(f"#{name}", value)
    surf.press("text=Show the plan")
    assert told in surf.page.inner_text("[role=alert]")
    assert {name: surf.page.input_value(f"#{name}") for name in fields} == fields
    assert live_changes(fleet) == []


def test_going_back_from_the_plan_changes_nothing(surf, fleet):
    surf.go("/act/scale?target=core/worker&value=3")
    surf.page.fill("#reason", "only looking")
    surf.press("text=Show the plan")
    surf.press(".act >> text=Back")
    assert surf.page.input_value("#value") == "3"
    assert surf.page.input_value("#reason") == "only looking"
    assert live_changes(fleet) == []


def test_who_may_only_look_is_told_so_and_changes_nothing(fleet, open_surf):
    link = fleet.client.post("/v1/login", {"role": "viewer"})["url"]
    with open_surf(fleet, link=link) as surf:
        surf.watched.expects("status of 403")
        surf.go("/agents/core/worker")
        assert surf.page.locator(".actions a").count() == 0
        assert "To send needs the role operator" in surf.main()
        surf.page.evaluate("document.querySelector('.send').append(document.createElement('button'))")  # as a page of before would
        surf.page.click(".send button")
        surf.wait("document.querySelector('#fault').textContent.includes('needs the role operator')")
        surf.go("/act/scale?target=core/worker")
        assert surf.page.inner_text("h1").startswith("this needs the role operator")
        assert surf.page.locator("nav a[href='/journal']").count() == 1
        assert live_changes(fleet) == []


@pytest.mark.parametrize(("path", "of"), [("/clusters/edge", ("edge/front", "edge/clerk")), ("/agents/core/worker", ("core/worker",))])
def test_stop_with_its_proof_and_start_again(surf, clean, path, of):
    surf.go(path)
    surf.press(".actions >> text=Stop")
    confirm(surf, "it runs wild")
    assert "Nothing of it is left." in surf.page.inner_text("main [role=status]")
    assert {r["state"] for name in of for r in clean.replicas(agent=name).values()} <= {"stopped", "pending"}
    surf.go(path)
    assert surf.page.locator(".actions >> text=Stop").count() == 0
    surf.press(".actions a:text-is('Start')")
    confirm(surf, "it was tamed")
    surf.wait(STAFFED)
    assert [c["patch"]["field"] for c in live_changes(clean)] == []


# without JavaScript


def test_without_javascript_a_replica_has_its_charts_and_rows_are_filtered(fleet, open_surf):
    with open_surf(fleet, java_script_enabled=False) as surf:
        surf.go("/replicas/core/worker-0")
        assert surf.page.locator("figure svg[role=img]").count() == 6
        surf.go("/clusters/core?q=worker-1")
        assert surf.page.locator("tr[id^=x-]").count() == 1


def test_without_javascript_an_action_goes_through_by_plain_forms(open_surf, clean):
    with open_surf(clean, java_script_enabled=False) as surf:
        surf.go("/agents/core/worker")
        surf.page.click(".actions >> text=Scale")
        surf.page.fill("#value", "3")
        surf.page.fill("#reason", "no scripts here")
        surf.page.click("text=Show the plan")
        assert "core/worker" in surf.page.inner_text(".act section")
        surf.page.click("button[name=confirmed]")
        assert surf.page.inner_text("h1") == "worker"
        assert [c["reason"] for c in live_changes(clean)] == ["no scripts here"]
        surf.page.click("#verb >> text=version")
        surf.page.click("button:text-is('Send')")
        assert '"one"' in surf.page.inner_text("#answer")


# keyboard alone


def focused(surf):
    return surf.page.evaluate("document.activeElement.textContent.trim() || document.activeElement.name || document.activeElement.tagName")


def press(surf, *keys):
    for key in keys:
        surf.page.keyboard.press(key)


def test_the_palette_leads_to_an_agent(surf):
    surf.go("/")
    press(surf, "Control+k")
    surf.page.wait_for_selector("#dialog [role=option]")
    surf.page.keyboard.type("coreworker")
    assert surf.page.inner_text("#dialog [aria-selected=true]").startswith("core/worker")
    press(surf, "Enter")
    surf.wait("document.querySelector('h1').textContent === 'worker'")
    assert surf.page.url == surf.base + "/agents/core/worker"
    assert not surf.page.locator("#dialog").is_visible()
    surf.page.go_back()
    surf.wait("document.querySelector('h1').textContent === 'trio'")


def test_slash_filters_rows_and_escape_leaves_the_field(surf):
    surf.go("/links")
    press(surf, "/")
    surf.page.keyboard.type("nothing like it")
    assert surf.page.locator("table[data-filter] tbody tr:visible").count() == 0
    press(surf, "Control+a", "Backspace")
    assert surf.page.locator("table[data-filter] tbody tr:visible").count() == 1
    press(surf, "Escape")
    assert focused(surf) != "row-filter"
    press(surf, "?")
    assert "filter" in surf.page.inner_text("#dialog")
    press(surf, "Escape")
    assert not surf.page.locator("#dialog").is_visible()


def test_g_and_a_letter_goes_to_a_page_j_and_k_walk_its_rows_and_enter_opens(surf):
    surf.go("/")
    press(surf, "g", "j")
    surf.wait("document.activeElement === document.querySelector('h1') && document.activeElement.textContent === 'Journal'")
    press(surf, "j")
    first = focused(surf)
    press(surf, "j")
    assert int(focused(surf)) == int(first) - 1
    press(surf, "k")
    assert focused(surf) == first
    press(surf, "Enter")
    surf.wait("(seq) => document.querySelector('h1').textContent === `Record ${seq}`", first)
    press(surf, "g", "c")
    surf.wait("document.querySelector('h1').textContent === 'Clusters'")


def test_tab_reaches_the_page_and_its_actions_in_order_and_enter_carries_one_out(surf, clean):
    surf.go("/agents/core/worker")
    order = []
    for _ in range(40):
        press(surf, "Tab")
        order.append(focused(surf))
        if order[-1] == "Hold":
            break
    assert order[0] == "Skip to the page"
    assert order[-3:] == ["Scale", "Restart", "Hold"]
    shown = surf.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert shown != "none"
    surf.press(":focus", key="Enter")
    surf.wait("document.activeElement.id === 'reason'")
    surf.page.keyboard.type("by hand")
    surf.press(":focus", key="Enter")
    surf.wait("document.activeElement.name === 'confirmed'")
    surf.press(":focus", key="Enter")
    assert [c["reason"] for c in live_changes(clean)] == ["by hand"]
