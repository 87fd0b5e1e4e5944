"""What all pages share: the frame with its navigation, the way from a route to HTML, and the headers that keep hostile text harmless.

Every page is whole without JavaScript and has a URL of its own; with it the page is fetched again when the journal grows.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from quarterdeck.api.csrf import csrf_of
from quarterdeck.api.roles import permits
from quarterdeck.clock import iso
from quarterdeck.model.grant import Grant
from quarterdeck.web.actions import ACTIONS, Wish, order
from quarterdeck.web.inner import Api, Json, Query, address
from quarterdeck.web.spark import spark
from quarterdeck.web.text import compact, counted, exact, finalize, harmless, pretty, standing, turned_out

HERE: Final = Path(__file__).parent
OWN: Final = ("script-src", "style-src", "img-src", "connect-src", "form-action", "manifest-src")
NONE: Final = ("default-src", "base-uri", "frame-ancestors", "object-src")
CSP: Final = "; ".join([*(f"{name} 'none'" for name in NONE), *(f"{name} 'self'" for name in OWN)])
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a form without scripts is posted with `Origin: null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
STATES: Final = {
    "ready": "ready", "done": "ready", "true": "ready", "open": "ready", "healthy": "ready", "passed": "ready", "live": "ready",
    "starting": "starting", "running": "starting", "pending": "pending", "stopped": "pending", "ended": "pending", "expired": "pending",
    "reverted": "pending", "draining": "draining", "quarantined": "quarantined", "failed": "failed", "false": "failed", "down": "failed",
    "queued": "pending", "waiting": "draining", "started": "starting", "dead": "failed", "cancelled": "pending", "answered": "ready",
    "refused": "failed", "degraded": "draining", "unknown": "draining", "closed": "pending", "half-open": "draining",
    "sent": "starting", "behind": "pending", "not ready": "starting", "restarted": "pending",
}  # fmt: skip
"""The state of anything → one of the six marks, which differ in shape as well as in colour."""


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation. `key` follows `g` on the keyboard."""

    name: str
    path: str
    key: str
    words: str


PLACES: Final = (
    Place("Overview", "/", "o", "is it well, and what is wrong first"),
    Place("Deployments", "/deployments", "d", "phases, revisions, rollback"),
    Place("Clusters", "/clusters", "c", "clusters, agents, replicas"),
    Place("Links", "/links", "l", "who may talk to whom, and how it goes"),
    Place("Changes", "/changes", "h", "who changed what, why and until when"),
    Place("Journal", "/journal", "j", "everything that happened, in order"),
    Place("Tasks", "/tasks", "t", "work that the fleet was given"),
    Place("Waiting for you", "/waiting", "w", "what a task asks a human"),
    Place("Messages", "/messages", "m", "what waits to be handled, and what nobody could handle"),
    Place("Budgets", "/budgets", "b", "what work may cost, has cost, and is held back for"),
    Place("Traces", "/traces", "x", "one task through all agents"),
    Place("Alerts", "/alerts", "a", "what asks for a human"),
    Place("Silences", "/silences", "n", "alerts that are kept quiet, and until when"),
    Place("Incidents", "/incidents", "i", "what went wrong, and why"),
    Place("Objectives", "/objectives", "v", "what was promised, and what is left of its error budget"),
    Place("Scaling", "/scaling", "s", "forecast and actual"),
    Place("Recovery", "/recovery", "r", "how long failures take to heal"),
    Place("Drills", "/drills", "y", "failures caused on purpose, and what they proved"),
    Place("Calendar", "/calendar", "f", "when changes are allowed, frozen and due"),
    Place("Contacts", "/contacts", "k", "whom to reach about what"),
    Place("Evals", "/evals", "q", "how good answers are"),
    Place("Schedules", "/schedules", "u", "work that is given again and again"),
    Place("Compliance", "/compliance", "p", "who may, who did, who approved"),
    Place("Settings", "/settings", "e", "tokens, weakenings, versions"),
)


@dataclass(frozen=True, slots=True)
class Copy:
    """The same thing elsewhere: a command, and a request to the API, which of a POST has a body. `of_all`: it is of no system.

    `whole`: what the page leaves out, neither can: they give everything of its kind.
    """

    command: str
    source: str
    method: str = "GET"
    body: Json | None = None
    of_all: bool = False
    whole: bool = False

    def of(self, system: str | None) -> Copy:
        """With the system named, without which neither means anything where several run."""
        if not system or self.of_all:
            return self
        named = f"{self.command} -s {system}"
        if self.body is not None:
            return replace(self, command=named, body={"system": system, **self.body})
        mark = "&" if "?" in self.source else "?"
        return replace(self, command=named, source=f"{self.source}{mark}system={system}")

    @property
    def options(self) -> str:
        """What curl is told besides the address."""
        said = [] if self.method == "GET" else ["-X", self.method]
        if self.body is not None:
            said += ["-H", "Content-Type: application/json", "-d", json.dumps(self.body)]
        return "".join(f"{shlex.quote(word)} " for word in said)


