"""The page of messages in a real Chromium, over the real doors and store: lanes, dead messages, and sending one again."""

from functools import partial

import pytest

from quarterdeck.model.messages import Letter, Returned
from quarterdeck.model.work import Holder, Target
from quarterdeck.store import outbox
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    amber:
      agents:
        reader: {run: "agents:reader"}
        writer: {run: "agents:reader"}
"""
READER, WRITER = Holder("pair", "amber", "reader", 0, 1), Holder("pair", "amber", "writer", 0, 1)
MANY = 120


def fill(control, hostile=""):
    """Kept messages in every state: 3 of an order, one of them dead, many under keys, a dead one that came straight from the stream."""

    def work(tx):
        turn, to = Turn(tx, Fairness()), Target("pair", "amber", "reader")
        for n in range(MANY):
            outbox.publish(turn, WRITER, Letter(f"{n:032x}", to, "note", "1", key=f"many-{n:03}"))
        for n, name in enumerate(("first", "second", "third"), 0x1000):
            outbox.publish(turn, WRITER, Letter(f"{n:032x}", to, "note", f'"{name}"', key=name, lane="customer <b>7</b>"))
        (first,) = [m for m in outbox.due(tx.connection, 500) if m.key == "first"]
        outbox.sent(turn, first, 1, 0)
        died = Returned(
            f"{0x2000:032x}", "amber/writer-0", "note", {"Qd-Id": hostile[:200]}, '{"text": "hello"}', hostile[:3000] or "x", 20
        )
        outbox.bury(turn, READER, died)
        turn.close()

    control.store.write_sync(work)


@pytest.fixture(scope="module")
def pages(load_module):
    return load_module("web_message_pages", "web/test_pages.py")


@pytest.fixture(scope="module")
def served(serve, pages):
    with serve(SPEC, partial(fill, hostile=" ".join(pages.HOSTILE))) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


DEAD = f"/messages/{0x2000:032x}"
PATHS = ("/messages", "/messages?state=dead", "/messages?key=nothing", f"/messages/{0x1000:032x}", DEAD)


def test_every_page_of_messages_fits_is_titled_and_believes_no_agent(surf, pages, axe):
    wrong = []
    for path in PATHS:
        assert surf.go(path).status == 200, path
        assert surf.page.inner_text("h1").strip(), path
        assert surf.page.evaluate(pages.INNOCENT) == [], path
        for width in (390, 1280):
            surf.page.set_viewport_size({"width": width, "height": 844})
            wrong += [f"{path} at {width}: {line}" for line in surf.page.evaluate(pages.FITS)]
        wrong += [f"{path}: {line}" for line in axe(surf.page)]
        surf.page.emulate_media(color_scheme="dark")
        wrong += [f"{path}, dark: {line}" for line in axe(surf.page, pages.OF_COLOUR)]
        surf.page.emulate_media(color_scheme="light")
    assert not wrong, "\n".join(wrong)


def test_each_agent_and_each_order_shows_how_much_waits_and_for_how_long(surf):
    surf.go("/messages")
    row = surf.page.locator("[id='amber/reader'] td").all_inner_texts()
    assert row[2] == str(MANY)
    assert row[3]
    assert row[5].strip() == "1 dead" or row[5].strip() == "1"
    assert surf.page.locator("[id='amber/writer'] td").all_inner_texts()[2] == "0"
    order = surf.page.locator("[id=order-1] td").all_inner_texts()
    assert order[:4] == ["customer <b>7</b>", "amber/reader", "1", "2"]


def test_kept_messages_are_listed_a_page_at_a_time_by_state_and_key(surf):
    surf.go("/messages")
    assert surf.page.locator("[aria-labelledby=kept] tbody tr").count() == 100
    surf.press("text=Older messages")
    assert surf.page.locator("[aria-labelledby=kept] tbody tr").count() == MANY + 4 - 100
    surf.go("/messages")
    surf.page.fill("#key", "many-01")
    surf.page.select_option("#state", "waiting")
    surf.press("button:text-is('Show')")
    assert surf.page.locator("[aria-labelledby=kept] tbody tr").count() == 10
    assert surf.page.inner_text("#as-command") == "qd get messages --state waiting --key many-01"


def test_what_nobody_could_handle_needs_attention(surf):
    surf.go("/")
    assert "1 message could be handled by nobody" in " ".join(surf.page.inner_text("[aria-labelledby=attention]").split())
    surf.go("/waiting")
    surf.press("p:has-text('1 message that nobody could handle') >> text=look at them")
    assert surf.page.locator("[aria-labelledby=kept] tbody tr").count() == 1


def test_the_navigation_and_the_palette_lead_there(surf):
    surf.go("/")
    surf.page.keyboard.press("g")
    surf.page.keyboard.press("m")
    surf.wait("document.querySelector('h1').textContent === 'Messages'")
    surf.page.keyboard.press("Control+k")
    surf.page.wait_for_selector("#dialog [role=option]")
    surf.page.keyboard.type("Messages")
    surf.wait("document.querySelector('#dialog [aria-selected=true]').textContent.startsWith('Messages')")


def test_a_viewer_is_refused_and_an_operator_sends_a_dead_message_again_without_scripts(served, open_surf):
    with open_surf(served, link=served.link(), java_script_enabled=False) as surf:
        surf.watched.expects("favicon")
        surf.go("/messages")
        surf.page.click("text=See why, and send them again")
        surf.page.locator("[aria-labelledby=kept] tbody a").first.click()
        assert "Why it is dead" in surf.main()
        assert '"text": "hello"' in surf.main()
        surf.page.fill("#reason", "mended")
        surf.page.click("button:text-is('Send it again')")
        assert surf.page.locator("button:text-is('Send it again')").count() == 0
        assert "waiting" in surf.main()
    viewer = served.aside(lambda: served.control.post("/v1/tokens", {"role": "viewer"}).json["token"])
    answer = served.aside(
        lambda: served.control.stranger("POST", f"{DEAD}/retry", headers={"authorization": f"Bearer {viewer}"}, data={"reason": "x"})
    )
    assert answer.status == 403


def test_without_a_reason_it_is_not_sent(surf):
    surf.watched.expects("status of 400", "status of 409", "status of 404")
    surf.go(f"/messages/{0x1000:032x}")
    assert surf.page.locator("button:text-is('Send it again')").count() == 0
    assert surf.go("/messages/nothing").status == 404
    assert surf.page.locator("[role=alert]").count() == 1
