"""Where a program's client leads: what it was told, else what its environment says, else this user's context and home, as for `qd`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quarterdeck.client.contexts import Contexts, chosen
from quarterdeck.client.doors import Place, Remote, checked
from quarterdeck.errors import UserError

URL: Final = "QUARTERDECK_URL"
TOKEN: Final = "QUARTERDECK_TOKEN"  # noqa: S105 the name of a variable
TOKEN_FILE: Final = "QUARTERDECK_TOKEN_FILE"  # noqa: S105
CA: Final = "QUARTERDECK_CA"


@dataclass(frozen=True, slots=True)
class Way:
    """What a program said about where the control plane is; None where it said nothing. `token` is the token itself."""

    home: str | Path | None = None
    url: str | None = None
    token: str | None = None
    token_file: str | Path | None = None
    ca: str | Path | None = None
    context: str | None = None


def place_of(way: Way, environ: Mapping[str, str] = os.environ) -> Place:
    """First come, first served: url, home, context, QUARTERDECK_URL, then as for `qd`. Raises UserError or NotFound."""
    if sum(one is not None for one in (way.home, way.url, way.context)) > 1:
        raise UserError("home, url and context name several places", hint="give one of them")
    url = way.url or (environ.get(URL) if way.home is None and way.context is None else None)
    if url:
        return _remote(url, way, environ)
    place, _ = chosen(Contexts.read(environ), Path(way.home) if way.home is not None else None, way.context, environ)
    return place


def _remote(url: str, way: Way, environ: Mapping[str, str]) -> Remote:
    token = way.token or (environ.get(TOKEN, "") if way.token_file is None else "")
    file = way.token_file or environ.get(TOKEN_FILE, "")
    if not token and not file:
        raise UserError(f"{url} needs a token", hint=f"token=, token_file=, {TOKEN} or {TOKEN_FILE}; qd token create --role operator")
    ca = way.ca or environ.get(CA)
    return Remote(checked(url), Path(file).expanduser(), Path(ca).expanduser() if ca else None, token)
