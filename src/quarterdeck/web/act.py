"""Actions: a form, the plan it would lead to, and the same Change or rollback that the command makes. Works without JavaScript."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.web.fleet import agent_page
from quarterdeck.web.inner import Json, Refused
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Action:
    """One action: the words of its form, and the field of the Change it makes (empty: not a Change)."""

    verb: str
    title: str
    says: str
    field: str = ""
    button: str = ""


ACTIONS: Final = {
    a.verb: a
    for a in (
        Action("scale", "Scale", "Another number of replicas, started or drained one by one.", "replicas", "Scale"),
        Action("restart", "Restart", "Each replica is replaced by a fresh one, without losing a message.", "restart_before", "Restart"),
        Action(
            "quarantine",
            "Quarantine",
            "It gets no work and is kept for inspection; another takes its place.",
            "quarantined",
            "Quarantine",
        ),
        Action("release", "Release", "Its holds and its quarantine end; a fresh replica takes the place of a suspect.", button="Release"),
        Action("stop", "Stop", "All of it is ended now and stays so over every restart, until it is started.", button="Stop now"),
        Action("start", "Start", "It runs again, and what waits in its queue is done.", button="Start"),
        Action("hold", "Hold", "All automation keeps its hands off until this change ends.", "hold", "Hold"),
        Action("revert", "Revert", "The change ends now; what it set goes back to what holds without it.", button="Revert"),
        Action("rollback", "Roll back", "An earlier revision becomes the current one again, code included.", button="Roll back"),
        Action("validate", "Prove again", "Every proof is run now; nothing is changed.", button="Prove"),
    )
}
HINT: Final = "a time in the future as 2026-11-28T18:00, UTC"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the form says."""

    target: str
    value: str
    reason: str
    until: str

    def must_say_why(self) -> None:
        """Raise Refused without a reason."""
        if not self.reason:
            raise Refused(400, "say why", "the reason is kept in the journal and shown wherever the change matters")

    def change(self, action: Action) -> Json:
        """The body of the Change. Raises Refused for what is no number or no time."""
        return {
            "target": self.target,
            "field": action.field,
            "value": self._value(action),
            "reason": self.reason,
            "until": self._until(),
        }

    def _value(self, action: Action) -> int | bool | None:
        if action.verb == "restart":
            return None
        if action.verb != "scale":
            return True
        if not self.value.isdecimal():
            raise Refused(400, f"{self.value!r} is no number of replicas", "0 or more")
        return int(self.value)

    def _until(self) -> float | None:
        if not self.until:
            return None
        try:
            return datetime.fromisoformat(self.until).replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise Refused(400, f"{self.until!r} is no time", HINT) from None


@router.get("/act/{verb}", **needs("operator", scope="cluster"))
async def form(request: Request, verb: str, target: str = "", value: str = "") -> HTMLResponse:
    """The form of an action."""
    view = await View.of(request)
    return _form(view, _action(verb), Wish(target, value, "", ""))


@router.post("/act/{verb}", response_model=None, **needs("operator", scope="cluster", form=True))
async def act(request: Request, verb: str, fields: Form) -> Response:
    """First the plan; with `confirmed` the deed, and back to what it was done to."""
    view = await View.of(request)
    action, wish = _action(verb), Wish(*(fields.get(name, "").strip() for name in ("target", "value", "reason", "until")))
    confirmed = fields.get("confirmed") == "yes"
    try:
        if verb != "validate":
            wish.must_say_why()
        if not confirmed and verb != "validate":
            return _form(view, action, wish, plan=await _perform(view, action, wish, dry=True))
        done = await _perform(view, action, wish, dry=False)
    except Refused as error:
        blind = verb == "stop" and not confirmed and error.status == 503  # noqa: PLR2004 nobody can foresee it: no reason not to do it
        return _form(view, action, wish, error=error, plan={"steps": []} if blind else None)
    if verb == "stop":
        copy = Copy(_command(action, wish), "/v1/changes")
        return view.html("stopped.html", f"Stop {wish.target.rstrip(':')}", copy, every=0.0, proof=done, wish=wish)
    return RedirectResponse(view.link(await _next(view, action, done)), status_code=303)


