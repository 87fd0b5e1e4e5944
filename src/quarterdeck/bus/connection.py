"""One connection to nats-server: requests that end when the connection breaks, listening, and an end that loses nothing.

The only file of a replica that touches nats-py; it is imported at connect, so that importing the SDK stays cheap. nats-py reconnects by
itself while its JWT is valid; when the server ends an expired user it closes for good, and the owner opens a new `Connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from quarterdeck.bus.links import Failure
from quarterdeck.errors import Transient, UserError

if TYPE_CHECKING:
    from nats.aio.client import Client as Nats
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from quarterdeck.model.table import Credential

log = logging.getLogger(__name__)

RECONNECT_PAUSE: Final = 0.02
"""Seconds between attempts to reach a server that is gone: a restarted one answers after about a tenth of a second."""
CONNECT_WITHIN: Final = 10.0
PING_EVERY: Final = 10
OUTBOX: Final = 8 * 1024 * 1024
"""Bytes kept while the server is away; what does not fit is refused to the caller."""
FLUSHER_TURNS: Final = 4
"""Rounds of the loop in which nats-py's flusher, once woken, has written what waits; one that does not is stuck or without a server."""
BACKLOG: Final = 1024
"""Messages of one subscription that wait in this process; what does not fit is dropped and logged."""
_REFUSED: Final = re.compile(r'Permissions Violation for Publish to "([^"]+)"', re.IGNORECASE)


