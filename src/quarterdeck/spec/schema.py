"""The JSON Schema of a spec, for editors: `# yaml-language-server: $schema=quarterdeck.schema.json` as the first line of a file."""

from __future__ import annotations

from typing import Any, Final

from quarterdeck.spec.system import SystemSpec
from quarterdeck.version import API_VERSION

IDENTIFIER: Final = f"https://{API_VERSION}/system.schema.json"
_LEFT_OVER: Final = frozenset({"ge", "le", "gt", "lt"})


def schema() -> dict[str, object]:
    """Draft 2020-12, made from the models; what it refuses the loader refuses too (the loader checks more)."""
    made: dict[str, Any] = _clean(SystemSpec.model_json_schema(by_alias=True, mode="validation"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": IDENTIFIER, **made, "title": "Quarterdeck system"}


def _clean(node: Any) -> Any:
    """Without pydantic's bounds of quantities (a text has none), without titles that repeat the name, and with names' patterns in place."""
    match node:
        case dict():
            kept = {key: _clean(value) for key, value in node.items() if key not in _LEFT_OVER}
            return {key: value for key, value in kept.items() if not (key == "title" and isinstance(value, str))}
        case list():
            return [_clean(item) for item in node]
        case _:
            return node
