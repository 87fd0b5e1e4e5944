"""What a key does in `qd top`: a stack of places, each with its order, filter and selected row. Pure: nothing is asked or drawn here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from quarterdeck.cli.coming import NOUNS
from quarterdeck.cli.top_rows import DEEPER, Table, ordered

Page = Literal["", "explain", "logs", "yaml", "help"]
_PAGES: Final[Mapping[str, Page]] = {"l": "logs", "e": "explain", "y": "yaml"}
_MOVES: Final = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -1, "page down": 1, " ": 1, "home": -(10**6), "end": 10**6}
_FAR: Final = 100
_PAGEWISE: Final = ("page up", "page down", " ")
HELP: Final = (
    ("up down · j k", "select a row; page up, page down, home, end"),
    ("enter", "what it consists of; at the end of that, why it is as it is"),
    ("escape", "back"),
    ("/", "only rows with this text; escape ends it"),
    (":", "go to a noun, or to a thing by its name; tab completes"),
    ("s  S", "order by the next or the previous column"),
    ("r", "order the other way round"),
    ("< >", "the columns, or the rest of long lines, to the left and right"),
    ("l", "its logs, followed"),
    ("e", "why it is as it is"),
    ("y", "all that is known of it, as YAML"),
    ("p", "pause; again: go on"),
    ("? · q", "this help · the end"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one is: rows of a noun (`within` a cluster or agent), or a page about `thing`."""

    noun: str
    within: str = ""
    page: Page = ""
    thing: str = ""
    selected: str = ""
    """The name of the selected row, which stays selected wherever it moves; empty: the first."""
    sort: int = 0
    down: bool = False
    wanted: str = ""
    scroll: int = 0
    aside: int = 0
    """How many columns after the first, or steps of a page's lines, lie to the left of what is shown."""

    @classmethod
    def of(cls, noun: str, within: str = "") -> Place:
        """The rows of a noun in their first order."""
        sort, down = ordered(noun)
        return cls(noun, within, sort=sort, down=down)

    @property
    def asked(self) -> tuple[str, str, str, str]:
        """What has to be fetched for it."""
        return self.noun, self.within, self.page, self.thing

    def chosen(self, names: Sequence[str]) -> int:
        """The number of the selected row."""
        return names.index(self.selected) if self.selected in names else 0

    def first(self, count: int, room: int) -> int:
        """The first of `count` lines of a page that is shown; logs stay at their end until somebody scrolls up."""
        last = max(count - room, 0)
        return min(max(self.scroll + (last if self.page == "logs" else 0), 0), last)

    def within_page(self, count: int, room: int) -> Place:
        """The same, scrolled no farther than there are lines."""
        return replace(self, scroll=self.first(count, room) - (max(count - room, 0) if self.page == "logs" else 0))


@dataclass(frozen=True, slots=True)
class State:
    """Places one came through, what is being typed after `/` or `:`, and what is said about the last key."""

    places: tuple[Place, ...]
    typing: Literal["", "/", ":"] = ""
    typed: str = ""
    said: str = ""
    paused: bool = False
    over: bool = False

    @property
    def here(self) -> Place:
        """The place on top."""
        return self.places[-1]

    def at(self, place: Place) -> State:
        """The same, with another place on top."""
        return replace(self, places=(*self.places[:-1], place))

    def into(self, place: Place) -> State:
        """One place deeper."""
        return replace(self, places=(*self.places, place))

    def back(self) -> State:
        """To where one came from; the first place stays."""
        return replace(self, places=self.places[:-1]) if len(self.places) > 1 else self


def press(state: State, key: str, table: Table, nouns: Sequence[str], rows: int) -> State:
    """The state after a key. `table` is what is shown, of which `rows` fit on the screen; `nouns` are those that one can go to."""
    state = replace(state, said="")
    if state.typing:
        return _type(state, key, nouns, table.names)
    here = state.here
    match key:
        case "q":
            return replace(state, over=True)
        case "escape" if here.wanted:
            return state.at(replace(here, wanted=""))
        case "escape" | "left" | "backspace":
            return state.back()
        case ":":
            return replace(state, typing=":", typed="")
        case "?" if here.page != "help":
            return state.into(Place(here.noun, page="help"))
        case "p":
            return replace(state, paused=not state.paused)
        case "<" | ">":
            most = len(table.headings) - 2 if not here.page else _FAR
            return state.at(replace(here, aside=min(max(here.aside + (1 if key == ">" else -1), 0), max(most, 0))))
    by = _MOVES.get(key, 0) * (rows if key in _PAGEWISE else 1)
    if here.page:
        turned = replace(here, page=_PAGES[key], scroll=0) if key in _PAGES and here.thing else here
        return state.at(replace(turned, scroll=turned.scroll + by))
    return _choose(state, key, table, by)


def _type(state: State, key: str, nouns: Sequence[str], names: Sequence[str]) -> State:
    match key:
        case "escape":
            ended = replace(state, typing="", typed="")
            return ended.at(replace(state.here, wanted="")) if state.typing == "/" else ended
        case "enter":
            ended = replace(state, typing="", typed="")
            return _go(ended, state.typed.strip(), nouns, names) if state.typing == ":" else ended
        case "backspace":
            state = replace(state, typed=state.typed[:-1])
        case "clear":
            state = replace(state, typed="")
        case "tab" if state.typing == ":" and state.typed:
            state = replace(state, typed=next((one for one in (*nouns, *names) if one.startswith(state.typed)), state.typed))
        case _ if len(key) == 1 and key.isprintable():
            state = replace(state, typed=state.typed + key)
    return state.at(replace(state.here, wanted=state.typed)) if state.typing == "/" else state


def _go(state: State, wanted: str, nouns: Sequence[str], names: Sequence[str]) -> State:
    """To a noun that begins so, or to why a thing is as it is."""
    found = next((noun for noun in nouns if wanted and noun.startswith(wanted)), "")
    if found:
        return replace(state, places=(Place.of(found),))
    if wanted in names or "/" in wanted or "->" in wanted:
        return state.into(Place(state.here.noun, page="explain", thing=wanted))
    later = next((f"{noun} are not in this version: {hint}" for noun, hint in NOUNS.items() if wanted and noun.startswith(wanted)), "")
    return replace(state, said=later or f"there is no noun {wanted!r}: {', '.join(nouns)}, or cluster/agent") if wanted else state


def _choose(state: State, key: str, table: Table, by: int) -> State:
    """What a key does among rows; `by` is how far it moves."""
    here = state.here
    match key:
        case "/":
            return replace(state, typing="/", typed=here.wanted)
        case "s" | "S":
            return state.at(replace(here, sort=(here.sort + (1 if key == "s" else -1)) % max(len(table.headings), 1)))
        case "r":
            return state.at(replace(here, down=not here.down))
    names = table.names
    if not names:
        return state
    chosen = names[min(max(here.chosen(names) + by, 0), len(names) - 1)]
    state = state.at(replace(here, selected=chosen))
    if key in ("enter", "right") and here.noun in DEEPER:
        return state.into(Place.of(DEEPER[here.noun], chosen))
    page = _PAGES.get("e" if key in ("enter", "right") else key)
    return state.into(Place(here.noun, page=page, thing=chosen)) if page else state
