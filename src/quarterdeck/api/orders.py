"""What comes in at the doors of work, as it must look. What is wrong is refused before a row is touched."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from quarterdeck.api.services import Services
from quarterdeck.errors import UserError
from quarterdeck.model.blobs import Ref
from quarterdeck.model.work import ATTEMPTS, BUDGETS, Order, Target
from quarterdeck.store import tasks
from quarterdeck.work import desk

Json = dict[str, Any]
Read = TypeVar("Read", bound=BaseModel)
YEAR = 366 * 86_400.0


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("only characters that can be printed")
    return text


Word = Annotated[str, AfterValidator(_printable)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**53)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Body):
    """Limits for a task and all below it; what is not named is not limited."""

    calls: Count | None = None
    tokens: Count | None = None
    seconds: Amount | None = None
    money: Amount | None = None
    depth: Count | None = None


class TaskBody(_Body):
    """An order. `target` is `cluster/agent`, without it the entry of the spec; `timeout` and `delay` are seconds from now.

    Of one `lane` one task is worked on at a time. `payload_ref` in place of a large `payload`: what `POST /v1/blobs` called it.
    """

    system: str | None = None
    target: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+/[a-z0-9_-]+$", max_length=200)
    verb: str = Field(default="", pattern=r"^([a-z0-9]([a-z0-9_-]*[a-z0-9])?)?$", max_length=63)
    payload: JsonValue = None
    payload_ref: str | None = Field(default=None, max_length=100)
    key: Word | None = Field(default=None, max_length=tasks.KEY_LIMIT)
    tenant: Word = Field(default="", max_length=100)
    priority: int = Field(default=0, ge=-100, le=100)
    lane: Word | None = Field(default=None, min_length=1, max_length=tasks.KEY_LIMIT)
    timeout: float | None = Field(default=None, gt=0, le=YEAR)
    delay: float = Field(default=0.0, ge=0, le=YEAR)
    attempts: int = Field(default=ATTEMPTS, ge=1, le=1000)
    budget: Budget = Budget()

    def order(self, given: Services) -> Order:
        """The order it is; raises NotFound, Forbidden, UserError."""
        if self.payload is not None and self.payload_ref is not None:
            raise UserError("payload and payload_ref", hint="one of the two", where="payload_ref")
        system = given.fleet.one(self.system)
        target = self.target or _entry(given, system)
        given.grant.require(system, target)
        cluster, _, agent = target.partition("/")
        now = given.clock.now()
        return Order(
            Target(system, cluster, agent),
            as_text(self.payload) if self.payload_ref is None else Ref.read(self.payload_ref).body,
            self.verb,
            key=self.key,
            tenant=self.tenant,
            priority=self.priority,
            lane=self.lane,
            after=now + self.delay if self.delay else 0.0,
            deadline=None if self.timeout is None else now + self.timeout,
            attempts=self.attempts,
            budget={kind: float(limit) for kind in BUDGETS if (limit := getattr(self.budget, kind)) is not None},
        )


def _entry(given: Services, system: str) -> str:
    desired = given.fleet.desired(system)
    if desired is None or desired.entry is None:
        raise UserError(f"which agent? {system} names no entry", hint="name cluster/agent, or write entry: AGENT into the spec")
    return desired.entry


class BatchBody(_Body):
    """Several orders at once; one that is refused does not stop the others."""

    tasks: list[TaskBody] = Field(min_length=1, max_length=desk.AT_ONCE)


class ReasonBody(_Body):
    """Why."""

    reason: str = Field(default="", max_length=1000)


class ForkBody(_Body):
    """Where to begin: before the step `from`, without it at the very beginning. The same `key` again is the same fork.

    `dry_run`: only tell what would be kept, and what would be done again.
    """

    step: str | None = Field(default=None, alias="from", min_length=1, max_length=500)
    key: Word | None = Field(default=None, max_length=tasks.KEY_LIMIT)
    reason: str = Field(default="", max_length=1000)
    dry_run: bool = False


class ResolveBody(_Body):
    """What became of an unknown effect: it is `done` with a value, `failed` (it did not happen), or to be called `again`."""

    key: str = Field(max_length=500)
    outcome: Literal["done", "failed", "again"]
    value: JsonValue = None
    reason: str = Field(min_length=1, max_length=1000)


class AnswerBody(_Body):
    """The answer to a question; `name` is not needed when only one is open."""

    answer: str = Field(max_length=10_000)
    name: str | None = Field(default=None, max_length=500)
    reason: str = Field(default="", max_length=1000)


class Direct(JSONResponse):
    """Of a route that takes its request as it is and asks FastAPI for nothing."""


def takes(body: type[BaseModel], route: Json) -> Json:
    """Arguments of a route that reads its body itself, described as FastAPI would."""
    schema = {"$ref": f"#/components/schemas/{body.__name__}"}
    described = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
    return {**route, "response_class": Direct, "openapi_extra": {**route["openapi_extra"], **described}}


def read(body: type[Read], text: bytes) -> Read:
    """A body as it must look; raises RequestValidationError, which the doors answer as for any other route."""
    try:
        return body.model_validate_json(text)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]) from error


class NotJson(UserError):
    """What Python reads as JSON and JSON does not know: NaN, Infinity."""

    http_status = 422


def as_text(value: JsonValue) -> str:
    """JSON text; raises NotJson for numbers that JSON does not have."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise NotJson("payload: NaN and Infinity are not JSON", where="payload", hint="send null, or the number as text") from error
