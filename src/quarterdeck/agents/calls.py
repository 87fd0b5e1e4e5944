"""Calling what users write, from a task or a handler: on the loop or in a thread, what it says it gives, and what its code is."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from quarterdeck.errors import UserError

GRACE: Final = 5.0
"""Seconds for a thread to end once the task it works for is to stop."""


async def called(function: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any], grace: float = GRACE) -> Any:
    """Await what may be awaited; a sync function runs in a thread, so that the loop keeps beating.

    Nothing stops a thread. When this is cancelled, it waits up to `grace` seconds for one to end, and then gives what came of it as if
    nothing had happened: whoever must know that it was cancelled looks at `stopped`.
    """
    if inspect.iscoroutinefunction(function):
        return await function(*args, **named)
    thread = asyncio.ensure_future(in_thread(function, *args, **named))
    try:
        found = await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait({thread}, timeout=grace)
        if not thread.done() or thread.cancelled():
            raise
        found = thread.result()
    return await found if isinstance(found, Awaitable) else found  # a lambda may return a coroutine


async def in_thread(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """In a thread, with the context variables of here."""

    def run() -> Any:
        try:
            return function(*args, **named)
        except StopIteration as error:  # no future can carry one: its waiter would never wake
            raise RuntimeError(f"{function!r} raised StopIteration") from error

    return await asyncio.to_thread(run)


def stopped(before: int) -> bool:
    """Whether the running task was told to stop since its count of cancellations was `before`."""
    return cancellations() > before


def cancellations() -> int:
    """How often the running task was told to stop."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0


def fits(function: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Raise UserError when a function cannot be called so: better now than in the middle of an effect."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):  # some builtins do not say
        return
    try:
        signature.bind(*args, **named)
    except TypeError as error:
        name = getattr(function, "__qualname__", repr(function))
        hint = "an effect that dedupes takes key=, and hands it over to what it calls" if named else "give its arguments after the function"
        raise UserError(f"{name} cannot be called so: {error}", hint=hint) from error


def given(function: Callable[..., Any]) -> Any:
    """What a function says it returns."""
    try:
        return typing.get_type_hints(function).get("return", Any)
    except (NameError, TypeError):  # a name for typing alone, or nothing that has hints
        return Any


def code(function: Callable[..., Any]) -> str:
    """A digest of what a function does, as far as it can be told: its bytecode, names and constants. Equal in all processes."""
    inner = function.func if isinstance(function, functools.partial) else function
    found = getattr(inner, "__code__", None) or getattr(type(inner).__call__, "__code__", None)
    if found is None:
        return str(getattr(inner, "__qualname__", type(inner).__name__))[:100]
    return hashlib.sha256(_shape(found).encode("utf-8", "replace")).hexdigest()[:32]


def _shape(found: types.CodeType) -> str:
    return f"{found.co_code.hex()} {found.co_names!r} [{' '.join(_constant(one) for one in found.co_consts)}]"


def _constant(value: object) -> str:
    if isinstance(value, types.CodeType):
        return _shape(value)
    if isinstance(value, frozenset):  # its order differs between processes
        return f"{{{' '.join(sorted(_constant(one) for one in value))}}}"
    return f"({' '.join(_constant(one) for one in value)})" if isinstance(value, tuple) else repr(value)
