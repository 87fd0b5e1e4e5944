"""Health and metrics of the control plane itself."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, PlainTextResponse

from quarterdeck.api.services import Given
from quarterdeck.deploy import status

router = APIRouter()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("pending", "starting", "ready", "draining", "failed", "quarantined", "stopped")


@router.get("/healthz")
async def healthy() -> dict[str, bool]:
    """The process answers."""
    return {"ok": True}


@router.get("/readyz")
async def ready(given: Given) -> JSONResponse:
    """It can also write and reaches its engine."""
    reachable = all(look.world.reachable for look in given.fleet.reconciler.looks.values())
    fit = given.store.writable and reachable
    return JSONResponse({"ok": fit, "writable": given.store.writable, "engine": reachable}, status_code=200 if fit else 503)


@router.get("/metrics")
async def metrics(given: Given) -> PlainTextResponse:
    """Prometheus text format."""
    lines = [
        "# HELP quarterdeck_replicas Replicas by state, as last observed.",
        "# TYPE quarterdeck_replicas gauge",
    ]
    scores = [
        "# HELP quarterdeck_readiness_score Production readiness of a system, 0 to 100.",
        "# TYPE quarterdeck_readiness_score gauge",
    ]
    for name in given.fleet.names():
        look = await given.fleet.look(name)
        seen = [r for w in look.world.workloads for r in w.replicas]
        for namespace in look.desired.namespaces:
            for state in STATES:
                count = sum(r.cluster == namespace.cluster and r.state == state for r in seen)
                lines.append(f'quarterdeck_replicas{{system="{name}",cluster_name="{namespace.cluster}",state="{state}"}} {count}')
        full = status.status(look, given.clock.now(), engine=given.fleet.engine.name, weakenings=())
        scores.append(f'quarterdeck_readiness_score{{system="{name}"}} {full["readiness"]["score"]}')
    head = [
        "# HELP quarterdeck_store_writable Whether the store takes writes.",
        "# TYPE quarterdeck_store_writable gauge",
        f"quarterdeck_store_writable {int(given.store.writable)}",
    ]
    return PlainTextResponse("\n".join((*lines, *scores, *head)) + "\n", media_type=CONTENT_TYPE)
