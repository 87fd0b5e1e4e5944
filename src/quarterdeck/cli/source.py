"""A spec file as the API wants it: its text, its folder, and only those variables of this environment that it names."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from quarterdeck.client.wire import Document
from quarterdeck.errors import NotFound, UserError
from quarterdeck.spec.saved import is_plan

USUAL: Final = Path("quarterdeck.yaml")
FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", show_default=False, help="The spec; ./quarterdeck.yaml without it, - for stdin.")
]
_UTF8: Final = "utf-8-sig"
"""Some editors put a byte order mark in front of UTF-8; it means nothing there."""
_NOT_UTF8: Final = "it is not UTF-8 text", "save it as UTF-8"
_VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE: Final = re.compile(rf"\benv:({_VARIABLE})")
_FLOW: Final = re.compile(r"\bsecrets\s*:\s*\[([^\]]*)\]")
_BLOCK: Final = re.compile(r"^[ \t]*secrets[ \t]*:[ \t]*(?:#.*)?\n((?:[ \t]*(?:-[^\n]*|#[^\n]*)?\n)+)", re.MULTILINE)
_CODE: Final = re.compile(r"^[ \t]+code[ \t]*:[ \t]*[\"']?([^\"'#\n]+?)[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A spec as read from `path`; `base` is the absolute folder that its relative paths start from."""

    path: Path
    text: str
    base: Path

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read a file, or stdin for `-`. Raises NotFound or UserError."""
        try:
            if str(path) == "-":
                return cls(path, sys.stdin.buffer.read().decode(_UTF8), Path.cwd())
            return cls(path, path.read_bytes().decode(_UTF8), path.absolute().parent)
        except FileNotFoundError as error:
            hint = "qd init writes a project with one; or name it: qd up FILE" if path == USUAL else "name the spec: qd up FILE"
            raise NotFound(f"there is no file {path}", hint=hint, where=str(path.absolute())) from error
        except (OSError, UnicodeDecodeError) as error:
            reason, hint = (error.strerror, "name the spec: qd up FILE") if isinstance(error, OSError) else _NOT_UTF8
            raise UserError(f"{path} cannot be read: {reason}", hint=hint, where=str(path.absolute())) from error

    @property
    def code(self) -> Path:
        """The folder of the user's code, found without judging the spec: good enough to know what to watch."""
        found = _CODE.search(self.text)
        return self.base / (found[1] if found else ".")

    def body(self, environ: Mapping[str, str]) -> Document:
        """The request that plans or applies this spec. Raises UserError for a kept plan, which is none."""
        if is_plan(self.text.encode()):
            raise UserError(f"{self.path} is a plan that was kept, not a spec", hint=f"qd apply {self.path} carries it out")
        named = {name: environ[name] for name in variables(self.text) if name in environ}
        return {"text": self.text, "filename": str(self.path), "base": str(self.base), "environ": named}


def variables(text: str) -> list[str]:
    """Every variable that the text names as a secret: `env:X`, or an item of a `secrets` list. Nothing else leaves this environment."""
    listed = " ".join([*_FLOW.findall(text), *(re.sub(r"#[^\n]*", "", block) for block in _BLOCK.findall(text))])
    return sorted({*_REFERENCE.findall(text), *re.findall(_VARIABLE, listed)})
