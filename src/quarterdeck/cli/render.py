"""Documents as tables or text, fitted to the terminal; JSON and YAML are the document as it came."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TextIO

from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Output, Pick, Session

Row = Sequence[str]
GOOD: Final = frozenset({"ready", "done", "passed", "true", "live", "open", "closed", "ok", "healthy", "begun"})
BAD: Final = frozenset({"failed", "false", "dead", "down", "denied"})
FAIR: Final = frozenset({"starting", "running", "pending", "draining", "quarantined", "unknown", "half-open", "degraded"})
PATHS: Final = "-o jsonpath='$.items[*].name' (RFC 9535); for more: -o json | jq"
_GAP: Final = 2
_READABLE: Final = 16
"""Columns that the last cell of a row needs, where it is longer."""
SECONDS: Final = frozenset({"timeout", "reset", "ready_within", "drain", "within", "retry_after"})
SIZES: Final = frozenset({"memory", "bytes", "per_agent_limit", "per_replica_limit"})
TIMES: Final = frozenset(
    {"at", "since", "until", "restart_before", "created", "expires", "created_at", "ended_at", "started_at", "asked_at"}
)
"""Fields of documents whose bare number or text has a unit that people want to see."""


def style_of(word: str) -> tuple[str, ...]:
    """The colour of a state; the word itself is always shown too."""
    lowered = word.lower()
    return ("green",) if lowered in GOOD else ("red",) if lowered in BAD else ("yellow",) if lowered in FAIR else ()


def show(session: Session, document: Any, text: Callable[[Screen], None] | None = None, *, name: str = "") -> None:
    """Print a document as asked for; `text` draws it for people, `name` is what `-o name` prints."""
    match session.output:
        case Output.json:
            dump(document, session.screen.out)
        case Output.yaml:
            dump_yaml(document, session.screen.out)
        case Output.name:
            session.screen.line(clean(name))
        case Pick(path):
            if lines := picked(document, path):
                session.screen.lines(*lines)
        case _ if text is not None:
            text(session.screen)
        case _:  # only programs are told
            pass


def not_a_path(path: str) -> str:
    """What is wrong with a JSONPath (RFC 9535); nothing where it is one. Asked before anything is done."""
    import jsonpath  # noqa: PLC0415 only for this format

    try:
        jsonpath.compile(path)
    except jsonpath.JSONPathError as error:
        return str(error).splitlines()[0]
    return ""


def picked(document: Any, path: str) -> list[str]:
    """What a path finds, a line each: text as it is, all else as JSON."""
    import jsonpath  # noqa: PLC0415 only for this format

    return [clean(one) if isinstance(one, str) else json.dumps(one) for one in jsonpath.findall(path, document)]


def dump(document: Any, out: TextIO, *, indent: int | None = 2) -> None:
    """One JSON document and a line break; ASCII only, so that any terminal is safe from what is in it."""
    print(json.dumps(document, indent=indent), file=out, flush=True)


def dump_yaml(document: Any, out: TextIO) -> None:
    """One YAML document; control characters come out escaped."""
    from ruamel.yaml import YAML  # noqa: PLC0415 only for this format

    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = False
    yaml.dump(document, out)
    out.flush()


def table(screen: Screen, columns: Row, rows: Iterable[Row]) -> None:
    """Columns with a heading; in a pipe nothing is cut and nothing is folded.

    On a terminal the last column folds; where that is not enough, columns that say nothing are left out, and then each row becomes a
    paragraph: its first cell, then the others with their headings.
    """
    cells = [[clean(cell) or "-" for cell in row] for row in rows]
    widths, room = _measured(screen, columns, cells)
    if room < min(widths[-1], _READABLE):
        said = [n for n in range(len(columns)) if n == 0 or any(row[n] != "-" for row in cells)]
        columns, cells = [columns[n] for n in said], [[row[n] for n in said] for row in cells]
        widths, room = _measured(screen, columns, cells)
    if room < min(widths[-1], _READABLE):
        screen.lines(*(line for row in cells for line in _paragraph(screen, columns, row)))
        return
    heading = _row(columns, widths)
    lines = [screen.paint(heading, "bold")]
    for row in cells:
        first, *more = _folded(row[-1], room)
        lines.append(_row([*row[:-1], first], widths, screen))
        lines += [" " * (sum(widths[:-1]) + _GAP * (len(widths) - 1)) + line for line in more]
    screen.lines(*lines)


def _measured(screen: Screen, columns: Row, cells: Sequence[Row]) -> tuple[list[int], int]:
    """How wide each column is, and how much room is left for the last one."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *cells, strict=True)]
    return widths, screen.width - sum(widths[:-1]) - _GAP * (len(widths) - 1) if screen.width else widths[-1]


def _row(row: Row, widths: Sequence[int], screen: Screen | None = None) -> str:
    """Cells in their columns, states coloured; the last one ends the line."""
    padding = [" " * (width - len(cell) + _GAP) for cell, width in zip(row, widths, strict=True)][:-1]
    painted = [screen.paint(cell, *style_of(cell)) for cell in row] if screen else row
    return "".join(f"{cell}{space}" for cell, space in zip(painted, [*padding, ""], strict=True)).rstrip()


def _folded(text: str, room: int) -> list[str]:
    if len(text) <= room:
        return [text]
    import textwrap  # noqa: PLC0415 only where something does not fit

    return textwrap.wrap(text, room, break_on_hyphens=False) or [text]