class Unanswered(Exception):
    """A request ended without an answer; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure: Failure = failure


@dataclass(frozen=True, slots=True)
class Login:
    """Where and as whom to connect: the server's URL, a name for its listings, the private inbox prefix, and the user (None: no auth)."""

    url: str
    name: str
    inbox: str
    credential: Credential | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it arrived. `delivered` counts deliveries of a durable one, this included; 0 for others. `told`: no answer is wanted."""

    subject: str
    headers: Mapping[str, str]
    body: bytes
    delivered: int = 0
    told: bool = False

    @property
    def verb(self) -> str:
        """The last token of the subject."""
        return self.subject.rpartition(".")[2]


class Connection:
    """One live connection; made by `open`. `watchers` are called after a reconnection and when it closed for good."""

    def __init__(self, nats: Nats, login: Login) -> None:
        self.nats = nats
        self.login = login
        self.since = asyncio.get_running_loop().time()
        self.watchers: list[Callable[[], None]] = []
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._mux = ""
        self._refusals: dict[str, bool] = {}
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._closer: asyncio.Task[Any] | None = None
        self._lost: Callable[[Connection], None] | None = None

    @classmethod
    async def open(cls, login: Login, lost: Callable[[Connection], None] | None = None) -> Connection:
        """Connect, or raise Transient with the server's last word after ten seconds. `lost` is called when the client closed for good."""
        from nats.aio.client import Client as Nats  # noqa: PLC0415 see the module

        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() is None:
            loop.set_exception_handler(_unheard)
        nats = Nats()
        self = cls(nats, login)
        problems: list[str] = []

        async def problem(error: Exception) -> None:
            problems[:] = [str(error) or type(error).__name__]
            self._note(error)
            if self._closer not in (None, asyncio.current_task()) and not nats.is_connected:
                raise asyncio.CancelledError  # again: wait_for of Python 3.11 can lose nats-py's own, which would try to connect for ever

        try:
            await _within(CONNECT_WITHIN, nats.connect(login.url, error_cb=problem, **self._options()))
            self._mux = nats.new_inbox()
            await self.listen(f"{self._mux}.*", self._on_answer)
            await self.flush()  # a server that does not want an ended user says so only after the greeting
        except (TimeoutError, Transient):
            await self._abort()
            msg = f"the bus at {login.url} cannot be reached within {CONNECT_WITHIN:.0f} s: {problems[0] if problems else 'no answer'}"
            raise Transient(msg) from None
        except asyncio.CancelledError:
            await self._abort()
            raise
        self._lost = lost
        return self

    def _options(self) -> dict[str, Any]:
        """nats-py's, whose types say int where they mean seconds."""
        return {
            "name": self.login.name,
            "inbox_prefix": self.login.inbox,
            "disconnected_cb": self._on_disconnect,
            "reconnected_cb": self._on_reconnect,
            "closed_cb": self._on_close,
            "max_reconnect_attempts": -1,
            "reconnect_time_wait": RECONNECT_PAUSE,
            "connect_timeout": 2,
            "ping_interval": PING_EVERY,
            "max_outstanding_pings": 2,
            "pending_size": OUTBOX,
            **_identity(self.login.credential),
        }

    async def _abort(self) -> None:
        self._closer = asyncio.current_task()
        await self.nats.close()

    @property
    def alive(self) -> bool:
        """Whether this connection may still be used; while it reconnects, it may."""
        return not self.nats.is_closed

    def age(self) -> float:
        """Seconds since the last (re)connection."""
        return asyncio.get_running_loop().time() - self.since

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep this connection open for an answer that can only come or go over it (inboxes and permissions to answer are its own)."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def request(self, subject: str, body: bytes, headers: dict[str, str], limit: float) -> Msg:
        """Send and wait `limit` seconds for one answer; raises Unanswered."""
        token = secrets.token_hex(12)  # not to be guessed by whoever was asked before: replicas may publish to inboxes of their account
        waiting: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._waiting[token] = waiting
        try:
            with self.in_use():
                async with asyncio.timeout(limit):
                    await self.send(subject, body, headers, reply=f"{self._mux}.{token}")
                    answer = await waiting
        except TimeoutError:
            raise Unanswered("timeout" if self.nats.is_connected else "lost") from None
        finally:
            del self._waiting[token]
        if answer.headers and answer.headers.get("Status") == "503":
            raise Unanswered("no_responders")
        return answer

    async def send(self, subject: str, body: bytes = b"", headers: dict[str, str] | None = None, *, reply: str = "") -> None:
        """Publish once; nothing is known about its fate. Raises Unanswered when this connection is closed or its outbox is full."""
        from nats.errors import ConnectionClosedError, ConnectionDrainingError, MaxPayloadError, OutboundBufferLimitError  # noqa: PLC0415

        try:
            await self.nats.publish(subject, body, reply=reply, headers=headers)
        except (ConnectionClosedError, ConnectionDrainingError, OutboundBufferLimitError) as error:
            raise Unanswered("lost") from error
        except MaxPayloadError as error:
            msg = f"{len(body):,} bytes are more than the bus carries in one message"
            raise UserError(msg, hint="send a reference to it, or send it in parts") from error

    async def listen(
        self, subject: str, arrived: Callable[[Msg], Awaitable[None]], *, queue: str = "", backlog: int = BACKLOG
    ) -> Subscription:
        """Call `arrived` for each message, one after the other; it should hand long work to a task. Raises Transient when closed."""
        from nats.errors import ConnectionClosedError, ConnectionDrainingError  # noqa: PLC0415

        try:
            return await self.nats.subscribe(subject, queue=queue, cb=arrived, pending_msgs_limit=backlog)
        except (ConnectionClosedError, ConnectionDrainingError) as error:
            msg = f"cannot listen on {subject}: the connection is closed"
            raise Transient(msg) from error

    async def drain(self, subscription: Subscription) -> None:
        """End a subscription after everything the server has already sent for it was handed over."""
        from nats.errors import Error  # noqa: PLC0415

        try:
            await subscription.drain()  # type: ignore[no-untyped-call]
        except (Error, TimeoutError) as error:
            log.info("a subscription ended with its connection: %s", error)

    def inbox(self) -> str:
        """A new private subject."""
        return self.nats.new_inbox()

    async def flush(self, within: float = 5.0) -> None:
        """Wait until the server has read everything sent so far and our subscriptions stand; raises Transient."""
        from nats.errors import Error  # noqa: PLC0415

        try:
            for _ in range(1 if await self._handed_over() else 2):  # nats-py pings ahead of what still waits: the second comes after it
                await self.nats.flush(within)  # type: ignore[arg-type]  # nats-py says int and means seconds
        except (Error, TimeoutError) as error:
            msg = f"the bus did not confirm within {within} s"
            raise Transient(msg) from error

    async def _handed_over(self) -> bool:
        """Let nats-py's flusher have its turn; whether nothing waits any more."""
        for _ in range(FLUSHER_TURNS):
            if not self.nats.pending_data_size:
                break
            await asyncio.sleep(0)
        return not self.nats.pending_data_size

    async def refuses(self, subject: str) -> bool:
        """Publish an empty message on `subject` and tell whether the server refused it: its error comes before the flush's answer."""
        asked = subject.lower()  # nats-py puts the server's errors into lower case
        self._refusals[asked] = False
        try:
            await self.send(subject)
            await self.flush()
            return self._refusals[asked]
        finally:
            self._refusals.pop(asked, None)

    async def close(self, within: float = 0.0) -> None:
        """Close for good, once nobody uses it any more or `within` seconds are over. Listeners should be drained before."""
        with contextlib.suppress(TimeoutError):  # whoever still waits then gets Unanswered("lost")
            async with asyncio.timeout(within):
                await self._unused.wait()
        self._closer = asyncio.current_task()
        if self.nats.is_connected:
            with contextlib.suppress(Transient):  # a server that is gone cannot confirm; closing goes on
                await self.flush(1.0)
        with contextlib.suppress(ConnectionError):  # nats-py sends what still waits, to a server that may be gone
            await self.nats.close()
        self._break_requests()

    def _break_requests(self) -> None:
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(Unanswered("lost"))

    def _tell_watchers(self) -> None:
        for watcher in self.watchers:
            watcher()

    def _note(self, error: Exception) -> None:
        refused = _REFUSED.search(str(error))
        if refused:
            asked = refused[1].lower()
            if asked in self._refusals:
                self._refusals[asked] = True
            else:
                log.warning("the bus refused a message on %s", refused[1])
        else:
            log.debug("bus connection: %s", error)

    async def _on_answer(self, msg: Msg) -> None:
        waiting = self._waiting.get(msg.subject.rpartition(".")[2])
        if waiting is not None and not waiting.done():
            waiting.set_result(msg)

    async def _on_disconnect(self) -> None:
        self._break_requests()

    async def _on_reconnect(self) -> None:
        self.since = asyncio.get_running_loop().time()
        self._tell_watchers()

    async def _on_close(self) -> None:
        self._break_requests()
        self._tell_watchers()
        if self._closer is None and self._lost is not None:
            self._lost(self)


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of an attempt to connect that failed while nats-py was cancelled: `asyncio.wait_for` forgets it, up to Python 3.11."""
    task = context.get("future")
    attempt = isinstance(task, asyncio.Task) and getattr(task.get_coro(), "__name__", "") == "open_connection"
    if not (attempt and isinstance(context.get("exception"), OSError)):
        loop.default_exception_handler(context)


async def _within(seconds: float, work: Coroutine[object, object, object]) -> None:
    """Like `asyncio.timeout`, for work that may swallow a cancellation: nats-py waits by `asyncio.wait_for`, which does so up to 3.11."""
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)
    if not done:
        raise TimeoutError
    task.result()


def preload() -> None:
    """Import nats-py and what it signs with now: for a process that is going to fork."""
    for name in ("nats.aio.client", "nkeys"):
        importlib.import_module(name)


def _identity(credential: Credential | None) -> dict[str, Callable[[], bytes] | Callable[[str], bytes]]:
    """The two callbacks of nats-py's JWT login; the seed stays in this process."""
    if credential is None:
        return {}

    def sign(nonce: str) -> bytes:
        import base64  # noqa: PLC0415

        import nkeys  # noqa: PLC0415 pulls in libsodium

        pair = nkeys.from_seed(bytearray(credential.seed.encode()))
        return base64.b64encode(pair.sign(nonce.encode()))

    return {"user_jwt_cb": credential.jwt.encode, "signature_cb": sign}
