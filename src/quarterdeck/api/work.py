"""Ask an agent something from outside."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from quarterdeck.api.roles import needs
from quarterdeck.api.services import Given
from quarterdeck.errors import UserError

router = APIRouter(prefix="/v1")


class AskBody(BaseModel):
    """`target` is `cluster/agent` or `cluster/agent-n`; `timeout` is seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = None
    target: str = Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_-]+$", max_length=200)
    verb: str = Field(pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$", max_length=63)
    payload: JsonValue = None
    timeout: float = Field(default=10.0, gt=0, le=600)


@router.post("/ask", **needs("operator", scope="cluster"))
async def ask(body: AskBody, given: Given) -> dict[str, Any]:
    """One question over the bus, in the control plane's own name; at most once."""
    system = given.fleet.one(body.system)
    given.grant.require(system, body.target)
    desired = given.fleet.desired(system)
    agents = {w.name for w in desired.workloads} if desired else set()
    if body.target not in agents and body.target.rpartition("-")[0] not in agents:
        raise UserError(f"{system} has no agent {body.target}", hint=f"agents: {', '.join(sorted(agents))}")
    reply = await given.ask(system, body.target, body.verb, body.payload, body.timeout)
    return {"reply": reply.value, "from": reply.replica, "ms": round(reply.ms, 2)}
