"""What a revision changed, line by line: readable by colour and by sign, by keyboard and by a screen reader, whatever the lines say."""

import pytest

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader", replicas: 2}}}
"""
CODE = "def reader(text: str) -> str:\n    return text\n"
HOSTILE = "</code></pre><script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>\u202e"
ODD = "<img src=x onerror=window.pwned=3>.txt"


def fill(control):
    """Three revisions: the second changes spec and code, the third brings hostile words and a long file."""
    control.spec = control.spec.replace("replicas: 2", "replicas: 3")
    (control.folder / "agents.py").write_text(CODE.replace("return text", "return text.upper()"))
    (control.folder / "notes.txt").write_text("new here\n")
    (control.folder / "data.bin").write_bytes(b"\0\1")
    assert control.post("/v1/apply", control.body).status == 200
    (control.folder / "long.txt").write_text("".join(f"line {n}\n" for n in range(300)))
    (control.folder / "notes.txt").unlink()
    (control.folder / ODD).write_text(f"{HOSTILE}\n" + "w" * 5000 + "\n")
    assert control.post("/v1/apply", control.body).status == 200
    control.converge()


@pytest.fixture(scope="module")
def served(serve):
    with serve(SPEC, fill) as served:
        yield served


@pytest.fixture
def surf(served, open_surf):
    with open_surf(served, link=served.link()) as surf:
        yield surf


LINES = "(part) => [...document.querySelectorAll(part)].filter((e) => e.checkVisibility()).map((e) => e.textContent)"


def test_a_revision_shows_its_lines_by_sign_and_by_colour(surf):
    surf.go("/deployments")
    surf.press("tr:has(a:text-is('2')) >> text=against 1")
    assert surf.page.inner_text("h1") == "Revision 2"
    assert surf.page.evaluate(LINES, "#diff ins") == ["+            max: 3", "+            min: 3"]
    assert surf.page.evaluate(LINES, "#diff del") == ["-            max: 2", "-            min: 2"]
    assert "+    return text.upper()" in surf.page.evaluate(LINES, "#code ins")
    colours = surf.page.evaluate("['ins', 'del', 'code'].map((e) => getComputedStyle(document.querySelector(`#diff ${e}`)).color)")
    assert len(set(colours)) == 3
    told = surf.page.inner_text("#code")
    assert "agents.py 1 line added, 1 removed" in " ".join(told.split())
    assert "data.bin its lines are not shown: no text" in " ".join(told.split())
    assert "added:" in surf.page.text_content("#code li.add"), "for who hears it"


def test_what_is_long_is_folded_and_opens_by_keyboard_and_stays_open(surf, served):
    surf.go("/deployments/3")
    folded = surf.page.locator("#code details:has(summary:has-text('long.txt'))")
    assert folded.get_attribute("open") is None
    assert "300 lines added" in folded.inner_text()
    folded.locator("summary").focus()
    surf.page.keyboard.press("Enter")
    assert "+line 299" in folded.inner_text()
    surf.page.keyboard.press("Tab")
    assert surf.page.evaluate("document.activeElement.getAttribute('aria-label')") == "Lines of long.txt"
    surf.page.evaluate(
        "document.querySelector('main').append(Object.assign(document.createElement('i'), {id: 'odd'}));"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    surf.wait("!document.getElementById('odd')")
    assert "+line 299" in folded.inner_text(), "a renewed page leaves it as it is"


def test_hostile_lines_and_names_are_text(surf):
    surf.go("/deployments/3")
    assert surf.page.evaluate("'pwned' in window") is False
    assert surf.page.locator("main img, main script").count() == 0
    assert HOSTILE[:-1] in surf.page.text_content("#code")
    assert ODD in surf.page.inner_text("#code")
    assert "\u202e" not in surf.page.text_content("main")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_revision_fits_a_phone_has_no_barrier_and_needs_no_scripts(served, open_surf, axe, number):
    with open_surf(served, link=served.link(), reduced_motion="reduce") as surf:
        surf.go(f"/deployments/{number}")
        surf.page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
        assert axe(surf.page) == []
        surf.page.emulate_media(color_scheme="dark")
        assert axe(surf.page, ["color-contrast"]) == []
        surf.page.set_viewport_size({"width": 390, "height": 844})
        assert surf.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    with open_surf(served, link=served.link(), java_script_enabled=False) as surf:
        surf.go(f"/deployments/{number}")
        surf.page.click("#code summary")
        assert surf.page.locator("#code ins").count()
