"""What each route asks of its caller, said where the route is defined.

It is read from the route table before any body is, and published in the OpenAPI document. A route that says nothing answers nobody.

`@router.get("/clusters", **needs("viewer", scope="cluster"))`
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from fastapi import Depends
from starlette.routing import BaseRoute, Match

from quarterdeck.api import csrf
from quarterdeck.api.errors import NO_TOKEN, not_so
from quarterdeck.errors import Forbidden, NotFound
from quarterdeck.model.grant import Grant, Role

Scope = Literal["system", "cluster"]
"""`system`: only a token that is bound to no cluster may call it. `cluster`: a bound one may, and its handler keeps to that cluster."""
OPEN: Final = "anyone"


@dataclass(frozen=True, slots=True)
class Need:
    """What a route asks for. `role` None: no identity. `local`: the unix socket, because it speaks of this machine's files.

    `form`: its CSRF token comes as a field of the form, checked by a dependency. `once`: to get it uses something up.
    """

    role: Role | None
    scope: Scope
    form: bool = False
    local: bool = False
    once: bool = False

    def check(self, grant: Grant, via: str, path: Mapping[str, Any]) -> None:
        """Raise Forbidden unless a grant suffices. `via` is the door, `path` the parameters of the path; a `cluster` there is compared."""
        if self.role is None:
            return
        if not grant.at_least(self.role):
            raise Forbidden(f"this needs the role {self.role}, yours is {grant.role}", hint=f"qd token create --role {self.role}")
        if self.scope == "system" and grant.bound:
            raise Forbidden(f"this is about the whole system, your token is for {grant.place} only", hint="use a token without --cluster")
        if self.local and via != "socket":
            raise Forbidden("this is done through the unix socket only", hint="run qd on the machine of the control plane")
        if grant.bound and path.get("cluster", grant.cluster) != grant.cluster:
            raise grant.outside()


def needs(role: Role, *, scope: Scope = "system", form: bool = False, local: bool = False) -> dict[str, Any]:
    """Arguments of a route that asks for a role; `form` for one that a page posts to, which then must carry the field `csrf`."""
    published = {"x-role": role, "x-scope": scope, **({"x-door": "unix socket"} if local else {})}
    if not form:
        return {"openapi_extra": published}
    return {"openapi_extra": {**published, "x-csrf": "form"}, "dependencies": [Depends(csrf.posted)]}


def open_to_anyone(*, once: bool = False) -> dict[str, Any]:
    """Arguments of a route that needs no identity: health, readiness and login, and nothing else (a test counts them).

    `once`: it trades a code or begins a sign-in, so that it cannot be asked for its head alone.
    """
    return {"openapi_extra": {"x-role": OPEN, "x-scope": "system", **({"x-once": True} if once else {})}}


def need_of(route: BaseRoute) -> Need | None:
    """What a route says it needs; None for one that says nothing."""
    said = getattr(route, "openapi_extra", None) or {}
    role, scope = said.get("x-role"), said.get("x-scope")
    if role is None or scope is None:
        return None
    return Need(None if role == OPEN else role, cast("Scope", scope), said.get("x-csrf") == "form", "x-door" in said, "x-once" in said)


def admit(table: Table, scope: MutableMapping[str, Any]) -> BaseRoute:
    """The route that will answer; raises unless the caller in the scope has what it asks for. The body is not looked at.

    NotFound: there is no such route; MethodNotAllowed: it is there for other methods; Forbidden: it says nothing, or asks for more. Who has
    no identity does not learn what there is. HEAD is answered by what answers GET, and with the same rule (RFC 9110, section 9.3.2).
    """
    grant: Grant | None = scope.get("grant")
    asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
    found = table.find(asked)
    need = need_of(found[0]) if found else None
    if grant is None and (need is None or need.role is not None):
        raise Forbidden(NO_TOKEN, hint="qd open prints a link that logs a browser in")
    if found is None:
        raise NotFound(f"there is nothing at {scope['path']}", hint="qd api openapi lists every path")
    if need is None:
        raise Forbidden(
            f"{scope['path']} has no rule for who may call it, so nobody may", hint="state one where the route is defined: needs(…)"
        )
    if asked["method"] not in (getattr(found[0], "methods", None) or ()) or (asked is not scope and need.once):
        raise not_so(scope, table.methods(scope))
    if grant is not None:
        need.check(grant, scope["actor"].via, found[1])
    csrf.check(scope, form=need.form)
    return found[0]


def permits(table: Table, caller: Mapping[str, Any], method: str, path: str) -> bool:
    """Whether the caller in a scope has what the route there asks for; nothing is asked of it."""
    found = table.find({"type": "http", "method": method, "path": path, "root_path": "", "headers": []})
    need = need_of(found[0]) if found else None
    if found is None or need is None:
        return False
    try:
        need.check(caller["grant"], caller["actor"].via, found[1])
    except Forbidden:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Table:
    """The routes in their order. Where a path without parameters leads is looked for once."""

    routes: Sequence[BaseRoute]
    _known: dict[tuple[str, str], BaseRoute] = field(default_factory=dict)

    def find(self, scope: MutableMapping[str, Any]) -> tuple[BaseRoute, Mapping[str, Any]] | None:
        """As the router chooses: the first that matches whole, else the first that matches but for its method."""
        asked = scope["method"], scope["path"]
        if known := self._known.get(asked):
            return known, {}
        partial = None
        for route in self.routes:
            match, child = route.matches(scope)
            found = route, child.get("path_params", {})
            if match is Match.FULL:
                if not found[1] and getattr(route, "path", None) == scope["path"]:  # strangers cannot fill it
                    self._known[asked] = route
                return found
            if match is Match.PARTIAL and partial is None:
                partial = found
        return partial

    def methods(self, scope: MutableMapping[str, Any]) -> tuple[str, ...]:
        """Every method that the path of a request is for, by the alphabet."""
        found: set[str] = set()
        for route in self.routes:
            need = need_of(route)
            if need is not None and route.matches(scope)[0] is not Match.NONE:
                mine = set(getattr(route, "methods", None) or ())
                found |= mine | ({"HEAD"} if "GET" in mine and not need.once else set())
        return tuple(sorted(found))
