"""`qd open`: into the dashboard."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final
from urllib.parse import quote, urljoin

import typer

from quarterdeck.cli.completing import target_names
from quarterdeck.cli.explain_link import found_link
from quarterdeck.cli.render import show
from quarterdeck.cli.screen import clean
from quarterdeck.cli.session import Session
from quarterdeck.cli.task_list import resolved
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.errors import NotFound
from quarterdeck.model.work import is_task_id
from quarterdeck.version import API_VERSION

DOCS: Final = "docs"
"""The target that is the documents, unless a cluster is called so."""
_LONGEST_USER: Final = 100
UserOption = Annotated[str, typer.Option(metavar="NAME", help="Whom it is for: the journal names them for all that is done with it.")]
_CLUSTER: Final = re.compile(r"([a-z0-9]([a-z0-9_-]*[a-z0-9])?/)?[a-z0-9]([a-z0-9_-]*[a-z0-9])?")


class Role(StrEnum):
    """The roles, from least to most."""

    viewer = "viewer"
    operator = "operator"
    deployer = "deployer"
    admin = "admin"


def open_link(
    session: Session,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            show_default=False,
            help="Its page: cluster, cluster/agent, cluster/agent-n, a link, a task's id or key, or docs.",
            autocompletion=target_names,
        ),
    ] = None,
    *,
    role: Annotated[Role, typer.Option(help="What the browser may do.")] = Role.admin,
    cluster: Annotated[str | None, typer.Option(metavar="NAME", help="Only this cluster is seen.")] = None,
    user: UserOption = "",
    print_: Annotated[bool, typer.Option("--print", help="Only print the link.")] = False,
) -> None:
    """Open the dashboard in a browser, logged in, at the page of TARGET. The link is printed too; it logs in once.

    $ qd open
    $ qd open analysts/analyst-1         at the page of a replica
    $ qd open docs                       at the documents
    $ qd open --print                    for a browser elsewhere
    $ qd open --role viewer --print      for somebody who may look, not touch

    No browser is started in CI, in a pipe, or without a display.
    """
    check_cluster(cluster)
    page = _page(session, target) if target else front(session)
    check_user(user)
    body = {"role": role.value, "cluster": cluster, "user": user or None, "next": page}
    document: Document = {"apiVersion": API_VERSION, "kind": "Login", **session.client.post("/v1/login", body)}
    session.warn(document.pop("warnings", ()))
    if page:
        document = {**document, "page": urljoin(document["url"], page)}
    show(session, document, lambda screen: screen.line(clean(document["url"])), name=document["url"])
    if print_ or session.machine or not (sys.stdout.isatty() and displays(os.environ)):
        return
    import webbrowser  # noqa: PLC0415 only where there is one

    if webbrowser.open(document["url"]):
        session.say("opened in your browser · next: qd status")
    else:
        session.say("no browser was found: open the link yourself; it logs you in once")


def front(session: Session) -> str | None:
    """The path of the overview of the session's system; None where it is the front page. Raises NotFound for a system that is not there."""
    if session.system and session.apart is None:
        session.client.get("/v1/status", {"system": session.system})  # it is the only one, or there is none of that name
    return f"/?system={quote(session.apart)}" if session.apart else None


def check_cluster(cluster: str | None) -> None:
    """Raise UsageError for what no cluster can be called."""
    if cluster is not None and not _CLUSTER.fullmatch(cluster):
        raise UsageError(
            f"{cluster!r} is no name of a cluster", hint="--cluster takes CLUSTER or SYSTEM/CLUSTER; qd get clusters lists them"
        )


def check_user(user: str) -> None:
    """Raise UsageError for what is no name to stand in the journal."""
    if len(user) > _LONGEST_USER or not all(map(str.isprintable, user)):
        raise UsageError(f"{user[:40]!r} is no name of a user", hint=f"--user takes {_LONGEST_USER} printable characters, e.g. alice")


def _page(session: Session, target: str) -> str | None:
    """The path of a target's page in the dashboard; None for the front page. Raises NotFound for what is not there."""
    if is_task_id(target):
        return f"/tasks/{session.client.get(f'/v1/tasks/{target}')['id']}"
    session, inside = session.aimed_at(target)
    system = f"?system={quote(session.system)}" if session.system else ""
    if "->" in inside:
        return f"/links{system}#{quote(inside)}" if found_link(session, inside) else None
    try:
        place = session.client.get("/v1/explain", {"target": inside, "system": session.system})["target"]
    except NotFound:
        if inside == DOCS:
            return "/docs/"
        if "/" not in inside:  # the key of a task
            with contextlib.suppress(NotFound):
                return f"/tasks/{resolved(session, inside)}"
        raise
    if place.endswith(":"):
        return f"/{system}"
    agents = session.client.get("/v1/agents", {"system": session.system})["items"]
    kind = "clusters" if "/" not in place else "agents" if any(agent["name"] == place for agent in agents) else "replicas"
    return f"/{kind}/{place}{system}"


def displays(environ: Mapping[str, str]) -> bool:
    """Whether a browser would be seen: there is a display or a browser that the user named, and nobody is away (CI)."""
    return not environ.get("CI") and any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
