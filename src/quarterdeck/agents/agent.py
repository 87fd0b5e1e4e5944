"""What a user writes: an `Agent` and the functions that hang on it. Nothing runs here; a replica (or a test) runs it.

::

    from quarterdeck import Agent, Context

    analyst = Agent("analyst")

    @analyst.on("window")
    async def window(msg: Window, ctx: Context) -> Score: ...

The spec names it: `run: "agents:analyst"`. A plain function named there becomes an agent with the single verb `call`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from quarterdeck.agents.payload import check
from quarterdeck.bus.subjects import TOKEN
from quarterdeck.errors import Terminal, UserError

Function = TypeVar("Function", bound=Callable[..., Any])
CALL: Final = "call"
"""The one verb of a plain function."""
TASK: Final = "task"
"""The verb of a task handler that is given no other."""
CONCURRENCY: Final = 16


@dataclass(frozen=True, slots=True)
class Background:
    """Work beside the messages: called again and again, `every` seconds after one another's start (None: at once)."""

    function: Callable[..., Any]
    every: float | None


@dataclass(frozen=True, slots=True)
class Handler:
    """The function behind a verb. `takes` is its payload's type (Any when it does not say), None when it takes no payload."""

    verb: str
    function: Callable[..., Any]
    takes: Any
    gives: Any
    arguments: tuple[str, ...]
    """What each parameter is given, in order: `payload` or `context`."""

    @property
    def is_async(self) -> bool:
        """Whether it runs on the loop; a sync function runs in a thread."""
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(getattr(self.function, "__call__", None))  # noqa: B004


class Agent:
    """A role: verbs it answers, hooks, background work.

    The spec gives the real name; `name` is for tests and for people. At most `concurrency` asks and as many durable messages are worked
    on at once. Durable messages come at least once: a handler must bear to see one twice.
    """

    def __init__(self, name: str = "", *, concurrency: int = CONCURRENCY) -> None:
        if concurrency < 1:
            msg = f"concurrency is {concurrency}; at least one message must be worked on at once"
            raise UserError(msg, hint=f"leave it out for {CONCURRENCY}, or give 1 to work on one message after another")
        self.name = name
        self.concurrency = concurrency
        self.starts: list[Callable[..., Any]] = []
        self.stops: list[Callable[..., Any]] = []
        self.background: list[Background] = []
        self.tasks: set[str] = set()
        """The verbs that were registered as work for tasks; for people and forms: a task may name any verb."""
        self._functions: dict[str, Callable[..., Any]] = {}
        self._handlers: dict[str, Handler] | None = None

    def __repr__(self) -> str:
        return f"Agent({self.name!r}, verbs={sorted(self._functions)})"

    def on(self, verb: str) -> Callable[[Function], Function]:
        """Answer `verb` with the decorated function: `(payload)`, `(payload, ctx)`, `(ctx)` or nothing; async, or sync (in a thread).

        The payload's annotation is its type: it is decoded and checked, and a wrong one is answered with what is wrong. What the function
        returns is the answer to an ask. Raise `Transient` for "not now", `Terminal` for "never".
        """
        if not TOKEN.match(verb):
            msg = f"{verb!r} cannot be a verb"
            raise UserError(msg, hint="lower-case letters, digits, - and _, not at the ends; a leading _ is reserved")
        if verb in self._functions:
            msg = f"{self!r} answers {verb!r} already, with {self._functions[verb].__qualname__}"
            raise UserError(msg, hint="name one of the two differently, or remove it")

        def register(function: Function) -> Function:
            self._functions[verb] = function
            self._handlers = None
            return function

        return register

    def task(self, verb: str = TASK) -> Callable[[Function], Function]:
        """Work on tasks with the decorated function: the same as `on`, for work that is accounted for.

        Tasks come to handlers registered by `on` too, under their verb. A handler of tasks may be run again from its beginning after a
        crash: put what must not be repeated into `ctx.step` and `ctx.effect`.
        """
        register = self.on(verb)
        self.tasks.add(verb)
        return register

    def task_handler(self, verb: str) -> Handler:
        """Who works on a task; without a verb the handler `task`, else the only one. Raises Terminal when there is none."""
        found = self.handlers.get(verb or TASK)
        if found is None and not verb and len(self.handlers) == 1:
            found = next(iter(self.handlers.values()))
        if found is None:
            known = ", ".join(sorted(self.handlers)) or "none"
            raise Terminal(f"{verb or TASK!r} is no verb of this agent (its verbs: {known})", hint="name one: qd task submit --verb")
        return found

    def start(self, function: Function) -> Function:
        """Run `(ctx)` before the first message; an error ends the start of the replica."""
        self.starts.append(function)
        return function

    def stop(self, function: Function) -> Function:
        """Run `(ctx)` after the last message of a drain."""
        self.stops.append(function)
        return function

    def loop(self, function: Function) -> Function:
        """Call `(ctx)` again and again while the replica is ready; cancelled at drain. Each return counts as progress."""
        self.background.append(Background(function, None))
        return function

    def every(self, seconds: float) -> Callable[[Function], Function]:
        """Call `(ctx)` each `seconds` while the replica is ready; cancelled at drain. A turn that takes longer delays the next."""
        if seconds <= 0:
            msg = f"every({seconds}): the interval is a positive number of seconds"
            raise UserError(msg, hint="@agent.loop calls again at once")

        def register(function: Function) -> Function:
            self.background.append(Background(function, seconds))
            return function

        return register

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """The handlers by verb, their annotations resolved; raises UserError for a function that cannot be one."""
        if self._handlers is None:
            self._handlers = {verb: handler(verb, function) for verb, function in self._functions.items()}
        return self._handlers

    def check(self) -> None:
        """Read every signature and payload type now; raises UserError for the first function that cannot be what it is registered as."""
        for found in self.handlers.values():
            _check_payload(found)
        for function in (*self.starts, *self.stops, *(work.function for work in self.background)):
            hook(function)


