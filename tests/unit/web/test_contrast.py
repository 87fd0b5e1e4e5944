"""What the pages say can be read (WCAG 2.2 AA, 1.4.3): each colour of words on each ground they stand on, also where a page has lost its
colours because nobody answers."""

import re
from pathlib import Path

import pytest

from quarterdeck import web

CSS = (Path(web.__file__).parent / "static" / "quarterdeck.css").read_text()
WORDS = ("text", "dim", "accent", "ready", "starting", "pending", "draining", "quarantined", "failed")
GROUNDS = ("ground", "card", "wash")
ON_COLOUR = (("accent-text", "accent"), ("card", "draining"))
LEAST = 4.5


def tokens(dark):
    """Name → (red, green, blue), each from 0 to 1."""
    first, _, rest = CSS.partition("prefers-color-scheme: dark")
    found = dict(re.findall(r"--([a-z-]+): #([0-9a-f]+);", first))
    if dark:
        found |= dict(re.findall(r"--([a-z-]+): #([0-9a-f]+);", rest))
    wide = {name: value if len(value) == 6 else "".join(c * 2 for c in value) for name, value in found.items()}
    return {name: tuple(int(value[n : n + 2], 16) / 255 for n in (0, 2, 4)) for name, value in wide.items()}


def gray(colour):
    """By the filter (Filter Effects, grayscale(1))."""
    return (sum(part * value for part, value in zip((0.2126, 0.7152, 0.0722), colour, strict=True)),) * 3


def contrast(one, other):
    """By WCAG: relative luminance, (L1 + 0.05) / (L2 + 0.05)."""
    linear = [[v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour] for colour in (one, other)]
    least, most = sorted(0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in linear)
    return (most + 0.05) / (least + 0.05)


def faded():
    """How much of its own is left of a colour on a page that is out of date."""
    rules = re.findall(r"([^{}]*\.away[^{}]*)\{([^{}]*)\}", CSS)
    return min([1.0, *(float(value) for _, body in rules for value in re.findall(r"opacity: ([\d.]+)", body))])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("away", [False, True])
def test_words_can_be_read_on_every_ground(dark, away):
    colours = {name: gray(colour) if away else colour for name, colour in tokens(dark).items()}
    left = faded() if away else 1.0

    def seen(name):
        return tuple(left * own + (1 - left) * behind for own, behind in zip(colours[name], colours["ground"], strict=True))

    pairs = [(word, ground) for word in WORDS for ground in GROUNDS] + list(ON_COLOUR)
    weak = {pair: round(contrast(seen(pair[0]), seen(pair[1])), 2) for pair in pairs}
    assert {pair: value for pair, value in weak.items() if value < LEAST} == {}


def test_a_page_that_is_out_of_date_shows_it_without_fading():
    assert ".away main" in CSS
    assert "grayscale(1)" in CSS
    assert re.search(r"\.away main \{ outline: [^}]*dashed", CSS)