ANY_WORK: Final = "*"


@dataclass(frozen=True, slots=True)
class View:
    """A page in the making: the way to the API, the systems there are, the time (epoch seconds), and how much waits for a human.

    `gone`: how many effects are unknown of each system that was taken down, besides the one that the page is of.
    """

    api: Api
    systems: tuple[Json, ...]
    now: float
    for_humans: Json
    gone: Json

    @classmethod
    async def of(cls, request: Request) -> View:
        """For the system of the query, else the first there is."""
        systems = tuple(await Api(request).items("/v1/systems"))
        asked = request.query_params.get("system")
        api = Api(request, asked or (systems[0]["name"] if systems else None))
        counts = await api.get("/v1/tasks/counts")  # of all systems where none is deployed: work outlives its system
        return cls(api, systems, request.app.state.services.clock.now(), counts["for_humans"], counts["gone"])

    @property
    def grant(self) -> Grant:
        """What its reader may do, and where."""
        found: Grant = self.api.request.scope["grant"]
        return found

    def may(self, method: str, path: str) -> bool:
        """Whether its reader would be let in there, by what the route itself asks for."""
        return permits(self.api.request.app.table, self.api.request.scope, method, path.partition("#")[0].partition("?")[0])

    def can(self, verb: str, target: str | int) -> bool:
        """Whether its reader may do that to a target."""
        asked = order(ACTIONS[verb], Wish(str(target), "", "", ""))
        return self.may("POST", f"/act/{verb}") and self.may(asked.method, asked.path)

    def link(self, path: str, **query: Query) -> str:
        """A path of this dashboard, with the system where there are several."""
        return address(path, **{"system": self._named, **query})

    def qd(self, words: str) -> str:
        """A command, which has to name the system where there are several."""
        return f"qd {words} -s {self._named}" if self._named else f"qd {words}"

    @property
    def _named(self) -> str | None:
        """The system, where there are several."""
        return self.api.system if len(self.systems) > 1 else None

    def html(
        self, template: str, title: str, copy: Copy, *, code: int = 200, every: float = 10.0, follows: str = "", **facts: object
    ) -> HTMLResponse:
        """The page in its frame. `every` is how many seconds it may grow old without news; 0 leaves it alone.

        `follows`: the root task whose news it waits for, or ANY_WORK; without it, it waits for news of the journal.
        """
        url = self.api.request.url
        frame = {
            "places": [place for place in PLACES if self.may("GET", place.path)],
            "systems": self.systems,
            "system": self.api.system,
            "state": next((s for s in self.systems if s["name"] == self.api.system), None),
            "link": self.link,
            "qd": self.qd,
            "may": self.may,
            "can": self.can,
            "place": self.grant.place,
            "now": self.now,
            "title": title,
            "for_humans": self.for_humans,
            "gone": self.gone,
            "waiting": sum((*self.for_humans.values(), *self.gone.values())),
            "copy": replace(copy.of(self._named), whole=copy.whole or "filter" in self.api.request.query_params),
            "every": every,
            "follows": follows,
            "path": url.path,
            "here": f"{url.path}?{url.query}" if url.query else url.path,
            "csrf": csrf_of(self.api.request),
            "typed": {},
            "worries": (),
        }
        text = PAGES.get_template(template).render({**frame, **facts})
        return HTMLResponse(text, status_code=code, headers=HEADERS)


def _mark(state: object) -> str:
    return STATES.get(str(state).lower(), "pending")


def _seconds(value: float | None) -> str:
    """A duration in the largest unit that leaves it readable."""
    if value is None:
        return ""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{value / size:.0f} {unit}"
    return f"{value * 1000:.0f} ms" if value < 0.1 else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"  # noqa: PLR2004 digits shown


def _bytes(value: float | None) -> str:
    if value is None:
        return ""
    for size, unit in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} B"


def _rate(value: float | None) -> str:
    """A number a second; a question mark where nobody can tell."""
    return "?" if value is None else f"{value:.1f}"


def _moment(seconds: float | None, now: float) -> str | None:
    """The ISO time that was so many seconds ago."""
    return None if seconds is None else iso(now - seconds)


def _ago(at: str | None, now: float) -> str:
    """How long ago an ISO time was, for people; the time itself goes beside it."""
    if not at:
        return ""
    past = now - datetime.fromisoformat(at).timestamp()
    return f"in {_seconds(-past)}" if past < -1 else "now" if past < 1 else f"{_seconds(past)} ago"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"mark": _mark, "seconds": _seconds, "bytes": _bytes, "ago": _ago, "rate": _rate, "compact": compact, "spark": spark}
    made.filters |= {"moment": _moment, "harmless": harmless, "exact": exact, "pretty": pretty, "counted": counted}
    made.filters |= {"turned_out": turned_out, "standing": standing}
    return made


PAGES: Final = _environment()
