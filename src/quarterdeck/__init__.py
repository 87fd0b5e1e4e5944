"""Quarterdeck: one file describes a fleet of AI agents; one command deploys it.

What an agent's code needs is here, and loaded when first used: `from quarterdeck import Agent, Context`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quarterdeck.agents.agent import Agent
    from quarterdeck.agents.context import Context, current
    from quarterdeck.agents.payload import PayloadError
    from quarterdeck.bus.envelope import Ack, NoAnswer, RemoteError
    from quarterdeck.errors import Forbidden, QuarterdeckError, Terminal, Transient, UserError

__all__ = [
    "Ack",
    "Agent",
    "Context",
    "Forbidden",
    "NoAnswer",
    "PayloadError",
    "QuarterdeckError",
    "RemoteError",
    "Terminal",
    "Transient",
    "UserError",
    "current",
]

_HOMES = {
    "Ack": "quarterdeck.bus.envelope",
    "Agent": "quarterdeck.agents.agent",
    "Context": "quarterdeck.agents.context",
    "Forbidden": "quarterdeck.errors",
    "NoAnswer": "quarterdeck.bus.envelope",
    "PayloadError": "quarterdeck.agents.payload",
    "QuarterdeckError": "quarterdeck.errors",
    "RemoteError": "quarterdeck.bus.envelope",
    "Terminal": "quarterdeck.errors",
    "Transient": "quarterdeck.errors",
    "UserError": "quarterdeck.errors",
    "current": "quarterdeck.agents.context",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        msg = f"module 'quarterdeck' has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib  # noqa: PLC0415 importing the package stays free

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__]
