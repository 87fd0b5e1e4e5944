"""From a checked spec to what a revision keeps: the code snapshot, one Template an agent, and the digest of the whole."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quarterdeck.durable import write_synced
from quarterdeck.errors import UserError
from quarterdeck.model.desired import Template
from quarterdeck.model.home import Home
from quarterdeck.model.records import Revision
from quarterdeck.spec.load import Loaded
from quarterdeck.spec.saved import HEAD_BYTES, is_plan
from quarterdeck.spec.secrets import file_of, resolve
from quarterdeck.spec.system import AgentSpec
from quarterdeck.store import closure, code
from quarterdeck.store.tree import leaves


@dataclass(frozen=True, slots=True)
class Content:
    """What a revision is made of. `digest` names it: the same content is the same revision."""

    system: str
    text: str
    digest: str
    code: str
    lock: str
    templates: dict[str, Template]

    @property
    def templates_json(self) -> str:
        """The templates as kept with the revision."""
        return json.dumps({name: asdict(t) for name, t in self.templates.items()}, sort_keys=True)


def content(loaded: Loaded, home: Home, environ: Mapping[str, str]) -> Content:
    """Snapshot the code tree and resolve secrets into 0600 files of the home; changes nothing that runs. Raises UserError."""
    root = (loaded.base / loaded.system.spec.code).resolve()
    if not root.is_dir():
        raise UserError(f"code: {root} is not a folder", hint="spec.code is relative to the spec's folder")
    references = [ref for _, _, body in loaded.system.agents() for ref in body.secrets.values()]
    secret_files = tuple(path for ref in references if (path := file_of(ref, base=loaded.base)))
    without = home.root, *secret_files, *_kept_plans(root, (home.root, *secret_files))
    snapshot = code.snapshot(root, home, without=without)
    lock = code.lock_digest(root)
    templates = {}
    for cluster, agent, body in loaded.system.agents():
        secrets = tuple((name, _keep_secret(home, resolve(ref, base=loaded.base, environ=environ))) for name, ref in body.secrets.items())
        own = closure.closure_digest(root, body.run.partition(":")[0], without=without)
        templates[f"{cluster}/{agent}"] = _template(body, snapshot.digest, own + lock, secrets)
    whole = _sha(loaded.system.model_dump_json(), snapshot.digest, lock, *(t.digest for t in templates.values()))
    return Content(loaded.system.name, loaded.text, whole, snapshot.digest, lock, templates)


def _kept_plans(root: Path, without: tuple[Path, ...]) -> Iterator[Path]:
    """Files of `qd plan --out` in the tree: made from the code, they are no part of it, else none could ever be applied."""
    for leaf in leaves(root, without=without):
        path = root / leaf.path
        if leaf.kind == "l" or leaf.size == 0:
            continue
        with path.open("rb") as file:
            if is_plan(file.read(HEAD_BYTES)):
                yield path


def kept(revision: Revision) -> Content:
    """What a kept revision is made of."""
    templates = templates_of(revision.templates)
    return Content(revision.system, revision.spec, revision.digest, revision.code, revision.lock, templates)


def templates_of(text: str) -> dict[str, Template]:
    """Read `Content.templates_json` back."""
    data: dict[str, Any] = json.loads(text)
    return {name: Template(**{**t, "env": _pairs(t["env"]), "secrets": _pairs(t["secrets"])}) for name, t in data.items()}


def _template(body: AgentSpec, tree: str, own: str, secrets: tuple[tuple[str, str], ...]) -> Template:
    """The template's digest covers the agent's own code, not the whole tree: a change elsewhere does not replace it."""
    env = tuple(sorted(body.env.items()))
    digest = _sha(own, body.run, repr(env), repr(secrets), repr((float(body.hang_after), body.memory)))
    memory = int(body.memory) if body.memory is not None else None
    return Template(digest, tree, body.run, env, secrets, float(body.hang_after), memory)


def _keep_secret(home: Home, value: str) -> str:
    """A file named by a keyed digest of its content, so that the name tells nothing and a new value is a new template."""
    home.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
    salt = home.secrets / "salt"
    if not salt.exists():
        write_synced(salt, os.urandom(32), mode=0o600)
    name = hashlib.blake2b(value.encode(), key=salt.read_bytes(), digest_size=16).hexdigest()
    path = home.secrets / name
    if not path.exists():
        write_synced(path, value.encode(), mode=0o600)
    return str(path)


def _pairs(items: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((k, v) for k, v in items)


def _sha(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
