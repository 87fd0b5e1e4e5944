"""Actions: a form, the plan it would lead to, and the same Change or rollback that the command makes. Works without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from quarterdeck.api.csrf import Form
from quarterdeck.api.roles import needs
from quarterdeck.model.wording import nearest
from quarterdeck.web.actions import ACTIONS, NUMBERED, Action, Wish, command, order
from quarterdeck.web.inner import Json, Refused, address
from quarterdeck.web.pages import Copy, View

router = APIRouter(include_in_schema=False)
ANY: Final = ("On", "CLUSTER, CLUSTER/AGENT or CLUSTER/AGENT-0")
WANTS: Final = {
    "scale": ("Agent", "CLUSTER/AGENT"),
    "restart": ("Agent", "CLUSTER/AGENT"),
    "quarantine": ("Replica", "CLUSTER/AGENT-0"),
    "stop": ("What", "CLUSTER, CLUSTER/AGENT, or SYSTEM: for all of it"),
    "start": ("What", "CLUSTER, CLUSTER/AGENT, or SYSTEM: for all of it"),
    "revert": ("Change", "its number"),
    "rollback": ("Revision", "its number"),
}
"""What a form asks for that was opened without a target, or with one that is not there: its label and how it is written."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known before anything is done: why it cannot be, and of an agent that is scaled how many replicas it has."""

    trouble: Refused | None = None
    count: Json | None = None


@router.get("/act/{verb}", **needs("operator", scope="cluster"))
async def form(request: Request, verb: str, target: str = "", value: str = "") -> HTMLResponse:
    """The form of an action; of what is not there it says so at once."""
    view, action = await View.of(request), _action(verb)
    wish = Wish(target.strip(), value.strip(), "", "")
    ground = await _ground(view, action, wish)
    if ground.count and not wish.value:
        wish = replace(wish, value=str(ground.count["desired"]))
    return await _form(view, action, wish, ground=ground)


@router.post("/act/{verb}", response_model=None, **needs("operator", scope="cluster", form=True))
async def act(request: Request, verb: str, fields: Form) -> Response:
    """First the plan; with `confirmed` the deed, and back to what it was done to; with `back` the form as it was."""
    view = await View.of(request)
    action, wish = _action(verb), Wish(*(fields.get(name, "").strip() for name in ("target", "value", "reason", "until")))
    if fields.get("back"):
        return await _form(view, action, wish, ground=await _ground(view, action, wish))
    confirmed = fields.get("confirmed") == "yes"
    try:
        if verb != "validate":
            wish.must_say_why()
        if not confirmed and verb != "validate":
            return await _form(view, action, wish, plan=await _perform(view, action, wish, dry=True))
        done = await _perform(view, action, wish, dry=False)
    except Refused as error:
        blind = verb == "stop" and not confirmed and error.status == 503  # noqa: PLR2004 nobody can foresee it: no reason not to do it
        ground = replace(await _ground(view, action, wish), trouble=error)
        return await _form(view, action, wish, ground=ground, plan={"steps": []} if blind else None)
    if verb == "stop":
        return view.html("stopped.html", f"Stop {wish.target.rstrip(':')}", _copy(action, wish), every=0.0, proof=done, wish=wish)
    return RedirectResponse(view.link(await _next(view, action, done)), status_code=303)


async def _ground(view: View, action: Action, wish: Wish) -> Ground:
    """Whether there is what it would be done to. Nothing else is told: a stop must go on whatever cannot be looked at."""
    try:
        return await _looked(view, action, wish)
    except Refused as error:
        return Ground(error) if error.status in (400, 404) else Ground()


async def _looked(view: View, action: Action, wish: Wish) -> Ground:
    if action.verb == "validate" or not wish.target:
        return Ground()
    if action.verb in NUMBERED:
        wish.check(action)
        return await _numbered(view, action, int(wish.target))
    if action.verb == "scale":
        found = {agent["name"]: agent["replicas"] for agent in await view.api.items("/v1/agents")}
        if wish.target in found:
            return Ground(count=found[wish.target])
        near = nearest(wish.target, found)
        hint = f'did you mean "{near}"?' if near else "qd get agents lists what there is"
        raise Refused(404, f'there is no agent "{wish.target}"', hint)
    await view.api.get("/v1/explain", target=wish.target)
    return Ground()


async def _numbered(view: View, action: Action, number: int) -> Ground:
    """A Change, or a revision. Changes are listed up to a number, so of an older one nothing is said."""
    if action.verb == "rollback":
        if number not in {r["number"] for r in await view.api.items("/v1/revisions")}:
            raise Refused(404, f"there is no revision {number}", "choose one that is kept: qd history")
        return Ground()
    listed: list[Json] = await view.api.items("/v1/changes")
    found = next((c for c in listed if c["id"] == number), None)
    if found is None and (not listed or number > listed[0]["id"] or number > listed[-1]["id"] or listed[-1]["id"] == 1):
        raise Refused(404, f"there is no change {number}", "choose one from the list: qd get changes")
    if found is not None and found["state"] != "live":
        raise Refused(404, f"change {number} was {found['state']} before", "only one that is live can be reverted")
    return Ground()


async def _perform(view: View, action: Action, wish: Wish, *, dry: bool) -> Json:
    wish.check(action)
    asked = order(action, wish)
    how = {"dry_run": dry} if asked.plans else {}
    if asked.method == "DELETE":
        return await view.api.delete(asked.path, **asked.says, **how)
    return await view.api.post(asked.path, **asked.says, **how)


async def _next(view: View, action: Action, done: Json) -> str:
    """The page where what was done is seen."""
    if action.verb in ("rollback", "validate", "revert"):
        return await _place(view, action, "")
    return await _place(view, action, str((done.get("items") or [done])[0]["target"]))


async def _place(view: View, action: Action, target: str) -> str:
    """The page of what an action is on."""
    if action.verb in ("rollback", "validate"):
        return "/deployments"
    if action.verb == "revert":
        return "/changes"
    if not target or target.endswith(":"):
        return "/"
    if "/" not in target:
        return f"/clusters/{target}"
    agents = {agent["name"] for agent in await view.api.items("/v1/agents")}  # a name does not tell: an agent may be called worker-2
    return f"/agents/{target}" if target in agents else f"/replicas/{target}"


async def _form(view: View, action: Action, wish: Wish, *, plan: Json | None = None, ground: Ground | None = None) -> HTMLResponse:
    title = f"{action.title} {wish.target}".strip()
    ground = ground or Ground()
    error = ground.trouble
    facts: Json = {
        "action": action,
        "wish": wish,
        "plan": plan,
        "error": error,
        "count": ground.count,
        "wants": WANTS.get(action.verb, ANY),
    }
    back = await _place(view, action, wish.target) if error is None or error.status != 404 else "/"  # noqa: PLR2004 not found
    code = error.status if error else 200
    return view.html("act.html", title, _copy(action, wish), code=code, every=0.0, back=back, **facts)


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
