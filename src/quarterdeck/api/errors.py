"""One shape for every refusal: status and exit code follow from the branch of the error tree."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from quarterdeck.errors import NotFound, QuarterdeckError, SpecError, UserError


def refuse(error: QuarterdeckError) -> JSONResponse:
    """The response to an error of ours."""
    body = {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "where": error.where,
        "problems": list(error.problems) if isinstance(error, SpecError) else [],
        "exit_code": error.exit_code,
    }
    return JSONResponse({"error": body}, status_code=error.http_status)


def install(app: FastAPI) -> None:
    """Give every error our shape."""

    @app.exception_handler(QuarterdeckError)
    async def ours(request: Request, error: QuarterdeckError) -> JSONResponse:
        return refuse(error)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:] or first["loc"])
        response = refuse(UserError(f"{where}: {first['msg']}", where=where, hint="qd api openapi describes every field"))
        response.status_code = 422
        return response

    @app.exception_handler(HTTPException)
    async def routing(request: Request, error: HTTPException) -> JSONResponse:
        response = refuse(NotFound(str(error.detail), hint="qd api openapi lists every path"))
        response.status_code = error.status_code
        return response
