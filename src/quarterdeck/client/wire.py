"""The API client: HTTP through the control plane's unix socket or to its URL. Refusals come back as the errors of `errors.py`."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from quarterdeck import errors
from quarterdeck.client import access
from quarterdeck.client.doors import Place, Remote, UnixConnection
from quarterdeck.clock import Clock
from quarterdeck.errors import QuarterdeckError, SpecError, Transient
from quarterdeck.model.home import Home

Document = dict[str, Any]
Query = Mapping[str, object]
NOTHING: Final[Query] = {}
NO_TOKEN: Final = "no valid token"  # noqa: S105 a sentence
"""What a control plane says to whoever it does not know."""
UNKNOWN: Final = "the token is unknown, expired or revoked"
"""What it says of a token that it shall trade, and does not know."""
_PATIENCE: Final = 30.0
"""Seconds for one answer."""
_ABSENCE: Final = 8.0
"""Seconds to wait for a control plane whose node is alive: the node is restarting it, which takes at most five."""
_SILENCE: Final = 60.0
"""Seconds without a byte after which a followed stream is opened anew."""
_LONGEST_LINE: Final = 16 << 20


class Unreached(Transient):
    """Nobody was there: the request never left."""

    code = "E1013"


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event (WHATWG HTML, section 9.2): its id, its name, its data as JSON."""

    id: str
    name: str
    data: Any


@dataclass(frozen=True, slots=True)
class Request:
    """One request; query values that are None are left out, a list is given several times, `last` is the id of the last event seen.

    `raw` is a body that is sent as it is.
    """

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: Document | None = None
    accept: str = "application/json"
    last: str = ""
    raw: bytes | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.method} {self.path}"

    @property
    def target(self) -> str:
        """Path and query."""
        given = ((key, value if isinstance(value, list) else [value]) for key, value in self.query.items() if value is not None)
        kept = [(key, _text(one)) for key, many in given for one in many]
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    @property
    def content(self) -> bytes | None:
        """The body, as JSON unless it is raw."""
        return self.raw if self.body is None else json.dumps(self.body).encode()

    @property
    def headers(self) -> dict[str, str]:
        """The request's headers."""
        typed = {"Content-Type": "application/json"} if self.body is not None else {}
        typed = {"Content-Type": "application/octet-stream"} if self.raw is not None else typed
        resumed = {"Last-Event-ID": self.last} if self.last else {}
        return {"Accept": self.accept, "Connection": "close", **typed, **resumed}


