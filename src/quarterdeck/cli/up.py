"""`qd up`: from a file to a running fleet, shown phase by phase."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from quarterdeck.cli.deployment import Result, Watch, aimed, told, told_on
from quarterdeck.cli.link import front
from quarterdeck.cli.plan import summary
from quarterdeck.cli.progress import Progress, Silent, Style, choose, told_meanwhile
from quarterdeck.cli.render import counted, dump, show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.source import USUAL, FileArgument, Source
from quarterdeck.cli.start import check_sign_in, door_ignored, ensure, port_ignored, sign_in_ignored
from quarterdeck.cli.times import duration
from quarterdeck.client.wire import Document
from quarterdeck.errors import StoreReadOnly, Transient

APPLY_WITHIN: Final = 120.0
"""Seconds for one apply: the code tree is copied and its entry points are looked up."""
WAKES_WITHIN: Final = 15.0
"""Seconds until a fresh control plane has found its node."""
TimeoutOption = Annotated[str, typer.Option(metavar="TIME", help="How long to wait for Ready, e.g. 90s or 5m.")]
BindOption = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Where the dashboard listens; beyond loopback only with TLS.")]
CertOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate chain (PEM) of the dashboard.")]
KeyOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Its key (PEM).")]
UrlOption = Annotated[str | None, typer.Option(metavar="URL", help="By which name browsers reach it, e.g. https://fleet.example.org.")]
SignInOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Who may sign in by which OpenID Connect provider.")]
ReasonOption = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the journal.")]


def up(
    session: Session,
    file: FileArgument = USUAL,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Deploy again on every save of spec or code.")] = False,
    progress: Annotated[Style | None, typer.Option(help="How to show progress; by itself what the terminal can do.")] = None,
    timeout: TimeoutOption = "2m",
    index: Annotated[int | None, typer.Option(metavar="N", help="Refuse when the world has moved since this index of qd plan.")] = None,
    reason: ReasonOption = "",
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the dashboard; 0 for any. Only when this starts the control plane.")
    ] = None,
    bind: BindOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    public_url: UrlOption = None,
    sign_in: SignInOption = None,
) -> int:
    """Start everything, deploy FILE and show the seven phases until Ready.

    $ qd up                         ./quarterdeck.yaml
    $ qd up fleet.yaml --watch      deploy again on every save
    $ qd up -o json                 the status document at the end

    Without --watch: exit 0 when Ready, 1 when a phase failed, 5 when time is up. A deployment that was
    begun goes on when this command is interrupted.
    """
    begun = session.client.clock.monotonic()
    source, within = Source.read(file), duration(timeout)
    door = {
        "QUARTERDECK_BIND": bind,
        "QUARTERDECK_TLS_CERT": tls_cert,
        "QUARTERDECK_TLS_KEY": tls_key,
        "QUARTERDECK_PUBLIC_URL": public_url,
        "QUARTERDECK_SIGN_IN": sign_in,
    }
    check_sign_in(sign_in, os.environ)
    version = ensure(session, port, door, told=not session.machine and progress is not Style.json)
    session.warn([*port_ignored(version, port, os.environ), *door_ignored(version, door), *sign_in_ignored(version, sign_in)])
    run = Up(session, progress, within, reason, version)
    try:
        if watch:
            from quarterdeck.cli.watch import keep_up  # noqa: PLC0415 only when asked for

            return keep_up(run, source)
        return run.once(source, index=index, begun=begun).exit_code
    except KeyboardInterrupt:
        session.say(f"\ninterrupted: the deployment goes on · {session.aimed('qd status')} · stop with qd down")
        return 130


def no_proof(session: Session) -> None:
    """`qd up` proves nothing beyond its phases: it never harms anything."""


@dataclass(frozen=True, slots=True)
class Up:
    """One `qd up`: how it shows things, how long it waits (seconds), and the control plane that answered.

    `met`: it was said before where all is to be seen and what comes next. A link is a token and a record in the journal.
    """

    session: Session
    style: Style | None
    within: float
    reason: str
    version: Mapping[str, Any]
    proof: Callable[[Session], None] = no_proof
    met: bool = False

    def once(
        self, source: Source, *, index: int | None = None, begun: float | None = None, superseded: Callable[[], bool] = bool
    ) -> Result:
        """Apply, watch, and say how it ended. `begun` is when the user began to wait (monotonic), now without it."""
        client = self.session.client
        begun = client.clock.monotonic() if begun is None else begun
        with told_meanwhile(self._mutter, client.clock, f" … reading {source.path} and the code that it names"):
            revision = self._apply(source.body(os.environ), index)
        self._head(revision)
        status = self._unchanged(revision)
        if status is not None:
            return self._end(Result("ready", status, 0.0), None)
        watching = Watch(client, revision["system"], int(revision["number"]), self._progress(), superseded)
        result = watching.until(self.within)
        return self._end(result, client.clock.monotonic() - begun)

    def _apply(self, body: Document, index: int | None) -> Document:
        """The same content applied twice is one revision, so an unknown outcome is tried again; not with an index, which has moved then."""
        client = self.session.client
        deadline = client.clock.monotonic() + WAKES_WITHIN
        while True:
            try:
                whole = {**body, "index": index, "reason": self.reason or None}
                found: Document = client.post("/v1/apply", whole, timeout=APPLY_WITHIN)
            except Transient as error:
                if index is not None or isinstance(error, StoreReadOnly) or client.clock.monotonic() > deadline:
                    raise
                time.sleep(0.05)
                continue
            return found

    @property
    def worded(self) -> bool:
        """Whether words for people belong on stdout."""
        return not (self.session.quiet or self.session.machine or self.style is Style.json)

    def _progress(self) -> Progress:
        if self.session.machine and self.style is not Style.json:
            return Silent()
        return choose(self.style, self.session.screen, self.session.client.clock, quiet=self.session.quiet)

    def _mutter(self, words: str) -> None:
        if self.worded:
            self.session.say(words)

    def _head(self, revision: Document) -> None:
        self.session.warn(revision.get("warnings") or ())
        if self.worded:
            home = shortened(self.session.home.root)
            self.session.screen.line(
                f" Quarterdeck {self.version.get('version', '')} · {self.version.get('engine', 'local')} engine · home {home}"
            )
            plan = revision.get("plan")
            if plan and plan["steps"]:
                self.session.screen.lines(*self.session.screen.wrapped(" ", sized(plan)))

    def _unchanged(self, revision: Document) -> Document | None:
        """The status when there is nothing to do, said on the screen; None when there is."""
        plan = revision.get("plan")
        if plan is None or plan["steps"] or revision.get("created"):
            return None
        status: Document = self.session.client.get("/v1/status", {"system": revision["system"]})
        if not status.get("ready") or int(status.get("revision") or 0) != int(revision["number"]):
            return None
        if self.worded:
            self.session.screen.line(f" Nothing to change: revision {revision['number']} is deployed and ready")
        return status

    def _end(self, result: Result, seconds: float | None) -> Result:
        status = result.status
        lines = told(result, seconds, self.session.client)
        lines = aimed(self._of(status), lines) if status else lines
        if self.worded:
            screen = self.session.screen
            screen.lines(*told_on(screen, lines[:1]))
            if result.outcome == "ready":
                self.proof(self.session)
            if lines[1:]:
                screen.lines(*told_on(screen, lines[1:]))
        elif result.outcome in ("stopped", "failed", "timeout"):
            self.session.words.lines(*told_on(self.session.words, lines))
        if self.worded and status and result.outcome == "ready" and not self.met:
            self._end_well(status)
        if self.style is Style.json and status:
            dump(status, self.session.screen.out, indent=None)
        elif self.session.machine and status:
            show(self.session, status, name=str(status.get("system", "")))
        return result

    def _end_well(self, status: Document) -> None:
        """Where it is to be seen, and the next commands."""
        session = self._of(status)
        link = session.client.post("/v1/login", {"next": front(session)})["url"]
        agents = session.client.get("/v1/agents", {"system": status["system"]})["items"]
        example = f"qd explain {clean(agents[0]['name'])} · " if agents else ""
        following = f"{session.aimed(f'qd status · {example}qd logs -f')} · stop with {session.aimed('qd down')}"
        session.screen.lines(f" Dashboard {clean(link)}   (link logs you in once)", *session.screen.listed(" Next      ", following))

    def _of(self, status: Document) -> Session:
        """The session for the system that the file names."""
        return replace(self.session, system=str(status["system"]))


def sized(plan: Document) -> str:
    """`Plan: 3 clusters, 9 replicas, 2 links to create` for a first deployment, else the summary of the plan."""
    steps = plan["steps"]
    rooms = [step for step in steps if step["phase"] == "infrastructure_provisioning"]
    if not rooms or any(step["action"] != "add" for step in rooms) or any(step["action"] in ("remove", "change") for step in steps):
        return summary(plan)
    counts = [step["reason"].split(" ")[0] for step in steps if step["phase"] == "agent_cluster_deployment"]
    replicas = sum(int(count) for count in counts if count.isdecimal())
    links = sum(step["phase"] == "service_mesh_configuration" for step in steps)
    parts = [(len(rooms), "cluster"), (replicas, "replica"), (links, "link")]
    return "Plan: " + ", ".join(counted(n, noun) for n, noun in parts if n) + " to create"


def shortened(path: Path) -> str:
    """A path with `~` for the user's own folder."""
    own = os.environ.get("HOME", "")
    return f"~{str(path)[len(own) :]}" if own not in ("", "/") and path.is_relative_to(own) else str(path)
