"""The FastAPI application: routes of all nouns over one set of services."""

from __future__ import annotations

from fastapi import FastAPI

from quarterdeck.api import changes, deployment, errors, health, journal, login, logs, nouns, work
from quarterdeck.api.services import Services


def build(services: Services) -> FastAPI:
    """Every route of the control plane. Who may call it is decided before, in access.py."""
    app = FastAPI(title="Quarterdeck", version="v1alpha1", description=__doc__ or "", docs_url=None, redoc_url=None)
    app.state.services = services
    errors.install(app)
    for part in (deployment, nouns, changes, journal, logs, work, login, health):
        app.include_router(part.router)
    return app
