"""Work: tasks and what became of them, dead letters, effects that nobody knows the outcome of, and what waits for a human."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.web.inner import Json, Refused, address
from quarterdeck.web.pages import ANY_WORK, Copy, View
from quarterdeck.web.text import compact
from quarterdeck.web.timeline import below, timeline
from quarterdeck.work.documents import waited

router = APIRouter(include_in_schema=False)
PAGE: Final = 100
STATES: Final = ("queued", "running", "waiting", "unknown", "done", "failed", "dead", "cancelled")
ENDED: Final = ("done", "failed", "dead", "cancelled")
EVENTS: Final = 200
HELPLESS: Final = ("dead", "unknown")
"""States in which a delegated task needs somebody as much as any other."""
DEEDS: Final = ("cancel", "retry", "resolve", "answer")


@dataclass(frozen=True, slots=True)
class Asked:
    """Which tasks the list shows."""

    state: str
    target: str
    key: str
    root: str
    before: int | None
    below: bool = True
    """Also those that were delegated."""
    owner: str = ""
    """The replica that has them, or had them last."""

    @property
    def filters(self) -> dict[str, str | bool | None]:
        """As the API takes them."""
        named = {"state": self.state, "target": self.target, "key": self.key, "root": self.root, "owner": self.owner}
        return {**{name: value or None for name, value in named.items()}, "tops": None if self.below or self.root else True}

    @property
    def command(self) -> str:
        """The same in a shell, of a replica all of its agent's; what came with the address is quoted."""
        given = {"state": self.state, "target": self.target or self.owner.rpartition("-")[0], "key": self.key}
        words = [f"--{name} {shlex.quote(value)}" for name, value in given.items() if value]
        return " ".join(["qd get tasks", *words, *([] if self.below or self.root else ["--tops"])])


@router.get("/tasks", **needs("viewer", scope="cluster"))
async def tasks(  # noqa: PLR0917 one parameter a filter
    request: Request,
    state: str = "",
    target: str = "",
    key: str = "",
    root: str = "",
    owner: str = "",
    before: int | None = None,
    below: bool = False,  # noqa: FBT001, FBT002 a query flag
) -> HTMLResponse:
    """Tasks, the newest first, filtered, a page at a time; those that were delegated only where they are asked for."""
    view = await View.of(request)
    return await _list(view, "Tasks", Asked(state, target, key, root, before, below or state in HELPLESS, owner))


@router.get("/tasks/dead", **needs("viewer", scope="cluster"))
async def dead(request: Request, before: int | None = None) -> HTMLResponse:
    """Tasks that were given up after their last attempt."""
    view = await View.of(request)
    return await _list(view, "Dead letters", Asked("dead", "", "", "", before))


async def _list(view: View, title: str, asked: Asked) -> HTMLResponse:
    query = address("/v1/tasks", **asked.filters)
    page = await view.api.get("/v1/tasks", **asked.filters, before=asked.before, limit=PAGE)
    counts = (await view.api.get("/v1/tasks/counts"))["states"]
    return view.html(
        "tasks.html",
        title,
        Copy(asked.command, query, whole=bool(asked.owner or asked.root)),
        every=10.0 if asked.before is None else 0.0,
        follows=ANY_WORK,
        page=page,
        counts=counts,
        states=STATES,
        asked=asked,
        here_dead=title == "Dead letters",
    )


@router.get("/tasks/unknown", **needs("viewer", scope="cluster"))
async def unknown(request: Request) -> HTMLResponse:
    """Effects that nobody knows the outcome of, each with a form to say it."""
    view = await View.of(request)
    found = await view.api.items("/v1/effects", outcome="unknown")
    return view.html("unknown.html", "Effects unknown", Copy("qd get effects", "/v1/effects"), follows=ANY_WORK, effects=found)


@router.get("/waiting", **needs("viewer", scope="cluster"))
async def waiting(request: Request) -> HTMLResponse:
    """What waits for a human: questions of tasks, effects that are unknown, dead letters."""
    view = await View.of(request)
    found = await view.api.items("/v1/questions")
    return view.html("waiting.html", "Waiting for you", Copy("qd get questions", "/v1/questions"), follows=ANY_WORK, questions=found)


