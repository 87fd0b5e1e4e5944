"""The FastAPI application: routes of all nouns over one set of services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

from quarterdeck.api import (
    blobs,
    budgets,
    changes,
    deployment,
    device,
    differences,
    errors,
    happenings,
    health,
    journal,
    login,
    logs,
    messages,
    metrics,
    nouns,
    signin,
    stops,
    tasks,
    tokens,
    work,
)
from quarterdeck.api.orders import Direct
from quarterdeck.api.roles import OPEN, Table, admit, needs
from quarterdeck.api.services import Services
from quarterdeck.errors import QuarterdeckError

_FOREIGN: Final = frozenset({"HTTPValidationError", "ValidationError"})
"""What FastAPI says of malformed requests, which here have the shape of every refusal."""
_REFUSED: Final = {"description": "A refusal", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}}
Draw = Callable[[Request, QuarterdeckError], Awaitable[Response]]
"""How the pages show a refusal, to somebody who is known."""
description = APIRouter(include_in_schema=False)


class Api(FastAPI):
    """Takes routers in route by route: newer FastAPI keeps them whole, and its route table then hides what each route asks for.

    `draw` is the pages', who are above and set it.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.table = Table(self.routes)
        self.draw: Draw | None = None

    def include_router(self, router: APIRouter, **options: Any) -> None:
        """Add the routes of a router, which carries its own prefix."""
        if options:
            msg = f"a router has its own options: {', '.join(options)}"
            raise TypeError(msg)
        self.router.routes.extend(router.routes)

    def openapi(self) -> dict[str, Any]:
        """The description of the API; every operation refuses in the one shape of errors.py."""
        if self.openapi_schema is None:
            document = super().openapi()
            schemas = document["components"]["schemas"]
            document["components"]["schemas"] = {**{k: v for k, v in schemas.items() if k not in _FOREIGN}, "Refusal": errors.REFUSAL}
            document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            for operation in (o for path in document["paths"].values() for o in path.values()):
                operation["responses"] = {**{k: v for k, v in operation["responses"].items() if k != "422"}, "default": _REFUSED}
                for answer in operation["responses"].values():
                    answer.get("content", {}).get("text/event-stream", {}).pop("schema", None)  # FastAPI says a string: it is many events
                operation["security"] = [] if operation.get("x-role") == OPEN else [{"token": []}]
        return self.openapi_schema or document

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Whoever calls, the guard or a page from inside: the rule of the route comes first."""
        if scope["type"] == "http":
            try:
                route = admit(self.table, scope)
            except QuarterdeckError as error:
                response = await self._turned_away(error, Request({**scope, "app": self}, receive))
                await response(scope, receive, send)
                return
            if scope["method"] == "HEAD":  # the exchange leaves the body away
                scope = {**scope, "method": "GET"}
            if isinstance(route, APIRoute) and route.response_class is Direct:
                await self._directly(route, scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    async def _turned_away(self, error: QuarterdeckError, request: Request) -> Response:
        """In the frame of the pages for somebody who is known and opened one, else as everywhere."""
        opened = request.method == "GET" and errors.wants_page(request.scope)
        if opened and self.draw is not None and request.scope.get("grant") is not None:
            page = await self.draw(request, error)
            page.headers.update(errors.headers_of(error))
            return page
        return errors.turned_away(error, request.scope)

    async def _directly(self, route: APIRoute, scope: Any, receive: Any, send: Any) -> None:
        """Without what FastAPI does for a route, which costs twice as much as keeping a task."""
        scope["app"] = self
        try:
            response = await route.endpoint(Request(scope, receive))
        except QuarterdeckError as error:
            response = errors.refuse(error)
        except RequestValidationError as error:
            response = errors.refuse(errors.malformed(error))
        except ClientDisconnect:  # nobody is there to be answered
            return
        await response(scope, receive, send)


@description.get("/openapi.json", **needs("viewer", scope="cluster"))
async def openapi(request: Request) -> dict[str, Any]:
    """The description of the API, with the role and scope that each route asks for."""
    found: dict[str, Any] = request.app.openapi()
    return found


def build(services: Services) -> Api:
    """Every route of the control plane. Who may call it is said at each route and decided before it runs."""
    about = "Deploy and operate fleets of AI agents. `x-role` and `x-scope` of each operation say who may call it."
    app = Api(title="Quarterdeck", version="v1alpha1", description=about, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.services = services
    errors.install(app)
    for part in (
        deployment,
        nouns,
        differences,
        budgets,
        changes,
        journal,
        logs,
        work,
        happenings,
        tasks,
        blobs,
        messages,
        stops,
        tokens,
        login,
        device,
        signin,
        health,
        metrics,
    ):
        app.include_router(part.router)
    app.include_router(description)
    return app
