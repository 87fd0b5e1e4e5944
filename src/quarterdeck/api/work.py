"""Ask an agent something from outside."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given, Services
from quarterdeck.errors import NotFound, Transient

router = APIRouter(prefix="/v1")


class Question(BaseModel):
    """`timeout` is seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    verb: str = Field(pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$", max_length=63)
    payload: JsonValue = None
    timeout: float = Field(default=10.0, gt=0, le=600)


class AskBody(Question):
    """`target` is `cluster/agent` or `cluster/agent-n`."""

    target: str = Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_-]+$", max_length=200)


@router.post("/ask", **needs("operator", scope="cluster"))
async def ask(body: AskBody, given: Given) -> dict[str, Any]:
    """One question over the bus, in the control plane's own name; at most once."""
    return await _answered(given, body, body.target)


@router.post("/agents/{cluster}/{agent}/ask", **needs("operator", scope="cluster"))
async def ask_agent(cluster: str, agent: str, body: Question, given: Given) -> dict[str, Any]:
    """The same, for one agent or replica: what `qd get clusters -o json` names as its endpoint."""
    return await _answered(given, body, f"{cluster}/{agent}")


async def _answered(given: Services, question: Question, target: str) -> dict[str, Any]:
    system = given.fleet.one(question.system)
    given.grant.require(system, target)
    desired = given.fleet.desired(system)
    agents = {w.name for w in desired.workloads} if desired else set()
    name = target if target in agents else target.rpartition("-")[0]
    if name not in agents:
        raise NotFound(f"{system} has no agent {target}", hint=f"agents: {', '.join(sorted(agents))}")
    began = given.clock.now()
    try:
        reply = await given.ask(system, target, question.verb, question.payload, question.timeout)
    except Transient as error:
        raise Transient(f"{error.message}{await _ended(given, system, name, began)}", hint=f"qd explain {target}") from error
    return {"reply": reply.value, "from": reply.replica, "ms": round(reply.ms, 2)}


async def _ended(given: Services, system: str, name: str, since: float) -> str:
    """Which replicas ended meanwhile, and why: it may have been the question."""
    try:
        seen = [one for one in await given.fleet.workloads(system) if one.name == name]
    except Transient:  # no engine tells
        return ""
    ends = [(r.name, r.last_exit) for one in seen for r in one.replicas if r.last_exit and r.last_exit.at >= since]
    return "".join(f"; {replica} ended meanwhile: {end.cause}" for replica, end in ends)
