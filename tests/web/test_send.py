"""The box that tries an agent, as a form made from what a verb takes: by mouse, by keyboard, without JavaScript, on a phone."""

import json

import pytest

from quarterdeck.model.world import Verb

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader"}}}
"""
HOSTILE = "</textarea><script>window.pwned = 1</script>\"'><img src=x onerror='window.pwned = 2'>"
ORDER = {
    "type": "object",
    "required": ["name", "size"],
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 20, "description": "Whom it is for."},
        "size": {"enum": ["small", "large"]},
        "count": {"type": "integer", "minimum": 1, "maximum": 10, "default": 2},
        "share": {"anyOf": [{"type": "number"}, {"type": "null"}], "description": "Of the whole."},
        "urgent": {"type": "boolean", "default": False},
        "note": {"type": "string", "description": "As long as you like. " * 12},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
}
ODD = {"type": "object", "required": [HOSTILE], "properties": {HOSTILE: {"type": "string", "description": HOSTILE, "default": HOSTILE}}}


@pytest.fixture(scope="module")
def served(serve):
    async def verbs(self, system, agent):
        return (Verb("order", ORDER, "Takes an order."), Verb("odd", ODD, HOSTILE), Verb("rest", None, "Does nothing."))

    def fill(control):
        type(control.engine).verbs = verbs

    with serve(SPEC, fill) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


PAGE = "/agents/one/reader"


def answer(surf):
    return json.loads(surf.page.inner_text("#answer pre"))


def fill(surf, **fields):
    for name, text in fields.items():
        surf.page.fill(f"[name='f:{name}']", text)


def test_fields_are_filled_in_and_sent_as_their_types(surf):
    surf.go(PAGE)
    fill(surf, name="alice", count="7", share="0.5", note="two\nlines", tags='["a"]')
    surf.page.get_by_label("size (needed)").select_option(label="large")
    surf.page.get_by_label("urgent").select_option(label="true")
    surf.press("button:text-is('Send')")
    sent = {"name": "alice", "size": "large", "count": 7, "share": 0.5, "urgent": True, "note": "two\nlines", "tags": ["a"]}
    assert answer(surf) == sent
    assert surf.page.inner_text("#as-ask").startswith("qd ask one/reader order '{")
    assert surf.page.input_value("[name='f:note']") == "two\nlines", "what was sent stays"


def test_what_is_wrong_stands_beside_its_field_and_is_mended_there(surf, axe):
    surf.go(PAGE)
    fill(surf, count="many")
    surf.press("button:text-is('Send')")
    assert "nothing was sent: 2 fields are wrong" in surf.page.inner_text("#answer")
    count = surf.page.get_by_label("count")
    assert count.get_attribute("aria-invalid") == "true"
    assert count.input_value() == "many"
    told = surf.page.evaluate(
        "document.querySelector('[name=\"f:count\"]').getAttribute('aria-describedby').split(' ')"
        ".map((id) => document.getElementById(id).textContent).join(' | ')"
    )
    assert "this is not a whole number" in told
    assert "at least 1, at most 10" in told
    assert axe(surf.page) == []
    fill(surf, name="alice", count="3")
    surf.press("button:text-is('Send')")
    assert answer(surf)["count"] == 3
    assert surf.page.locator("[aria-invalid]").count() == 0


def test_the_switch_to_json_and_back_keeps_what_was_typed(surf):
    surf.go(PAGE)
    fill(surf, name="alice", count="4")
    surf.press("text=Write it as JSON")
    assert json.loads(surf.page.input_value("#payload")) == {"name": "alice", "size": "small", "count": 4, "urgent": False}
    surf.page.fill("#payload", '{"name": "bob", "size": "large"}')
    surf.press("text=Write it into fields")
    assert surf.page.input_value("[name='f:name']") == "bob"
    surf.press("button:text-is('Send')")
    assert answer(surf) == {"name": "bob", "size": "large"}


def test_what_is_chosen_and_typed_outlives_the_renewal_of_the_page(surf):
    surf.go(PAGE)
    fill(surf, note="half a sentence")
    surf.page.get_by_label("urgent").select_option(label="true")
    surf.page.evaluate("document.querySelector('main').append(Object.assign(document.createElement('i'), {id: 'odd'}))")
    surf.wait("!document.getElementById('odd')")
    assert surf.page.input_value("[name='f:note']") == "half a sentence"
    assert surf.page.input_value("[name='f:urgent']") == "true"


def test_hostile_words_of_a_schema_are_text_and_come_back_as_they_went(surf):
    surf.go(f"{PAGE}?verb=odd")
    assert HOSTILE in surf.page.inner_text(".send")
    surf.press("button:text-is('Send')")
    assert answer(surf) == {HOSTILE: HOSTILE}
    assert surf.page.evaluate("'pwned' in window") is False
    assert surf.page.locator("main img, main script").count() == 0


def test_all_of_it_works_by_keyboard(surf):
    surf.go(f"{PAGE}?verb=rest")
    surf.page.focus("#verb a[aria-current]")
    surf.page.keyboard.press("Shift+Tab")
    surf.page.keyboard.press("Shift+Tab")
    surf.press(":focus", key="Enter")
    surf.wait("document.querySelector('#verb [aria-current]').textContent === 'order'")
    surf.page.focus("#verb a >> nth=2")
    surf.page.keyboard.press("Tab")
    surf.page.keyboard.type("carol")
    surf.press(":focus", key="Enter")
    assert answer(surf)["name"] == "carol"


def test_the_form_works_without_scripts_and_fits_a_phone_without_a_barrier(served, open_surf, axe):
    with open_surf(served, link=served.link(), java_script_enabled=False) as surf:
        surf.go(PAGE)
        surf.page.click("#verb >> text=rest")
        surf.page.click("#verb >> text=order")
        fill(surf, name="dora", count="nine")
        surf.page.click("button:text-is('Send')")
        assert "this is not a whole number" in surf.page.inner_text(".send")
        fill(surf, count="9")
        surf.page.click("button:text-is('Send')")
        assert answer(surf) == {"name": "dora", "size": "small", "count": 9, "urgent": False}
        surf.page.click("text=Write it as JSON")
        assert json.loads(surf.page.input_value("#payload"))["count"] == 9
    with open_surf(served, link=served.link(), reduced_motion="reduce") as surf:
        surf.page.set_viewport_size({"width": 390, "height": 844})
        for verb in ("order", "odd", "rest"):
            for more in ("", "&as=json"):
                surf.go(f"{PAGE}?verb={verb}{more}")
                assert axe(surf.page) == [], verb
                assert surf.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), verb
        surf.page.emulate_media(color_scheme="dark")
        assert axe(surf.page, ["color-contrast"]) == []
