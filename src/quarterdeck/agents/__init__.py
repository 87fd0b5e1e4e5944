"""The SDK: what a user's agent is written with, and what runs it inside a replica. Light to import; nats is loaded at connect."""

from quarterdeck.agents.agent import Agent
from quarterdeck.agents.context import Context, current

__all__ = ["Agent", "Context", "current"]
