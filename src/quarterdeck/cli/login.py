"""`qd login` and `qd logout`: let into a control plane elsewhere, by somebody who is logged in there with a browser."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from quarterdeck.cli.completing import context_names
from quarterdeck.cli.link import displays
from quarterdeck.cli.render import clock_time, show
from quarterdeck.cli.screen import Screen, clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.client import access
from quarterdeck.client.contexts import Context, Contexts, location, made
from quarterdeck.client.doors import Remote, checked
from quarterdeck.client.wire import NO_TOKEN, UNKNOWN, Wire
from quarterdeck.clock import SystemClock
from quarterdeck.durable import write_synced
from quarterdeck.errors import Conflict, Forbidden, NotFound, QuarterdeckError, Terminal, Transient, UserError
from quarterdeck.version import API_VERSION

_ASK: Final = "/v1/login/device"
_CODE: Final = re.compile(r"[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A login that waits to be confirmed: `interval` and `lives` are seconds."""

    code: str
    secret: str
    interval: float
    lives: float


def login(
    session: Session,
    url: Annotated[
        str | None, typer.Argument(metavar="URL", show_default=False, help="https://HOST:PORT; without it, that of the context in use.")
    ] = None,
    *,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The context's name; the host by itself.")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="PEM of who signed the server's certificate.")] = None,
    production: Annotated[bool, typer.Option("--production", help="Ask before every change.")] = False,
) -> int | None:
    """Get into a control plane elsewhere: confirm a code in a browser that is logged in there. It becomes the context in use.

    $ qd login https://fleet.example.org:7410
    $ qd login https://fleet.example.org:7410 --name prod --production
    $ qd login                           again, when the session is over

    What it gets is a refresh token, with at most your rights, which ends with the session of your browser.
    """
    context = _context(session, url, name, ca, production=production)
    remote = context.place
    assert isinstance(remote, Remote)  # noqa: S101 made of a URL above
    wire = Wire(replace(remote, nobody=True), SystemClock())
    asked = _asked(wire)
    page = f"{remote.url}/login/device?code={asked.code}"
    session.say(f"open    {page}\nconfirm {asked.code}, if your browser shows the same")
    _browse(session, page)
    try:
        given = _wait(wire, asked)
    except KeyboardInterrupt:
        session.say("\nnothing was given")
        return 130
    _end(remote)
    _keep(remote.token_file, str(given["token"]))
    contexts = Contexts.read(os.environ)
    replace(contexts, known={**contexts.known, context.name: context}, current=context.name).write()
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": "Context", "name": context.name, **context.written()}
    document |= {key: given.get(key) for key in ("role", "cluster", "user", "expires")}

    def text(screen: Screen) -> None:
        who = f"{clean(document['user'])} is" if document["user"] else "you are"
        place = f" of {clean(document['cluster'])}" if document["cluster"] else ""
        screen.line(f"{who} let into {clean(context.name)} as {clean(document['role'])}{place} until {clock_time(document['expires'])}")

    show(session, document, text, name=context.name)
    after = replace(session, said=(), system=None)  # what led to where one was before leads elsewhere
    after.say(f"context {clean(context.name)} is used from now on · next: qd status · qd logout")
    return None


def logout(
    session: Session,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", show_default=False, help="A context; the one in use by itself.", autocompletion=context_names),
    ] = None,
) -> None:
    """End what qd login got, there and here. The context stays.

    $ qd logout
    $ qd logout prod
    """
    context = Contexts.read(os.environ).named(name) if name else session.context
    if context is None or not isinstance(context.place, Remote) or not _ours(context.place.token_file):
        raise UserError(
            "nobody is logged in here by qd login", hint="qd context list shows where to; qd token revoke ends a token you made"
        )
    trouble = _end(context.place)
    session.warn([f"it may still work there: {trouble}"] if trouble else [])
    document = {"apiVersion": API_VERSION, "kind": "Context", "name": context.name, "ended": not trouble}
    words = f"logged out of {clean(context.name)}{', here' if trouble else ''}"
    show(session, document, lambda screen: screen.line(words), name=context.name)
    session.say(f"next: qd login {clean(context.where)} --name {clean(context.name)}")


