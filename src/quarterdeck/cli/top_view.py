"""How `qd top` looks: lines that fit the terminal. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from quarterdeck.cli.get import following
from quarterdeck.cli.render import clock_time, size, style_of
from quarterdeck.cli.screen import SGR, Screen, clean, cut
from quarterdeck.cli.status import state_of
from quarterdeck.cli.top_feed import Seen
from quarterdeck.cli.top_rows import Table
from quarterdeck.cli.top_state import HELP, Place, State

ABOVE: Final = 3
"""Lines above the rows: what is shown of what, and the headings."""
BELOW: Final = 2
_GAP: Final = 2
_WIDEST: Final = 40
"""Columns of a cell that is not the last one."""
_KEYS: Final = ("? help", "q end", "enter deeper", "esc back", "/ filter", ": go to", "l logs", "e why", "s order", "y yaml", "< > columns")
_PAGE_KEYS: Final = ("? help", "q end", "esc back", "↑↓ scroll", "< > sideways", ": go to", "l logs", "e why", "y yaml", "p pause")
"""What matters most comes first: what does not fit is left out, and `?` tells it."""
_STEP: Final = 20
"""Columns by which a page is shifted sideways."""


def drawn(state: State, seen: Seen, table: Table, screen: Screen, room: int, *, old: str) -> list[str]:
    """The whole screen, with `room` rows below their headings; `old` says why what is shown is not what is."""
    if state.here.page:
        body = _page(state, seen, room + 1)
    elif table.rows:
        body = _table(state, table, screen, room)
    else:
        body = ["", f"  {_nothing(state, seen)}"]
    body += [""] * (room + 1 - len(body))
    return [
        cut(line, screen.width)
        for line in (_title(seen, screen, old), _path(state, seen, table, screen), *body, *_foot(state, table, screen))
    ]


def _title(seen: Seen, screen: Screen, old: str) -> str:
    """How the system is, in a line, and of when that is."""
    status = seen.status
    if not status:
        return f" {clean(old) or 'looking ...'}"
    word, style = state_of(status)
    told = [f"revision {status['revision']}", clean(status["sentence"])]
    if seen.items and any(one.get("memory_bytes") for one in seen.items):
        told += [f"{_sum(seen, 'cpu'):.2f} cores", size(_sum(seen, "memory_bytes")), f"{_sum(seen, 'handled_per_second'):.1f} handled/s"]
    if old:
        told = [screen.paint(clean(old), "yellow")]
    left = f" {screen.paint(clean(status['system']), 'bold')} is {screen.paint(word, style)} · {' · '.join(told)}"
    time = clock_time(seen.at)[11:19]
    space = screen.width - len(plain(left)) - len(time) - 1
    return f"{left}{' ' * space}{time}" if space > 1 else left


def _sum(seen: Seen, field: str) -> float:
    return sum(one.get(field) or 0.0 for one in seen.items)


def _path(state: State, seen: Seen, table: Table, screen: Screen) -> str:
    here = state.here
    steps = []
    for place in state.places:
        name = place.page and f"{place.page} {place.thing}".strip()
        steps.append(name or f"{place.noun}{f' of {place.within}' if place.within else ''}")
    while len(steps) > 1 and len(" › ".join(steps)) > screen.width // 2:  # where one is matters more than how one came there
        del steps[0]
    trail = [*(["…"] if len(steps) < len(state.places) else []), *steps]
    parts = [screen.paint(clean(" › ".join(trail)), "bold")]
    if not here.page:
        parts[0] += f" ({len(table.rows)} of {len(seen.items)})" if here.wanted else f" ({len(table.rows)})"
        if table.headings:
            parts.append(f"by {table.headings[here.sort]} {'↓' if here.down else '↑'}")
        if here.wanted:
            parts.append(f"with {clean(here.wanted)!r}")
    return " " + " · ".join([*parts, *(["paused"] if state.paused else [])])


def _nothing(state: State, seen: Seen) -> str:
    here = state.here
    if seen.place is None or not seen.at:
        return clean(seen.trouble) or "looking ..."
    return f"no {here.noun} with {clean(here.wanted)!r}; escape shows all" if here.wanted else f"no {here.noun}"


def _table(state: State, table: Table, screen: Screen, room: int) -> list[str]:
    shown = [0, *range(1 + state.here.aside, len(table.headings))]
    columns = [(table.headings[n], *(clean(row[n]) or "-" for row in table.rows)) for n in shown]
    widths = [max(map(len, column)) if n + 1 == len(columns) else min(max(map(len, column)), _WIDEST) for n, column in enumerate(columns)]
    numeric = frozenset(at for at, n in enumerate(shown) if n in table.numeric)
    index = state.here.chosen(table.names)
    first = min(max(index - room // 2, 0), max(len(table.rows) - room, 0))
    heading = f"  {_row([column[0] for column in columns], widths, numeric)}"
    if len(heading) > screen.width:
        heading = f"{cut(heading, screen.width - 2)} »"
    lines = [screen.paint(heading, "bold")]
    for n in range(first, min(first + room, len(table.rows))):
        cells = [column[n + 1] for column in columns]
        text = _row(cells, widths, numeric)
        marked = screen.paint(cut(f"> {text}", screen.width).ljust(screen.width), "reverse")
        lines.append(marked if n == index else f"  {_coloured(cells, text, screen)}")
    return lines


def _row(cells: Sequence[str], widths: Sequence[int], numeric: frozenset[int]) -> str:
    texts = []
    for n, (one, width) in enumerate(zip(cells, widths, strict=True)):
        short = one if len(one) <= width else f"{one[: width - 1]}…"
        texts.append(short.rjust(width) if n in numeric else short.ljust(width))
    return (" " * _GAP).join(texts).rstrip()


def _coloured(row: Sequence[str], text: str, screen: Screen) -> str:
    """The first cell that is a state, in its colour."""
    word = next((one for one in row[1:] if style_of(one)), "")
    return (
        re.sub(rf"(?<=  ){re.escape(word)}(?=  |$)", lambda found: screen.paint(found[0], *style_of(word)), text, count=1) if word else text
    )


def paged(place: Place, seen: Seen) -> Sequence[str]:
    """All lines of a page."""
    return [f"{keys.ljust(16)}{what}" for keys, what in HELP] if place.page == "help" else seen.lines


def _page(state: State, seen: Seen, room: int) -> list[str]:
    lines = paged(state.here, seen)
    if not lines:
        return ["", f"  {clean(seen.trouble) or ('nothing yet' if seen.place else 'looking ...')}"]
    start = state.here.first(len(lines), room)
    return [f" {line}" for line in _aside(lines[start : start + room], state.here.aside * _STEP)]


def _aside(lines: Sequence[str], columns: int) -> Sequence[str]:
    """Lines without so many of their first columns, and without colours then."""
    return [plain(line)[columns:] for line in lines] if columns else lines


def _foot(state: State, table: Table, screen: Screen) -> list[str]:
    """What is typed or said, or the next useful command; and the keys."""
    here = state.here
    if state.typing:
        what = "rows with" if state.typing == "/" else "go to"
        return [f" {what} {state.typing}{clean(state.typed)}{screen.paint(' ', 'reverse')}", screen.paint(" enter · escape", "dim")]
    keys = screen.paint(f" {_fitting(_PAGE_KEYS if here.page else _KEYS, screen.width - 1)}", "dim")
    if state.said:
        return [screen.paint(f" {clean(state.said)}", "yellow"), keys]
    if here.page or not table.items:
        return ["", keys]
    command = following(here.noun, [table.items[here.chosen(table.names)]])
    return [f" {screen.paint('next:', 'dim')} {clean(command)}", keys]


def _fitting(keys: Sequence[str], width: int) -> str:
    """As many as there is room for."""
    return next((text for n in range(len(keys), 0, -1) if len(text := " · ".join(keys[:n])) <= width), keys[0])


def plain(text: str) -> str:
    """Without colours."""
    return "".join(SGR.split(text))
