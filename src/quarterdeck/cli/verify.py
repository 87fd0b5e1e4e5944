"""`qd journal verify`: the offline verdict on a journal. It needs no control plane and trusts none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.render import show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.errors import NotFound, UserError

if TYPE_CHECKING:
    from quarterdeck.store.chain import Head
    from quarterdeck.store.verify import Verdict


def verify(
    session: Session,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", show_default=False, help="A database or an export; this home's store without it.")
    ] = None,
    head: Annotated[Path | None, typer.Option("--head", metavar="FILE", help="What qd journal head -o json printed: head and key.")] = None,
    key: Annotated[str | None, typer.Option(metavar="HEX", help="The public key that must have signed it.")] = None,
) -> int:
    """Find any changed, removed, reordered or cut off record. Exit 1 when there is one. What is not proven is said.

    $ qd journal verify
    $ qd journal verify journal.jsonl --head kept-elsewhere.json
    $ qd journal verify journal.jsonl --key "$(cat journal.pub)"
    """
    from quarterdeck.store.verify import verify as judge  # noqa: PLC0415 SQLAlchemy, for this alone
    from quarterdeck.store.verify import verify_home  # noqa: PLC0415

    kept, kept_key = _kept(head) if head else (None, None)
    key = key or kept_key
    verdict = judge(file, expected_head=kept, key=key) if file else verify_home(session.home, expected_head=kept, key=key)

    show(session, verdict.document(), lambda screen: _text(screen, verdict), name=_name(verdict))
    if not verdict.ok:
        session.say("keep it as it is: it is evidence")
    session.next("qd journal head -o json > kept-elsewhere.json" if verdict.ok else "qd journal export evidence.jsonl · qd doctor")
    return 0 if verdict.ok else 1


def _name(verdict: Verdict) -> str:
    return ("unproven" if verdict.unproven else "ok") if verdict.ok else "broken"


def _text(screen: Screen, verdict: Verdict) -> None:
    for problem in verdict.problems:
        screen.line(f"{screen.paint('✘', 'red')} {clean(problem)}")
    for doubt in verdict.unproven:
        screen.line(f"{screen.paint('!', 'yellow')} not proven: {clean(doubt)}")
    match _name(verdict):
        case "ok":
            word = screen.paint("✔ verified", "green")
        case "unproven":
            word = screen.paint("! sound in itself", "yellow")
        case _:
            word = screen.paint(f"✘ {len(verdict.problems)} problems", "red")
    signed = f"signed up to record {verdict.signed} by {clean(verdict.key[:16])}" if verdict.signed else "none of them signed"
    screen.line(f"{word}: {verdict.records} records, head {verdict.head.seq} {clean(verdict.head.hash[:16])}, {signed}")


def _kept(path: Path) -> tuple[Head, str | None]:
    """The head, and the key where it was noted."""
    from quarterdeck.store.chain import Head  # noqa: PLC0415 with the verifier

    try:
        found = json.loads(path.read_text())
        return Head(int(found["seq"]), str(found["hash"]), 0.0), str(found.get("key") or "") or None
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", hint="make one with qd journal head -o json") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no journal head", hint="make one with qd journal head -o json") from error
