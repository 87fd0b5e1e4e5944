"""Contexts: names for the control planes a person works with, in one file, `~/.config/quarterdeck/contexts.yaml`.

A context is a home on this machine, or a URL with the file of a token. With `production: true` every verb that changes something asks
first.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from quarterdeck.client.doors import Place, Remote, checked
from quarterdeck.errors import NotFound, UserError
from quarterdeck.model.home import Home
from quarterdeck.version import API_VERSION

VARIABLE: Final = "QUARTERDECK_CONTEXT"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_FIELDS: Final = frozenset({"home", "url", "token_file", "ca", "production"})
_EXAMPLE: Final = "a context is {home: DIR} or {url: https://HOST:PORT, token_file: FILE}, with production: true where it is"


@dataclass(frozen=True, slots=True)
class Context:
    """One name and where it leads."""

    name: str
    place: Place
    production: bool = False

    @property
    def where(self) -> str:
        """For people."""
        return str(self.place.root) if isinstance(self.place, Home) else self.place.url

    def written(self) -> dict[str, Any]:
        """As it stands in the file."""
        match self.place:
            case Home(root=root):
                found: dict[str, Any] = {"home": str(root)}
            case Remote(url=url, token_file=token, ca=ca):
                found = {"url": url, "token_file": str(token), **({"ca": str(ca)} if ca else {})}
        return {**found, **({"production": True} if self.production else {})}


@dataclass(frozen=True, slots=True)
class Contexts:
    """The file: every context by name, and which one is used when nothing else is said (empty: none)."""

    path: Path
    current: str = ""
    known: Mapping[str, Context] = field(default_factory=dict)

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Contexts:
        """The user's file; no file is no context. Raises UserError for a file that makes no sense."""
        path = location(environ)
        try:
            text = path.read_text()
        except FileNotFoundError:
            return cls(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read", hint="mend or remove it; qd context add writes a new one") from error
        return cls.parse(path, text)

    @classmethod
    def parse(cls, path: Path, text: str) -> Contexts:
        """From the text of the file. Raises UserError."""
        from ruamel.yaml import YAML  # noqa: PLC0415 only for those who have contexts
        from ruamel.yaml.error import YAMLError  # noqa: PLC0415

        try:
            document = YAML(typ="safe", pure=True).load(text) or {}
            known = {str(name): _context(str(name), given) for name, given in (document.get("contexts") or {}).items()}
            return cls(path, str(document.get("current") or ""), known)
        except (YAMLError, AttributeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"the contexts cannot be understood: {reason}", hint=_EXAMPLE, where=str(path)) from error

    def named(self, name: str) -> Context:
        """The context of a name; raises NotFound with the nearest."""
        if name in self.known:
            return self.known[name]
        near = difflib.get_close_matches(name, self.known, n=1)
        hint = f"one of {', '.join(sorted(self.known))}" if self.known else f"qd context add {name} gives a home or URL that name"
        raise NotFound(f"there is no context {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""), hint=hint)

    def of(self, home: Home) -> Context | None:
        """The context that leads to a home, a production one first: a home is production by whatever way it was named."""
        found = [context for context in self.known.values() if context.place == home]
        return max(found, key=lambda context: context.production, default=None)

    def write(self) -> None:
        """Replace the file. Raises UserError when it cannot be written."""
        import io  # noqa: PLC0415 with the writer

        from ruamel.yaml import YAML  # noqa: PLC0415

        from quarterdeck.durable import write_synced  # noqa: PLC0415

        yaml, out = YAML(), io.StringIO()
        contexts = {name: context.written() for name, context in sorted(self.known.items())}
        yaml.dump({"apiVersion": API_VERSION, "kind": "Contexts", "current": self.current, "contexts": contexts}, out)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_synced(self.path, out.getvalue().encode(), mode=0o600)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror}", hint="set XDG_CONFIG_HOME to a folder of yours") from error


def location(environ: Mapping[str, str]) -> Path:
    """Where the file is (XDG base directories)."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    return Path(base).absolute() / "quarterdeck" / "contexts.yaml"


def chosen(contexts: Contexts, home: Path | None, name: str | None, environ: Mapping[str, str]) -> tuple[Place, Context | None]:
    """Where a command line leads, and the context, where there is one. Raises UserError or NotFound.

    First come, first served: --home, --context, QUARTERDECK_CONTEXT, QUARTERDECK_HOME, the file's current context, the usual home.
    """
    if home is not None and name:
        raise UserError("--home and --context name two places", hint="give one of them")
    named = "" if home is not None else name or environ.get(VARIABLE, "")
    if home is None and not named and not environ.get("QUARTERDECK_HOME"):
        named = contexts.current
        if named and named not in contexts.known:
            hint = f"mend the line `current:` of {contexts.path}"
            raise UserError(f"the current context {named!r} is not among the contexts", hint=hint, where=str(contexts.path))
    if named:
        context = contexts.named(named)
        return context.place, context
    place = Home.from_environment({**environ, "QUARTERDECK_HOME": str(home)} if home is not None else dict(environ))
    return place, contexts.of(place)


def made(name: str, home: Path | None, url: str | None, token_file: Path | None, ca: Path | None, *, production: bool) -> Context:
    """A context from what was given. Raises UserError."""
    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name for a context", hint="begin with a letter or digit, then letters, digits and . - _")
    if (home is None) == (url is None) or (url is None) != (token_file is None):
        raise UserError(f"context {name} needs either a home, or a URL and the file of a token", hint=_EXAMPLE)
    if url is not None and token_file is not None:
        authority = ca.expanduser().absolute() if ca else None
        return Context(name, Remote(checked(url), token_file.expanduser().absolute(), authority), production)
    return Context(name, Home((home or Path()).expanduser().absolute()), production)


def _context(name: str, given: Mapping[str, Any]) -> Context:
    unknown = sorted(set(given) - _FIELDS)
    if unknown:
        raise UserError(f"context {name} has no field {unknown[0]!r}", hint=f"one of {', '.join(sorted(_FIELDS))}")
    paths = {key: Path(str(given[key])) if given.get(key) else None for key in ("home", "token_file", "ca")}
    url = str(given["url"]) if given.get("url") else None
    return made(name, paths["home"], url, paths["token_file"], paths["ca"], production=given.get("production") is True)
