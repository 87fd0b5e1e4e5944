"""`qd explain 'a->b'`: what a link allows, how its breakers stand, what goes over it, and what was proven and done about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from quarterdeck.cli.render import amount, counted, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.sections import condition_line, headed, record_line, section, step_line
from quarterdeck.cli.session import Session
from quarterdeck.client.wire import Document
from quarterdeck.errors import NotFound
from quarterdeck.model.wording import nearest
from quarterdeck.version import API_VERSION

_RECORDS: Final = 5
_WIDTH: Final = 12


def explain_link(session: Session, target: str) -> None:
    """One screen about a link, named as `qd get links` names it."""
    session, name = session.aimed_at(target)
    link = found_link(session, name)
    conditions = session.client.get("/v1/conditions", {"system": session.system})["items"]
    newest = {"system": session.system, "target": name, "limit": _RECORDS, "newest": True}
    steps = session.client.get("/v1/journal", {**newest, "verb": "step."})["items"]
    document = {
        "apiVersion": API_VERSION,
        "kind": "Explanation",
        "target": name,
        "sentence": _sentence(link),
        "link": link,
        "carried_out": next((one for one in steps if one["verb"].startswith("step.") and one["outcome"] != "begun"), None),
        "conditions": [one for one in conditions if one["target"] == name],
        "journal": session.client.get("/v1/journal", newest)["items"],
    }
    show(session, document, lambda screen: screen.lines(*_drawn(document, screen)), name=name)
    session.next(f"qd validate · qd journal --target '{name}' · qd explain {link['to']}")


def found_link(session: Session, name: str) -> Document:
    """The link of that name. Raises NotFound with the nearest."""
    links: dict[str, Document] = {one["name"]: one for one in session.client.get("/v1/links", {"system": session.system})["items"]}
    if name not in links:
        near = nearest(name, links)
        hint = "qd get links lists them; without a link nothing passes between two clusters"
        raise NotFound(f"there is no link {name!r}" + (f"; did you mean {near!r}?" if near else ""), hint=hint)
    return links[name]


def _sentence(link: Document) -> str:
    """Whether messages pass, and what keeps them where they do not."""
    circuits = link.get("circuits") or {}
    if not link["open"]:
        return f"closed: nothing passes from {link['from']} to {link['to']} until it is opened"
    cut = circuits.get("open", 0)
    return f"open, cut off for {counted(cut, 'replica')} by the breaker" if cut else "open"


def _drawn(document: Document, screen: Screen) -> list[str]:
    link = document["link"]
    sections = (
        ("Policy", [f"timeout {amount('timeout', link['timeout'])}, at most {counted(link['attempts'], 'attempt')}"]),
        ("Breaker", list(_breaker(link))),
        ("Traffic", [_traffic(link)]),
        ("Carried out", [step_line(document["carried_out"])] if document["carried_out"] else []),
        ("Conditions", [condition_line(one, document["target"]) for one in document["conditions"]]),
        ("Journal", [record_line(one) for one in document["journal"]]),
    )
    return [*headed(screen, document), *(line for title, rows in sections for line in section(screen, title, rows, _WIDTH))]


def _breaker(link: Document) -> Iterator[str]:
    """When it opens, and how the breakers of the replicas that send stand."""
    rule, circuits = link["breaker"], link.get("circuits") or {}
    yield (
        f"opens after {counted(rule['failures'], 'failure')}, tries {counted(rule['probes'], 'message')} again "
        f"after {amount('reset', rule['reset'])}"
    )
    if any(circuits.values()):
        yield ", ".join(f"{clean(state)} at {counted(n, 'replica')}" for state, n in circuits.items() if n)


def _traffic(link: Document) -> str:
    if link.get("sent") is None:
        return "cannot be seen now: no replica tells of it"
    rates = f"{link['per_second']:g} a second, of which {link.get('failed_per_second') or 0:g} failed"
    return f"{rates}; {counted(link['sent'], 'message')} since the replicas that run now began"