@dataclass(frozen=True, slots=True)
class Wire:
    """The control plane of one home or URL. Every call raises Transient when nobody answers, else the error the answer carries."""

    place: Place
    clock: Clock
    absence: float = _ABSENCE

    def get(self, path: str, query: Query = NOTHING, *, timeout: float = _PATIENCE) -> Any:
        """GET a JSON document; query values that are None are left out."""
        return self.call(Request("GET", path, query), timeout)

    def post(self, path: str, body: Document | None = None, *, timeout: float = _PATIENCE) -> Any:
        """POST a JSON document; fields that are None are left out."""
        return self.call(Request("POST", path, body={key: value for key, value in (body or {}).items() if value is not None}), timeout)

    def delete(self, path: str, query: Query = NOTHING, *, timeout: float = _PATIENCE) -> Any:
        """DELETE a thing."""
        return self.call(Request("DELETE", path, query), timeout)

    def lines(self, path: str, query: Query = NOTHING) -> Iterator[str]:
        """GET a text document line by line, e.g. an export."""
        with self._answer(Request("GET", path, query, accept="*/*"), _SILENCE) as answer:
            for line in answer:
                yield line.decode("utf-8", "replace").rstrip("\n")

    def events(self, path: str, query: Query = NOTHING, *, last: str = "") -> Iterator[Event]:
        """GET a stream of events until the server ends it; `last` is the id of the last event seen. Raises Transient when it breaks."""
        with self._answer(Request("GET", path, query, accept="text/event-stream", last=last), _SILENCE) as answer:
            yield from parse(line.decode("utf-8", "replace") for line in _lines(answer))

    def answers(self) -> Document | None:
        """The version document when a control plane answers now, else None."""
        try:
            found: Document = Wire(self.place, self.clock, absence=0).get("/v1/version", timeout=5)
        except Transient:
            return None
        return found

    def call(self, request: Request, timeout: float = _PATIENCE) -> Any:
        """Ask, and give the answer as JSON."""
        with self._answer(request, timeout) as answer:
            text = answer.read()
        try:
            return json.loads(text)
        except ValueError as error:
            raise Transient(f"{request.name}: the answer is not JSON", hint="qd version tells what answers there") from error

    def stays_down(self) -> bool:
        """Whether the fleet was ordered down, as far as this machine can know."""
        return isinstance(self.place, Home) and ordered_down(self.place)

    @contextmanager
    def _answer(self, request: Request, timeout: float) -> Iterator[http.client.HTTPResponse]:
        remote = self.place if isinstance(self.place, Remote) else None
        headers = {**request.headers, **identity(remote, self.clock)} if remote else request.headers
        connection = self._connect(timeout)
        try:
            connection.request(request.method, (remote.prefix if remote else "") + request.target, request.content, headers)
            answer = connection.getresponse()
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise known_by(remote, refusal(answer.read(), answer.status, answer.getheader("Retry-After")))
            yield answer
        except TimeoutError as error:
            raise lost(request, f"gives no answer to {request.name} within {timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise lost(request, f"went away during {request.name}") from error
        finally:
            connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        limit = self.clock.monotonic() + self.absence
        while True:
            connection = UnixConnection(self.place.api_socket, timeout) if isinstance(self.place, Home) else self.place.connection(timeout)
            try:
                connection.connect()
            except OSError as error:
                connection.close()
                if isinstance(self.place, Remote):
                    raise unreachable(self.place, error) from error
                if isinstance(error, PermissionError):
                    raise errors.Forbidden(
                        f"{self.place.api_socket} belongs to another user", hint="run qd as the user who ran qd up"
                    ) from error
                if self.clock.monotonic() < limit and comes_back(self.place):
                    time.sleep(0.05)
                    continue
                message = f"no control plane answers for {self.place.root}"
                raise Unreached(message, hint="start one with qd up", where=str(self.place.api_socket)) from error
            return connection


def identity(remote: Remote, clock: Clock) -> dict[str, str]:
    """The header that says who we are; what has to be traded for an access token is, which may take a request."""
    if remote.nobody:
        return {}
    secret = remote.secret
    if access.is_traded(secret):
        stranger = Wire(replace(remote, nobody=True), clock)
        try:
            secret = access.access(remote.url, secret, clock.now(), lambda secret: stranger.post("/v1/login/token", {"secret": secret}))
        except errors.Forbidden as error:
            error.hint = _unknown(remote)
            raise
    return {"Authorization": f"Bearer {secret}"}


def lost(request: Request, what: str) -> Transient:
    """A request that was sent and not answered. What only reads has no outcome; of everything else nobody knows it."""
    if request.method == "GET":
        hint = "qd doctor looks at what is wrong; its node restarts one that hangs, so try again in a few seconds"
        return Transient(f"the control plane {what}", hint=hint)
    return Transient(f"the control plane {what}: the outcome is unknown", hint="qd status tells how it stands now")


def unreachable(remote: Remote, error: OSError) -> QuarterdeckError:
    """Why a control plane elsewhere cannot be talked to."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "name the authority that signed it: qd context add NAME --url … --ca FILE"
        return errors.Forbidden(f"the certificate of {remote} is not trusted: {error.verify_message}", hint=hint)
    return Unreached(f"no control plane answers at {remote}: {error.strerror or error}", hint="is it up, and can it be reached from here?")


def comes_back(home: Home) -> bool:
    """Whether an absent control plane will be back by itself: its node lives and nobody ordered it to stay down."""
    return not ordered_down(home) and listens(home.node_socket)


def ordered_down(home: Home) -> bool:
    """Whether the order to stop stands."""
    try:
        with home.stop_order.open("rb") as file:
            return file.read(1) == b"1"
    except FileNotFoundError:
        return False


def listens(path: Path) -> bool:
    """Whether somebody accepts connections at a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return os.path.exists(path) and probe.connect_ex(str(path)) == 0  # noqa: PTH110 one call, no object


def refusal(text: bytes, status: int, after: str | None = None) -> QuarterdeckError:
    """The error that a refused request's body describes; its exit code is the body's. `after` is what the answer says of trying again."""
    try:
        body = json.loads(text)["error"]
        kind, message = getattr(errors, str(body["kind"]), None), str(body["message"])
    except (ValueError, KeyError, TypeError):
        kind, message, body = None, f"the control plane answered {status}: {text[:200].decode('utf-8', 'replace')}", {}
    where, hint, problems = str(body.get("where") or ""), str(body.get("hint") or ""), tuple(map(str, body.get("problems") or ()))
    if problems:
        error: QuarterdeckError = SpecError(message, problems=problems, hint=hint, where=where)
    elif isinstance(kind, type) and issubclass(kind, QuarterdeckError) and kind is not errors.InvalidTransition:  # it takes a story
        error = kind(message, hint=hint, where=where)
    else:
        error = _of_status(status)(message, hint=hint, where=where)
    error.exit_code, error.code = int(body.get("exit_code", error.exit_code)), str(body.get("code") or error.code)
    if isinstance(error, Transient) and after is not None and after.isdecimal():
        error.after = float(after)
    return error


def known_by(remote: Remote | None, error: QuarterdeckError) -> QuarterdeckError:
    """The same, with the file that the refused token came from: whoever runs `qd` has no browser to log in."""
    if remote is not None and isinstance(error, errors.Forbidden) and error.message == NO_TOKEN:
        access.forget(remote.url, remote.secret)
        error.hint = _unknown(remote)
    return error


def _unknown(remote: Remote) -> str:
    kept = "the token that was given" if remote.token else f"the token in {remote.token_file}"
    again = f"qd login {remote.url}, or" if not remote.token else ""
    return f"{kept} is not, or no longer, known there: {again} make one on that machine with qd token create".replace("  ", " ")


def _of_status(status: int) -> type[QuarterdeckError]:
    """The branch of the tree for a kind of refusal that this client does not know."""
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
        return Transient
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors.UserError
    return QuarterdeckError if status == HTTPStatus.INTERNAL_SERVER_ERROR else Transient


class EventReader:
    """Puts events together from the lines of a stream; comments are skipped, an event cut off at the end is dropped."""

    def __init__(self) -> None:
        self._name = self._last = ""
        self._data: list[str] = []

    def take(self, line: str) -> Event | None:
        """The event that a line ends, if it ends one."""
        text = line.rstrip("\r\n")
        label, _, value = text.partition(":")
        value = value.removeprefix(" ")
        match label:
            case "" if not text:
                name, data = self._name, self._data
                self._name, self._data = "", []
                return Event(self._last, name or "message", json.loads("\n".join(data))) if data else None
            case "id":
                self._last = value
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case _:  # a comment, or a field that this client does not know
                pass
        return None


def parse(lines: Iterator[str]) -> Iterator[Event]:
    """Every event of the lines of a stream."""
    reader = EventReader()
    for line in lines:
        event = reader.take(line)
        if event is not None:
            yield event


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while line := answer.readline(_LONGEST_LINE):
        yield line


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
