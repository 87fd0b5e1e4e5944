"""A plan kept in a file: what `qd plan --out` writes, and how `qd apply` comes back from it to exactly what was looked at.

The file says where the spec lies and by digest what spec, code and secrets were, never what is in them: it holds no secret, and whoever
edits it can have something refused, not something else carried out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quarterdeck.cli.session import Session
from quarterdeck.cli.source import Source
from quarterdeck.cli.usage import UsageError
from quarterdeck.client.wire import Document
from quarterdeck.durable import write_synced
from quarterdeck.errors import Conflict, UserError
from quarterdeck.spec.saved import HEAD_BYTES, KIND, is_plan

MOST_BYTES: Final = 8 << 20
_SHAPE: Final = {"system": str, "index": int, "digest": str, "file": str, "home": str, "key": str, "steps": list}
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_JSON: Final = re.compile(r'\s*\{\s*"')
_AGAIN: Final = "qd plan FILE --out PLAN makes a new one"


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A kept plan as its file tells it: of which spec, system and home (its folder, and the public key of its journal), at which index."""

    name: str
    system: str
    index: int
    digest: str
    file: Path
    home: str
    key: str

    @classmethod
    def of(cls, source: Source) -> SavedPlan | None:
        """The plan that a file holds; None for a spec. Raises UserError for a plan that is damaged or cut off."""
        if not is_plan(source.text.encode()) and not _cut_off(source.text):
            return None
        found = _document(source)
        return cls(str(source.path), found["system"], found["index"], found["digest"], Path(found["file"]), found["home"], found["key"])

    def body(self, session: Session, environ: Mapping[str, str]) -> Document:
        """The request that applies it. Raises Conflict for the plan of another home or system, NotFound when its spec is gone."""
        if session.system not in (None, self.system):
            raise Conflict(f"{self.name} is a plan of {self.system}, not of {session.system}", hint="leave -s out", code="E1503")
        if identity(session) != self.key:
            message = f"{self.name} was planned for another home: {self.home}"
            raise Conflict(message, hint=f"qd --home {self.home} apply {self.name}, or plan here anew", code="E1503")
        if self.file.exists() and not self.file.is_file():
            raise damaged(self.name, f"{self.file} is no file")
        return {**Source.read(self.file).body(environ), "index": self.index, "digest": self.digest}


def identity(session: Session) -> str:
    """What tells a home from every other, also from one that was made anew in its place: the public key of its journal (hex)."""
    return str(session.client.get("/v1/journal/head").get("key") or "")


def keep(session: Session, source: Source, plan: Document, path: Path) -> None:
    """Write a plan into a file. Raises UserError where it cannot be written, UsageError when the spec came from stdin."""
    if str(source.path) == "-":
        raise UsageError("a plan of stdin cannot be kept: qd apply reads the spec again", hint="qd plan FILE --out PLAN")
    kept = {name: plan[name] for name in ("system", "index", "digest", "steps", "summary")}
    where = {"file": str(source.path.absolute()), "home": str(session.client.get("/v1/version")["home"]), "key": identity(session)}
    document = {"apiVersion": plan["apiVersion"], "kind": KIND, **where, **kept}
    try:
        if path.is_file() and (begin := path.read_bytes()[:HEAD_BYTES]) and not is_plan(begin):
            raise UserError(f"{path} is there, and is no plan", hint="name a file that is not there, or an earlier plan", where=str(path))
        write_synced(path, f"{json.dumps(document, indent=2)}\n".encode(), mode=0o644)
    except OSError as error:
        hint = "name a file in a folder that you may write into"
        raise UserError(f"{path} cannot be written: {error.strerror}", hint=hint, where=str(path.absolute())) from error


def damaged(name: str, why: str) -> UserError:
    """The error for a file that begins as a plan and is none."""
    return UserError(f"{name} is not a whole plan: {why}", hint=_AGAIN, where=name, code="E1504")


def _document(source: Source) -> dict[str, Any]:
    """The fields of a plan, each of its type. Raises UserError."""
    name = str(source.path)
    if len(source.text) > MOST_BYTES:
        raise damaged(name, f"it is larger than {MOST_BYTES >> 20} MiB")
    try:
        found = json.loads(source.text)
    except json.JSONDecodeError as error:
        raise damaged(name, f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets in brackets
        raise damaged(name, "it is not JSON that anybody would write") from error
    wrong = [field for field, kind in _SHAPE.items() if type(found.get(field)) is not kind]
    if wrong or found.get("kind") != KIND:
        raise damaged(name, f"{', '.join(wrong) or 'kind'} is missing or not what it must be")
    if not _DIGEST.fullmatch(found["digest"]) or not Path(found["file"]).is_absolute() or "\0" in found["file"]:
        raise damaged(name, "digest or file is not what it must be")
    return dict(found)


def _cut_off(text: str) -> bool:
    """Whether a text begins as JSON and does not end as such: YAML allows a spec in JSON, but nobody means half of one."""
    if not _JSON.match(text):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return True
    return False
