"""A task run again: what would be kept, what would be done again, and the form that does it. Works without JavaScript."""

from __future__ import annotations

import shlex
from typing import Annotated, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.web.inner import Json, Refused
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)
WORDS: Final = {
    "step": "step",
    "part": "part that was delegated",
    "question": "question to a human",
    "sent": "given to others",
    "effect": "effect",
}
"""What each kind of thing is that a task recorded."""
POINTS: Final = ("step", "part", "question")
"""From which a task can be run again."""


@router.get("/tasks/{task}/fork", **needs("operator", scope="cluster"))
async def form(request: Request, task: str, step: Annotated[str, Query(alias="from")] = "") -> HTMLResponse:
    """What a fork from a step would keep, and what would be done again."""
    return await _page(await View.of(request), task, step)


@router.post("/tasks/{task}/fork", response_model=None, **needs("operator", scope="cluster", form=True))
async def fork(request: Request, task: str, fields: Form) -> Response:
    """Run it again; then to the new task. The form carries the key, so that sending it twice is one fork."""
    view = await View.of(request)
    step, reason = fields.get("from", ""), fields.get("reason", "").strip()
    try:
        if not reason:
            raise Refused(400, "say why", "the reason is kept in the journal")  # noqa: TRY301 shown like any other refusal
        said = {"from": step or None, "key": fields.get("key") or None, "reason": reason}
        made = await view.api.post(_path(task), system=None, **said)
    except Refused as error:
        return await _page(view, task, step, reason=reason, error=error)
    return RedirectResponse(view.link(f"/tasks/{made['id']}"), status_code=303)


async def _page(view: View, task: str, step: str, *, reason: str = "", error: Refused | None = None) -> HTMLResponse:
    plan = None
    try:
        plan = await view.api.post(_path(task), system=None, dry_run=True, **{"from": step or None})
    except Refused as refused:  # where nothing can be planned, the page says why
        error = error or refused
    title = f"Run {task} again"
    begin = ["--from", step] if step else []
    said = {"reason": reason or "WHY", **({"from": step} if step else {})}
    copy = Copy(shlex.join(["qd", "task", "fork", task, *begin, "--reason", reason or "WHY"]), _path(task), "POST", said)
    facts: Json = {"task": task, "step": step, "reason": reason, "plan": plan, "words": WORDS, "points": POINTS}
    return view.html("fork.html", title, copy, code=error.status if error else 200, every=0.0, error=error, **facts)


def _path(task: str) -> str:
    return f"/v1/tasks/{quote(task, safe='')}/fork"
