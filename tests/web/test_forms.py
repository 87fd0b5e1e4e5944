"""Every action by its form: without JavaScript, and by the keyboard alone."""

import pytest

from quarterdeck.web.actions import ACTIONS

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader", replicas: 2}}}
    two: {agents: {reader: {run: "agents:reader"}}}
"""


def on(target):
    """Nothing is to be prepared."""
    return lambda _: target


def held(control):
    control.post("/v1/changes", {"target": "one/reader", "field": "hold", "value": True, "reason": "prepared"})
    return "one/reader"


def changed(control):
    return str(control.post("/v1/changes", {"target": "two", "field": "hold", "value": True, "reason": "prepared"}).json["id"])


def revised(control):
    kept = len(control.get("/v1/revisions").json["items"])
    answer = control.post("/v1/apply", {**control.body, "text": control.spec.replace("replicas: 2", f"replicas: {2 + kept}")})
    assert answer.status == 200, answer
    return str(kept)


def stopped(control):
    assert control.post("/v1/stops", {"target": "two", "reason": "prepared"}).status == 200
    return "two"


CASES = {
    "scale": (on("one/reader"), "change.add"),
    "restart": (on("one/reader"), "change.add"),
    "quarantine": (on("one/reader-1"), "change.add"),
    "hold": (on("two"), "change.add"),
    "release": (held, "change.revert"),
    "revert": (changed, "change.revert"),
    "rollback": (revised, "revision.apply"),
    "stop": (on("two"), "change.add"),
    "start": (stopped, "change.revert"),
    "validate": (on(""), ""),
}


@pytest.fixture(scope="module")
def served(serve):
    with serve(SPEC, lambda _: None) as served:
        yield served


@pytest.fixture
def prepared(served):
    """Gives what an action is done to; afterwards no Change is live."""
    control = served.control

    def end():
        control.engine.clock.advance(30.0)
        for change in control.get("/v1/changes").json["items"]:
            if change["state"] == "live":
                control.delete(f"/v1/changes/{change['id']}?reason=over")

    yield lambda verb: served.aside(lambda: CASES[verb][0](control))
    served.aside(end)


def address(verb, target):
    return f"/act/{verb}?target={target}" if target else f"/act/{verb}"


def was_done(served, verb, reason):
    if verb != "validate":
        told = served.aside(lambda: served.control.get("/v1/journal?newest=true&limit=20").json["items"])
        assert CASES[verb][1] in {record["verb"] for record in told if record["reason"] == reason}, told


def test_every_action_is_tried():
    assert CASES.keys() == ACTIONS.keys()


@pytest.mark.parametrize("verb", CASES)
def test_without_javascript_every_action_goes_through_by_plain_forms(served, open_surf, prepared, verb):
    target, reason = prepared(verb), f"no scripts: {verb}"
    with open_surf(served, link=served.link(), java_script_enabled=False) as surf:
        surf.go(address(verb, target))
        if verb == "scale":
            surf.page.fill("#value", "3")
        if verb == "validate":
            surf.page.click("button:text-is('Prove')")
        else:
            surf.page.fill("#reason", reason)
            surf.page.click("text=Show the plan")
            assert "What it would do" in surf.main()
            surf.page.click("button[name=confirmed]")
        assert surf.page.locator("[role=alert]").count() == 0, surf.main()
        assert verb == "stop" or "/act/" not in surf.page.url
        was_done(served, verb, reason)


@pytest.mark.parametrize("verb", CASES)
def test_by_the_keyboard_alone_every_action_is_typed_and_entered(served, open_surf, prepared, verb):
    target, reason = prepared(verb), f"by keys: {verb}"
    with open_surf(served, link=served.link()) as surf:
        surf.go(address(verb, target))
        wanted = "Prove" if verb == "validate" else "reason"
        surf.wait("!document.querySelector('[autofocus]') || document.activeElement.matches('[autofocus]')")
        for _ in range(60):
            if surf.page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()") == wanted:
                break
            surf.page.keyboard.press("Tab")
        if verb == "validate":
            surf.press(":focus", key="Enter")
        else:
            surf.page.keyboard.type(reason)
            surf.press(":focus", key="Enter")
            surf.wait("document.activeElement.name === 'confirmed'")
            surf.press(":focus", key="Enter")
        surf.wait("!document.querySelector('.act')")
        assert surf.page.locator("[role=alert]").count() == 0, surf.main()
        was_done(served, verb, reason)