def _context(session: Session, url: str | None, name: str | None, ca: Path | None, *, production: bool) -> Context:
    """The context to log in to: a new one, or one that leads to the same place already. Raises UsageError or Conflict."""
    here = session.context
    if url is None:
        if here is None or not isinstance(here.place, Remote):
            raise UsageError("log in to which control plane?", hint="qd login https://HOST:PORT; on its own machine nobody has to log in")
        return here if _ours(here.place.token_file) else replace(here, place=replace(here.place, token_file=_file(here.name)))
    url = checked(url)
    name = name or urlsplit(url).hostname or ""
    known = Contexts.read(os.environ).known.get(name)
    if known is not None and known.where != url:
        raise Conflict(f"the context {name} leads to {known.where}", hint=f"qd login {url} --name ANOTHER")
    old = known.place if known is not None and isinstance(known.place, Remote) else None
    found = made(name, None, url, _file(name), ca or (old.ca if old else None), production=production)
    return replace(found, production=production or bool(known and known.production))


def _file(name: str) -> Path:
    """Where the refresh token of a context is kept."""
    return location(os.environ).parent / "tokens" / name


def _ours(file: Path) -> bool:
    return file.parent == location(os.environ).parent / "tokens"


def _end(remote: Remote) -> str:
    """Revoke what is in the file of a context and forget it here; why that one may still work, nothing when it does not."""
    trouble = ""
    try:
        secret = remote.secret
    except QuarterdeckError as error:
        trouble = "" if isinstance(error, NotFound) else error.message
    else:
        try:
            Wire(remote, SystemClock()).delete("/v1/login")
        except QuarterdeckError as error:
            known = error.message not in (NO_TOKEN, UNKNOWN)  # it has ended there already
            trouble = f"{error.message}; qd token revoke {secret.split('_')[1]} there ends it" if known and "_" in secret else ""
        access.forget(remote.url, secret)
    remote.token_file.unlink(missing_ok=True)
    return trouble


def _keep(file: Path, token: str) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_synced(file, f"{token}\n".encode(), mode=0o600)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}", hint="set XDG_CONFIG_HOME to a folder of yours") from error


def _browse(session: Session, url: str) -> None:
    """Open the page, where there is a browser; who has none reads it from the terminal."""
    if session.machine or not (sys.stderr.isatty() and displays(os.environ)):
        return
    import webbrowser  # noqa: PLC0415 only where there is one

    webbrowser.open(url)


def _asked(wire: Wire) -> Asked:
    """What is shown, and what is asked with. Raises Terminal for no such answer: the code goes to a terminal and a browser."""
    found = wire.post(_ASK, {"host": re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64]})
    try:
        code, secret = str(found["code"]), str(found["secret"])
        interval, lives = float(found["interval"]), float(found["expires_in"])
    except (TypeError, KeyError, ValueError):
        code = ""
    if not _CODE.fullmatch(code):
        raise Terminal(f"{wire.place} gives no code to log in with", hint="is that the URL of a control plane of this version?")
    return Asked(code, secret, min(max(interval, 0.5), 30.0), min(max(lives, 0.0), 900.0))


def _wait(wire: Wire, asked: Asked) -> dict[str, Any]:
    """Until somebody has answered. Raises Forbidden when that one said no, or nobody did in time."""
    deadline = wire.clock.monotonic() + asked.lives
    while wire.clock.monotonic() < deadline:
        time.sleep(asked.interval)
        found: dict[str, Any] = {"state": "waiting"}
        with contextlib.suppress(Transient):  # it restarts: it will have forgotten us, and says so then
            found = wire.post(f"{_ASK}/token", {"secret": asked.secret})
        if found.get("state") == "allowed" and "token" in found:
            return found
        if found.get("state") == "refused":
            raise Forbidden("whoever was asked said no", hint="nothing was given")
    raise Forbidden("nobody confirmed the code in ten minutes", hint="run qd login again")
