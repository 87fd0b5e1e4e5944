"""Health of the control plane itself."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from quarterdeck.api.roles import open_to_anyone
from quarterdeck.api.services import Given

router = APIRouter()


@router.get("/healthz", **open_to_anyone())
async def healthy() -> dict[str, bool]:
    """The process answers."""
    return {"ok": True}


@router.get("/readyz", **open_to_anyone())
async def ready(given: Given) -> JSONResponse:
    """It can also write and reaches its engine."""
    reachable = all(look.world.reachable for look in given.fleet.reconciler.looks.values())
    fit = given.store.writable and reachable
    return JSONResponse({"ok": fit, "writable": given.store.writable, "engine": reachable}, status_code=200 if fit else 503)
