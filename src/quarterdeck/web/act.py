"""Actions: a form, the plan it would lead to, and the same Change or rollback that the command makes. Works without JavaScript."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.web.actions import ACTIONS, Action, Wish, command, order
from quarterdeck.web.inner import Json, Refused, address
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)


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
        return view.html("stopped.html", f"Stop {wish.target.rstrip(':')}", _copy(action, wish), every=0.0, proof=done, wish=wish)
    return RedirectResponse(view.link(await _next(view, action, done)), status_code=303)


async def _perform(view: View, action: Action, wish: Wish, *, dry: bool) -> Json:
    wish.check(action)
    asked = order(action, wish)
    how = {"dry_run": dry} if asked.plans else {}
    if asked.method == "DELETE":
        return await view.api.delete(asked.path, **asked.says, **how)
    return await view.api.post(asked.path, **asked.says, **how)


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
    title = f"{action.title} {wish.target}".strip()
    code = error.status if error else 200
    return view.html("act.html", title, _copy(action, wish), code=code, every=0.0, action=action, wish=wish, plan=plan, error=error)


def _copy(action: Action, wish: Wish) -> Copy:
    """The deed itself, not its plan."""
    filled = wish.filled(action)
    asked = order(action, filled)
    if asked.method == "DELETE":
        return Copy(command(action, filled), address(asked.path, **asked.says), asked.method)
    return Copy(command(action, filled), asked.path, asked.method, {key: value for key, value in asked.says.items() if value is not None})


def _action(verb: str) -> Action:
    if verb not in ACTIONS:
        raise Refused(404, f"there is no action {verb}", f"there are {', '.join(ACTIONS)}")
    return ACTIONS[verb]