@router.get("/tasks/{task}", **needs("viewer", scope="cluster"))
async def task(request: Request, task: str) -> HTMLResponse:
    """One task: how it stands, what is below it on a line of time, effects, budget, steps, events."""
    view = await View.of(request)
    return await _task_page(view, task)


async def _task_page(view: View, task: str, *, error: Refused | None = None, typed: Mapping[str, str] | None = None) -> HTMLResponse:
    path = f"/v1/tasks/{quote(task, safe='')}"
    tree = await view.api.items(f"{path}/tree")
    found = tree[0]
    history = await view.api.items(f"{path}/history", limit=10_000)
    output = await view.api.items(f"{path}/output")
    return view.html(
        "task.html",
        f"Task {found['key'] or found['id']}",
        Copy(f"qd task get {found['id']} --tree", f"/v1/tasks/{found['id']}/tree"),
        code=error.status if error else 200,
        every=0.0 if error else 60.0 if found["state"] in ENDED else 10.0,
        follows=found["root"],
        task=found,
        ended=found["state"] in ENDED,
        below=below(tree),
        line=timeline(tree, view.now),
        events=[{**event, "more": _more(event)} for event in history[-EVENTS:]],
        earlier=max(len(history) - EVENTS, 0),
        output=output[-EVENTS:],
        error=error,
        typed=typed or {},
    )


def _more(event: Json) -> str:
    """The details of an event in few words: what the row says already, and names that the ledger made up, are left out."""
    detail: Json = event.get("detail") or {}
    if event["event"] == "wait":
        return waited(str(detail.get("reason") or ""))
    kept = {name: value for name, value in detail.items() if name != "parent" and not (name == "key" and str(value).startswith("^"))}
    return compact(kept)


@router.get("/tasks/{task}/{deed}", **needs("viewer", scope="cluster"))
async def form_of(request: Request, task: str, deed: str) -> RedirectResponse:
    """The address that a form was sent to, loaded again or opened: the form is on the page of the task."""
    view = await View.of(request)
    if deed not in DEEDS:
        raise Refused(404, f"nothing is called {deed} here", f"there are {', '.join(DEEDS)}")
    return RedirectResponse(view.link(f"/tasks/{quote(task, safe='')}"), status_code=303)


@router.post("/tasks/{task}/{deed}", response_model=None, **needs("operator", scope="cluster", form=True))
async def act(request: Request, task: str, deed: str, fields: Form) -> Response:
    """Cancel, try again, say what became of an effect, or answer; then back to the task."""
    view = await View.of(request)
    if deed not in DEEDS:
        raise Refused(404, f"nothing is called {deed} here", f"there are {', '.join(DEEDS)}")
    try:
        if deed != "answer" and not fields.get("reason", "").strip():
            raise Refused(400, "say why", "the reason is kept in the journal")  # noqa: TRY301 shown like any other refusal
        await view.api.post(f"/v1/tasks/{quote(task, safe='')}/{deed}", system=None, **_said(deed, fields))
    except Refused as error:
        return await _task_page(view, task, error=error, typed={**fields, "deed": deed})
    return RedirectResponse(view.link(f"/tasks/{quote(task, safe='')}"), status_code=303)


def _said(deed: str, fields: Any) -> Json:
    said: Json = {"reason": fields.get("reason", "").strip()}
    if deed == "resolve":
        said |= {"key": fields.get("key", ""), "outcome": fields.get("outcome", "")}
        value = fields.get("value", "").strip()
        if value and said["outcome"] == "done":
            try:
                said["value"] = json.loads(value)
            except ValueError as error:
                raise Refused(400, f"the value is no JSON: {error}", "text goes into quotes") from error
    if deed == "answer":
        said |= {"answer": fields.get("answer", ""), "name": fields.get("name") or None}
    return said
