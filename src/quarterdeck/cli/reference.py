"""Descriptions for programs: the API, the spec's schema, shell completion."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from quarterdeck.cli.render import dump, dump_yaml
from quarterdeck.cli.session import Output, Session

_PATHS: Final = """    [ $? -eq 3 ] && compopt -o default
    return 0
"""
"""In bash: only what is a path is completed with names of files."""


class Shell(StrEnum):
    """Shells that Typer completes."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def api(session: Session) -> None:
    """The API's own description.

    $ qd api openapi > openapi.json
    """


def openapi(session: Session) -> None:
    """Print the OpenAPI document of the control plane that runs.

    $ qd api openapi -o yaml
    """
    _print(session, session.client.get("/openapi.json"))


def schema(session: Session) -> None:
    """Print the JSON Schema of a spec, for editors; needs no control plane.

    $ qd schema > quarterdeck.schema.json
    # first line of a spec: # yaml-language-server: $schema=quarterdeck.schema.json
    """
    from quarterdeck.spec.schema import schema as made  # noqa: PLC0415 pydantic, for this alone

    _print(session, made())


def completion(session: Session, shell: Annotated[Shell, typer.Argument(help="bash, zsh or fish.")]) -> None:
    """Print the completion script of a shell; it completes verbs, options and live names.

    $ source <(qd completion bash)
    $ qd completion fish > ~/.config/fish/completions/qd.fish
    """
    from typer._completion_shared import get_completion_script  # noqa: PLC0415 for this alone

    script = get_completion_script(prog_name="qd", complete_var="_QD_COMPLETE", shell=shell.value)
    session.screen.line(script.replace("    return 0\n", _PATHS).replace("complete -o default -F", "complete -F"))


def _print(session: Session, document: object) -> None:
    """A description is JSON unless YAML is asked for."""
    if session.output is Output.yaml:
        dump_yaml(document, session.screen.out)
    else:
        dump(document, session.screen.out)
