from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from quarterdeck import Agent, UserError
from quarterdeck.agents.agent import as_agent, hook

if TYPE_CHECKING:
    from quarterdeck import Context


@dataclass
class Window:
    start: float


def test_a_signature_says_what_it_is_given():
    agent = Agent("a")

    @agent.on("typed")
    async def typed(msg: Window, ctx: Context) -> int:
        return 1

    @agent.on("reversed")
    async def reversed_(ctx: Context, msg: Window): ...

    @agent.on("untyped")
    def untyped(payload): ...

    @agent.on("only-ctx")
    async def only_ctx(ctx): ...

    @agent.on("nothing")
    async def nothing(): ...

    found = agent.handlers
    assert (found["typed"].arguments, found["typed"].takes, found["typed"].gives) == (("payload", "context"), Window, int)
    assert found["reversed"].arguments == ("context", "payload")
    assert (found["untyped"].arguments, found["untyped"].takes) == (("payload",), Any)
    assert (found["only-ctx"].arguments, found["only-ctx"].takes) == (("context",), None)
    assert found["nothing"].arguments == ()
    assert found["typed"].is_async
    assert not found["untyped"].is_async


def test_types_of_an_enclosing_function_are_found():
    @dataclass
    class Local:
        x: int

    agent = Agent("a")

    @agent.on("v")
    async def v(msg: Local):
        return Local

    assert agent.handlers["v"].takes is Local


def test_a_type_that_cannot_be_found_is_named():
    agent = Agent("a")

    @agent.on("v")
    async def v(msg: Missing): ...  # noqa: F821

    with pytest.raises(UserError, match="the type of msg cannot be found: name 'Missing' is not defined") as caught:
        _ = agent.handlers
    assert caught.value.where.startswith(__file__)


@dataclass
class Half:
    found: list[int]
    nested: dict[str, Missing]  # noqa: F821


@dataclass
class Odd:
    socket: list[Agent]


@dataclass
class Tree:
    children: tuple[Tree, ...] | None


@pytest.mark.parametrize(
    ("takes", "message"),
    [(Half, "the payload of 'v': name 'Missing' is not defined"), (Odd, "the payload of 'v': Agent cannot be the type of a payload")],
)
def test_a_payload_that_contains_what_cannot_arrive_is_refused_at_load(takes, message):
    agent = Agent("a")

    def v(msg): ...

    v.__annotations__ = {"msg": takes}
    agent.on("v")(v)
    with pytest.raises(UserError, match=message) as caught:
        agent.check()
    assert caught.value.hint


def test_a_payload_may_contain_itself():
    agent = Agent("a")

    @agent.on("v")
    def v(msg: Tree): ...

    agent.check()


def print_payload(payload): ...


def test_a_handler_takes_a_payload_and_a_context_at_most():
    agent = Agent("a")

    @agent.on("v")
    async def v(one, two): ...

    with pytest.raises(UserError, match="v takes one, two; a handler takes a payload and ctx"):
        _ = agent.handlers
    with pytest.raises(UserError, match="hooks and background work have no payload"):
        hook(print_payload)
    assert hook(lambda: None).arguments == ()


@pytest.mark.parametrize("verb", ["", "_mine", "Upper", "a.b", "a b", "*", "-a"])
def test_a_verb_is_one_plain_token(verb):
    with pytest.raises(UserError, match="cannot be a verb"):
        Agent("a").on(verb)


def test_a_verb_is_registered_once():
    agent = Agent("a")
    agent.on("v")(print)
    with pytest.raises(UserError, match="answers 'v' already, with print"):
        agent.on("v")


def test_numbers_must_make_sense():
    with pytest.raises(UserError):
        Agent("a", concurrency=0)
    with pytest.raises(UserError):
        Agent("a").every(0)


def test_a_plain_function_is_an_agent_with_one_verb():
    async def classify(payload, ctx): ...

    agent = as_agent(classify, "agents:classify")
    assert list(agent.handlers) == ["call"]
    assert agent.name == "classify"
    assert as_agent(agent, "x") is agent


@pytest.mark.parametrize("entry", [[], Window, None, "text"])
def test_anything_else_is_no_entry_point(entry):
    with pytest.raises(UserError, match=r"agents:x is a .*; an entry point is an Agent or a function"):
        as_agent(entry, "agents:x")


def test_decorators_give_the_function_back():
    agent = Agent("a")

    async def f(ctx): ...

    for decorate in (agent.on("v"), agent.start, agent.stop, agent.loop, agent.every(1.0)):
        assert decorate(f) is f
    agent.check()
    assert asyncio.iscoroutinefunction(agent.starts[0])
