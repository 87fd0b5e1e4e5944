"""Quarterdeck: one file describes a fleet of AI agents; one command deploys it.

What an agent's code needs is here, and loaded when first used: `from quarterdeck import Agent, Context`. A program outside the fleet gives
it work with `Client` or `AsyncClient`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quarterdeck.agents.activity import Deadlock, NoProgress
    from quarterdeck.agents.agent import Agent
    from quarterdeck.agents.context import Context, current
    from quarterdeck.agents.payload import PayloadError
    from quarterdeck.agents.tasks import Denied, EffectUnknown
    from quarterdeck.bus.envelope import Ack, NoAnswer, RemoteError
    from quarterdeck.client.blocking import Client
    from quarterdeck.client.concurrent import AsyncClient
    from quarterdeck.errors import Forbidden, QuarterdeckError, Terminal, Transient, UserError
    from quarterdeck.model.work import TaskFailed

__all__ = [
    "Ack",
    "Agent",
    "AsyncClient",
    "Client",
    "Context",
    "Deadlock",
    "Denied",
    "EffectUnknown",
    "Forbidden",
    "NoAnswer",
    "NoProgress",
    "PayloadError",
    "QuarterdeckError",
    "RemoteError",
    "TaskFailed",
    "Terminal",
    "Transient",
    "UserError",
    "current",
]

_HOMES = {
    "Ack": "quarterdeck.bus.envelope",
    "Agent": "quarterdeck.agents.agent",
    "AsyncClient": "quarterdeck.client.concurrent",
    "Client": "quarterdeck.client.blocking",
    "Context": "quarterdeck.agents.context",
    "Deadlock": "quarterdeck.agents.activity",
    "Denied": "quarterdeck.agents.tasks",
    "EffectUnknown": "quarterdeck.agents.tasks",
    "Forbidden": "quarterdeck.errors",
    "NoAnswer": "quarterdeck.bus.envelope",
    "NoProgress": "quarterdeck.agents.activity",
    "PayloadError": "quarterdeck.agents.payload",
    "QuarterdeckError": "quarterdeck.errors",
    "RemoteError": "quarterdeck.bus.envelope",
    "TaskFailed": "quarterdeck.model.work",
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