async def _perform(view: View, action: Action, wish: Wish, *, dry: bool) -> Json:
    match action.verb:
        case "revert":
            return await view.api.delete(f"/v1/changes/{_number(wish.target)}", reason=wish.reason, dry_run=dry)
        case "release":
            return await view.api.post("/v1/changes/release", target=wish.target, reason=wish.reason, dry_run=dry)
        case "stop" | "start":
            whole = wish.target.endswith(":")
            place = {} if whole else {"target": wish.target}
            return await view.api.post(f"/v1/{action.verb}s{'/fleet' if whole else ''}", **place, reason=wish.reason, dry_run=dry)
        case "rollback":
            return await view.api.post("/v1/rollback", to=_number(wish.target), reason=wish.reason, dry_run=dry)
        case "validate":
            return await view.api.post("/v1/validate", deep=wish.value == "deep")
        case _:
            return await view.api.post("/v1/changes", **wish.change(action), dry_run=dry)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise Refused(400, f"{text!r} is no number", "choose it from the list")
    return int(text)


async def _next(view: View, action: Action, done: Json) -> str:
    """The page where what was done is seen."""
    if action.verb in ("rollback", "validate"):
        return "/deployments"
    if action.verb == "revert":
        return "/changes"
    target = str((done.get("items") or [done])[0]["target"])
    if target.endswith(":"):
        return "/"
    if "/" not in target:
        return f"/clusters/{target}"
    agents = {agent["name"] for agent in await view.api.items("/v1/agents")}  # a name does not tell: an agent may be called worker-2
    return f"/agents/{target}" if target in agents else f"/replicas/{target}"


def _form(view: View, action: Action, wish: Wish, *, plan: Json | None = None, error: Refused | None = None) -> HTMLResponse:
    copy = Copy(_command(action, wish), "/v1/changes")
    title = f"{action.title} {wish.target}".strip()
    code = error.status if error else 200
    return view.html("act.html", title, copy, code=code, every=0.0, action=action, wish=wish, plan=plan, error=error)


def _command(action: Action, wish: Wish) -> str:
    """The same by hand; what came with the address or the form is quoted, for it goes into somebody's shell."""
    if action.verb == "validate":
        return "qd validate --deep" if wish.value == "deep" else "qd validate"
    if action.verb in ("stop", "start"):
        kind = ["fleet"] if wish.target.endswith(":") else ["agent" if "/" in wish.target else "cluster", wish.target]
        return shlex.join(["qd", action.verb, *kind, "--reason", wish.reason or "…"])
    parts = ["qd", action.verb, wish.target, *([wish.value] if action.verb == "scale" and wish.value else [])]
    parts += ["--reason", wish.reason or "…", *(["--until", wish.until] if wish.until else [])]
    return shlex.join(parts)


def _action(verb: str) -> Action:
    if verb not in ACTIONS:
        raise Refused(404, f"there is no action {verb}", f"there are {', '.join(ACTIONS)}")
    return ACTIONS[verb]


@router.post("/agents/{cluster}/{agent}", **needs("operator", scope="cluster", form=True))
async def send(request: Request, cluster: str, agent: str, fields: Form) -> HTMLResponse:
    """Try an agent: one request, and its answer below the box."""
    view = await View.of(request)
    name = f"{cluster}/{agent}"
    verb, payload = fields.get("verb", ""), fields.get("payload", "")
    sent = {"verb": verb, "payload": payload}
    try:
        value = json.loads(payload) if payload.strip() else None
    except ValueError as error:
        return await agent_page(view, name, sent=sent, answer={"error": f"this is no JSON: {error}", "hint": "text goes into quotes"})
    try:
        answer = await view.api.post("/v1/ask", target=name, verb=verb, payload=value, timeout=20.0)
    except Refused as error:
        return await agent_page(view, name, sent=sent, answer={"error": error.message, "hint": error.hint})
    return await agent_page(view, name, sent=sent, answer={**answer, "text": json.dumps(answer["reply"], indent=2, ensure_ascii=False)})