def as_agent(entry: object, named: str) -> Agent:
    """What an entry point names, as an agent; raises UserError when it is neither Agent nor function."""
    if isinstance(entry, Agent):
        return entry
    if not callable(entry) or isinstance(entry, type):
        msg = f"{named} is a {type(entry).__name__}; an entry point is an Agent or a function"
        raise UserError(msg, hint='run: "module:attribute", e.g. "agents:collector"')
    agent = Agent(getattr(entry, "__name__", ""))
    agent.on(CALL)(entry)
    return agent


def handler(verb: str, function: Callable[..., Any]) -> Handler:
    """Read a function's signature; raises UserError when it asks for more than a payload and a context."""
    hints = _hints(function)
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind not in _VARIADIC]
    arguments = tuple("context" if _is_context(p, hints) else "payload" for p in parameters)
    if any(p.kind is p.KEYWORD_ONLY for p in parameters) or len(set(arguments)) != len(arguments):
        msg = f"{function.__qualname__} takes {', '.join(p.name for p in parameters)}; a handler takes a payload and ctx, both optional"
        raise UserError(
            msg, hint="put what comes in into one payload, e.g. a dataclass; give other parameters a default", where=_place(function)
        )
    payload = next((p for p, given in zip(parameters, arguments, strict=True) if given == "payload"), None)
    takes = None if payload is None else hints.get(payload.name, Any)
    return Handler(verb, function, takes, hints.get("return", Any), arguments)


def _check_payload(found: Handler) -> None:
    try:
        check(found.takes)
    except (UserError, NameError) as error:
        msg = f"the payload of {found.verb!r}: {error}"
        hint = error.hint if isinstance(error, UserError) else "define or import the type at module level"
        raise UserError(msg, hint=hint, where=_place(found.function)) from error


def hook(function: Callable[..., Any]) -> Handler:
    """Read the signature of a hook or of background work: `(ctx)` or nothing; raises UserError."""
    found = handler(getattr(function, "__name__", "hook"), function)
    if "payload" in found.arguments:
        msg = f"{function.__qualname__} takes more than ctx; hooks and background work have no payload"
        raise UserError(msg, hint="take (ctx) or nothing; @agent.on(VERB) is for messages", where=_place(function))
    return found


_VARIADIC: Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations as types. One that cannot be resolved matters only for the payload, so Context may be imported for typing alone."""
    target = function if inspect.isroutine(function) else type(function).__call__
    found: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(target).items():
        try:
            found[name] = typing.get_type_hints(_Holder(name, annotation, target), include_extras=True)[name]
        except NameError as error:
            if name == "return" or str(annotation).rpartition(".")[2] == "Context":
                found[name] = annotation
                continue
            msg = f"{function.__qualname__}: the type of {name} cannot be found: {error}"
            raise UserError(msg, hint="define or import the type at module level", where=_place(function)) from error
    return found


class _Holder:
    """One annotation with the names around it, as typing.get_type_hints reads it."""

    def __init__(self, name: str, annotation: object, function: Any) -> None:
        closure = inspect.getclosurevars(function) if inspect.isfunction(function) else None
        self.__annotations__ = {name: annotation}
        self.__globals__ = {**getattr(function, "__globals__", {}), **(closure.nonlocals if closure else {})}


def _is_context(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> bool:
    hint = hints.get(parameter.name)
    name = hint if isinstance(hint, str) else getattr(hint, "__name__", "")
    return name.rpartition(".")[2] == "Context" or (hint is None and parameter.name in ("ctx", "context"))


def _place(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else ""
