"""Durations, memory sizes and CPU shares as people write them: `5s`, `512Mi`, `500m`.

Each is a plain number with its unit in its type, so arithmetic needs no conversion; `str()` gives the written form back. A bare number is
refused for durations and sizes, because `timeout: 5` has been read as seconds by some and as milliseconds by others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic_core import PydanticCustomError, core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

_LONGEST: Final = 64
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+"
_BYTES_IN: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BYTES: Final = r"[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)"
_CORES: Final = r"[0-9]+m"


def _refuse(what: str, example: str) -> PydanticCustomError:
    return PydanticCustomError("quantity", "must be {what}, e.g. {example}", {"what": what, "example": example})


def moment(text: str, now: float) -> float:
    """Epoch seconds of `10m` (that long before `now`) or of an ISO 8601 time, UTC where it names no zone. Raises ValueError."""
    try:
        return max(0.0, now - Duration.parse(text))
    except ValueError:
        at = datetime.fromisoformat(text)
        return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


class Duration(float):
    """A span of time in seconds, written with a unit: `250ms`, `5s`, `2m`, `1h30m`, `7d`."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read the written form; a Duration passes. Raises ValueError (PydanticCustomError) for anything else."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or len(value) > _LONGEST or not re.fullmatch(_DURATION, value):
            raise _refuse("a duration with its unit (ms, s, m, h, d)", "5s")
        return cls(sum(float(n) * _SECONDS[unit] for n, _, unit in re.findall(r"([0-9]+(\.[0-9]+)?)(ms|s|m|h|d)", value)))

    def __str__(self) -> str:
        for unit in ("d", "h", "m", "s"):
            if self and self % _SECONDS[unit] == 0:
                return f"{int(self / _SECONDS[unit])}{unit}"
        return f"{float(self) * 1000:.15g}ms" if self else "0s"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return _schema(cls.parse, str)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{_DURATION}$"}


class Bytes(int):
    """A memory size in bytes, written with a unit as Kubernetes does: `512Mi`, `1Gi`, `500M`."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read the written form; Bytes pass. Raises ValueError (PydanticCustomError) for anything else."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or len(value) > _LONGEST or not re.fullmatch(_BYTES, value):
            raise _refuse("a size with its unit (Ki, Mi, Gi, Ti, k, M, G, T)", "512Mi")
        number = value.rstrip("KMGTik")
        return cls(Fraction(number) * _BYTES_IN[value[len(number) :]])

    def __str__(self) -> str:
        for unit in ("Ti", "Gi", "Mi", "Ki", "T", "G", "M", "k"):
            if self and self % _BYTES_IN[unit] == 0:
                return f"{self // _BYTES_IN[unit]}{unit}"
        return f"{int(self) / 1000:.15g}k"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return _schema(cls.parse, str)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^{_BYTES}$"}


class Cores(float):
    """A share of CPU time in cores: `1`, `0.5`, or `500m` for thousandths of a core."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read a number or thousandths; Cores pass. Raises ValueError (PydanticCustomError) for anything else."""
        if isinstance(value, str) and len(value) <= _LONGEST and re.fullmatch(_CORES, value):
            return cls(float(value[:-1]) / 1000)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _refuse("a number of cores", "1, 0.5 or 500m")
        return cls(value)

    def __str__(self) -> str:
        return f"{float(self):g}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return _schema(cls.parse, float)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_CORES}$"}]}


def _schema(parse: Callable[[object], object], write: Callable[[Any], object]) -> core_schema.CoreSchema:
    return core_schema.no_info_plain_validator_function(
        parse,
        serialization=core_schema.plain_serializer_function_ser_schema(write, when_used="json"),
    )
