"""In which of four states a whole system is: one word wherever people read it, in the terminal and in every page. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

ONCE: Final = "restart_before"
"""The field of a Change that is done once: it holds nothing, and its revert would do nothing."""
SystemState = Literal["ready", "stopped", "failed", "not ready"]


def state_of(status: Mapping[str, Any]) -> SystemState:
    """Of a Status document: what somebody stopped is neither failed nor on its way; what failed is never only `not ready`."""
    if status["ready"]:
        return "ready"
    if status.get("stopped"):
        return "stopped"
    return "failed" if status.get("failure") else "not ready"


def holds(change: Mapping[str, Any]) -> bool:
    """Whether a Change (document) is in force, so that its revert would do something: a restart was done once."""
    return str(change.get("state", "live")) == "live" and str(change.get("patch", {}).get("field")) != ONCE