def _paragraph(screen: Screen, columns: Row, row: Row) -> list[str]:
    """`analysts/analyst-0`, and below it `state ready · pid 15916`; cells that say nothing are left out."""
    told = [f"{name.lower()} {cell}" for name, cell in zip(columns[1:], row[1:], strict=True) if cell != "-"]
    lines: list[str] = []
    for part in told:
        joined = f"{lines[-1]} · {part}" if lines else part
        if lines and len(joined) + 2 <= screen.width:
            lines[-1] = joined
        else:
            lines += _folded(part, screen.width - 2)
    return [*(screen.paint(line, "bold") for line in _folded(row[0], screen.width)), *(f"  {line}" for line in lines)]


def listing(session: Session, document: Mapping[str, Any], columns: Sequence[tuple[str, str]], empty: str) -> None:
    """A List document with the given (heading, dotted field) columns; `empty` tells how to fill it."""
    items = document["items"]
    if session.output is Output.name:
        if items:
            session.screen.lines(*(clean(label(item)) for item in items))
        return
    if not session.machine and not items:
        session.say(empty)
        return
    show(session, document, lambda screen: table(screen, [heading for heading, _ in columns], rows(document, columns)))


def rows(document: Mapping[str, Any], columns: Sequence[tuple[str, str]]) -> list[Row]:
    """The cells of a List document in the given columns."""
    return [[amount(field, pick(item, field)) for _, field in columns] for item in document["items"]]


def label(item: Mapping[str, Any]) -> str:
    """What an item is called."""
    for field in ("name", "id", "number", "seq"):
        if item.get(field) is not None:
            return str(item[field])
    return "/".join(str(item[field]) for field in ("kind", "target") if field in item)


def pick(item: Any, path: str) -> Any:
    """The value at a dotted path, or None."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, Mapping) else None
    return item


def cell(value: Any) -> str:
    """A value in few words."""
    match value:
        case None:
            return ""
        case True | False:
            return str(value).lower()
        case float():
            return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"  # noqa: PLR2004 three figures are enough for people
        case list():
            return ", ".join(cell(one) for one in value)
        case dict():
            return _short(value) or ", ".join(named(key, one) for key, one in value.items() if one is not None)
        case _:
            return str(value)


def _short(value: Mapping[str, Any]) -> str:
    """What documents hold again and again, in its own words; empty for anything else."""
    match value:
        case {"name": str(name), **_rest}:
            return name
        case {"ready": ready, "desired": desired, "max": most, **rest}:
            updated = rest.get("updated", ready)
            told = "" if updated == ready else f", {updated} updated"
            return f"{ready} of {desired}{told}" + ("" if rest.get("min") == most else f" (max {most})")
        case {"agent": agent, "min": least, "max": most}:
            return f"{agent} {least}" + (f" to {most}" if most != least else "")
        case {"from": source, "to": target, **_rest}:
            return f"{source}->{target}"
        case _:
            return ""


def named(field: str, value: Any) -> str:
    """`timeout 5 s`, `database 4 KiB`."""
    label = "size" if field == "bytes" else field.removesuffix("_bytes").replace("_bytes_", "_")
    return f"{label} {amount(field, value)}"


def amount(field: str, value: Any) -> str:
    """The value of a field in few words, with the unit that the field is in."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and field in SECONDS:
        return f"{value:g} s"
    if number and (field in SIZES or field.endswith(("_bytes", "_bytes_limit"))):
        return size(value)
    return clock_time(value) if field in TIMES and value else cell(value)


def counted(count: int, noun: str, many: str = "") -> str:
    """`1 replica`, `2 replicas`; `many` is the plural where an `s` at the end does not make it."""
    return f"{count} {noun if count == 1 else many or f'{noun}s'}"


def size(count: float) -> str:
    """Bytes in the unit that makes them short (IEC 80000-13)."""
    power = min(int(count).bit_length() - 1, 39) // 10 if count >= 1 else 0
    return f"{count / 1024**power:.4g} {('B', 'KiB', 'MiB', 'GiB')[power]}"


def ended(last: Mapping[str, Any] | None) -> str:
    """How a replica ended, in words."""
    if not last:
        return ""
    for sign, word in (("oom", "out of memory"), ("hang", "hung")):
        if last.get(sign):
            return word
    return f"signal {last['signal']}" if last.get("signal") else f"exit {last.get('code')}"


def moment(at: object) -> datetime | None:
    """A time of the API (RFC 3339 text or epoch seconds) in the zone of this machine."""
    if isinstance(at, int | float):
        return datetime.fromtimestamp(at).astimezone()
    try:
        return datetime.fromisoformat(str(at)).astimezone()
    except ValueError:
        return None


def since(at: object, now: float) -> str:
    """How long ago, in one unit."""
    then = moment(at)
    if then is None:
        return ""
    seconds = max(0.0, now - then.timestamp())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def clock_time(at: object) -> str:
    """Date and time with milliseconds in the zone of this machine, as `instant` and `past` read it back.

    Where a clock that was put back shows the same time twice, with its offset.
    """
    then = moment(at)
    if then is None:
        return clean(at)
    bare = then.replace(tzinfo=None)
    return (bare if bare.astimezone() == then else then).isoformat(sep=" ", timespec="milliseconds")


def ending(at: object) -> str:
    """The same of a time that somebody chose: mostly a whole minute."""
    return clock_time(at).removesuffix(":00.000")
