"""One verb as a Typer command, made when it is called: its module is imported then and no other."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, cast, get_args

import typer
from typer.core import TyperGroup
from typer.main import get_command

from quarterdeck.cli import coming
from quarterdeck.cli.completing import context_names, files, system_names
from quarterdeck.cli.guard import carry_out
from quarterdeck.cli.parts import early_option, refuse_part
from quarterdeck.cli.render import PATHS, not_a_path
from quarterdeck.cli.session import Choices, Output, Pick, Session
from quarterdeck.cli.usage import UsageError
from quarterdeck.cli.verbs import VERBS, Verb, columns, find, overview
from quarterdeck.model.wording import nearest, wrong

HomeOption = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="The state folder (QUARTERDECK_HOME).", autocompletion=files)
]
SystemOption = Annotated[
    str | None, typer.Option("--system", "-s", metavar="NAME", help="The system, where several run.", autocompletion=system_names)
]


def _printed(text: str | Output | Pick) -> Output | Pick:
    """How data is printed: a format, or the path of `jsonpath=PATH`, also as kubectl writes it: `jsonpath={.items}`."""
    if not isinstance(text, str) or isinstance(text, Output):
        return text
    kind, mark, path = text.partition("=")
    if kind == "jsonpath" and mark:
        bare = path[1:-1] if path.startswith("{") and path.endswith("}") else path
        path = bare if bare.startswith("$") else f"${bare}"
        if fault := not_a_path(path):
            raise typer.BadParameter(f"{path!r} is no JSONPath: {fault}.")
        return Pick(path)
    if text not in {*Output}:
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(map(repr, map(str, Output)))}, 'jsonpath=PATH'.")
    return Output(text)


OutputOption = Annotated[
    Any,
    typer.Option(
        "--output",
        "-o",
        parser=_printed,
        metavar="[table|wide|json|yaml|name|jsonpath=PATH]",
        help="How data is printed.",
        autocompletion=lambda: [*map(str, Output), "jsonpath="],
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Data and errors only.")]
ContextOption = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="A context of qd context list.", autocompletion=context_names)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoInputOption = Annotated[bool, typer.Option("--no-input", help="Never ask: fail where an answer is needed.")]
SHARED: Final = {
    "home": (HomeOption, None),
    "system": (SystemOption, None),
    "output": (OutputOption, None),
    "quiet": (QuietOption, False),
    "context": (ContextOption, None),
    "yes": (YesOption, False),
    "no_input": (NoInputOption, False),
}
REFUSED: Final = cast("type[Exception]", typer.BadParameter.__base__)
"""What Typer raises for a command line that makes no sense: the UsageError of whichever Click it carries."""
_SETTINGS: Final = {"help_option_names": ["--help", "-h"]}


_ALIKE: Final = 0.7
"""From how much two words have in common on one is taken for the other misspelt: `statu` is, `bogus` is no `logs`."""


class Parts(TyperGroup):
    """What stands below one verb, e.g. `agent` below `qd stop`."""

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a part; any other word is refused with the line that was meant."""
        found = super().get_command(ctx, cmd_name)
        if found is None and not ctx.resilient_parsing and (verb := find(ctx.info_name)):
            raise refuse_part(verb, cmd_name)
        return found


class Verbs(TyperGroup):
    """The verbs of the table, each loaded when asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, for completion."""
        return [verb.name for verb in VERBS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of a name; an unknown one is refused with the nearest."""
        verb = find(cmd_name)
        if verb is None and not ctx.resilient_parsing:
            coming.refuse_verb(cmd_name)
            near = nearest(cmd_name, self.list_commands(ctx), _ALIKE)
            ctx.fail(f"there is no verb {cmd_name!r}" + (f"; did you mean {near!r}?" if near else ""))
        return verb and get_command(command(verb))

    def get_help(self, ctx: Any) -> str:
        """The same page that is printed without Typer."""
        return overview()


def root() -> Any:
    """The whole command line."""
    app = typer.Typer(cls=Verbs, rich_markup_mode=None, pretty_exceptions_enable=False, context_settings=_SETTINGS)

    @app.callback()
    def options(
        ctx: typer.Context,
        *,
        home: HomeOption = None,
        system: SystemOption = None,
        output: OutputOption = None,
        quiet: QuietOption = False,
        context: ContextOption = None,
        yes: YesOption = False,
        no_input: NoInputOption = False,
    ) -> None:
        ctx.obj = Choices(home, system, output, quiet, context, yes, no_input)

    return get_command(app)


def misused(error: BaseException) -> UsageError:
    """A refusal of Typer as an error of ours: what is wrong, how the verb is used, and where more is told."""
    context = getattr(error, "ctx", None)
    text = " ".join(error.format_message().split()) if hasattr(error, "format_message") else str(error)
    message = _in_our_words(f"{text[:1].lower()}{text[1:]}".removesuffix("."), error)
    if message == "missing command" and context is not None:
        return _part_missing(context.command_path)
    if "'--output'" in text and "'ut" in text:  # who knows terraform writes plan -out=FILE
        return UsageError(message, hint="qd plan --out FILE keeps the plan; -o is how data is printed")
    if "'--output'" in text:  # who knows kubectl asks for jsonpath
        return UsageError(message, hint=f"one field of many: {PATHS}; names alone: -o name")
    verb = find(context.info_name or "") if context is not None else None
    if verb and verb.parts and not verb.alone and message.startswith("no such option"):
        return UsageError(message, hint=early_option(verb))
    usage = f"{context.get_usage()} · " if context and context.parent else ""
    return UsageError(message, hint=f"{usage[:1].lower()}{usage[1:]}more: {context.command_path if context else 'qd'} --help")


def _in_our_words(message: str, error: BaseException) -> str:
    """What pydantic says of a value in the words of every refusal; what Click says of a number below zero, which it takes for an option."""
    problems = getattr(error.__cause__, "errors", None)
    if problems is not None:
        return f"{message.partition(': ')[0]}: {wrong(problems()[0])}"
    option = re.fullmatch(r"no such option: (-\d+(?:\.\d+)?)", message)
    return f"{option[1]} is below zero, and there is nothing of which there could be less than none" if option else message


def _part_missing(path: str) -> UsageError:
    """`qd task` alone: what there is below it, a line each."""
    verb = find(path.rsplit(maxsplit=1)[-1])
    parts = [(part.name, part.summary) for part in verb.parts] if verb else []
    return UsageError("\n".join([f"{path} needs one of these behind it", *columns(parts, "  ")]), hint=f"more: {path} PART --help")


def command(verb: Verb) -> typer.Typer:
    """A verb, with the verbs below it, as an app of its own."""
    app = typer.Typer(
        cls=Parts,
        epilog=_next(verb.name, verb),
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
        invoke_without_command=verb.alone,
    )
    function = _bound(load(verb), verb)
    if verb.parts:
        app.callback()(function)
    else:
        app.command(verb.name, epilog=_next(verb.name, verb))(function)
    for part in verb.parts:
        name = f"{verb.name} {part.name}"
        app.command(part.name, short_help=part.summary, epilog=_next(name, part))(_bound(load(part), part))
    return app


def _next(path: str, verb: Verb) -> str:
    """The last line of a verb's help: where to go on from there."""
    below = [f"qd {path} {part.name} --help" for part in verb.parts[:1]]
    return f"Next: {' · '.join([*below, f'qd man {path}', 'qd --help'])}"


def load(verb: Verb) -> Callable[..., Any]:
    """The function of a verb: `function(session, …) -> exit code or None`."""
    module, _, name = verb.place.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(f"quarterdeck.cli.{module}"), name)
    return loaded


def own_parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """What a verb takes besides the session, with its annotations evaluated."""
    _, *own = inspect.signature(function, eval_str=True).parameters.values()
    return own


def choices_of(given: dict[str, Any]) -> Choices:
    """The shared options, taken out of all that was given."""
    return Choices(**{name: given.pop(name) for name in SHARED})


def _bound(function: Callable[..., Any], verb: Verb) -> Callable[..., None]:
    """`function(session, …) -> exit code or None` as Typer wants it: the shared options added, the session made from them."""
    own = own_parameters(function)

    def run(ctx: typer.Context, **given: Any) -> None:
        choices = choices_of(given).over(ctx.obj or Choices())
        ctx.obj = choices
        if ctx.invoked_subcommand is None:
            raise typer.Exit(carry_out(Session.begin(choices), verb, function, given))

    vars(run)["__signature__"] = inspect.Signature(_parameters(own))
    run.__annotations__ = {one.name: one.annotation for one in _parameters(own)}
    run.__doc__ = _as_written(inspect.getdoc(function) or verb.summary)
    run.__name__ = verb.name
    return run


def _complete_paths(parameter: inspect.Parameter) -> None:
    """A path is completed by the shell, and nothing else is: names of files are no answer to a question for an agent."""
    kind, info = get_args(parameter.annotation)[:2]
    if info.autocompletion is None and Path in (kind, *get_args(kind)):
        info.autocompletion = files


def _as_written(text: str) -> str:
    """Paragraphs that begin with `$` are examples: a backspace before one makes Typer keep its lines."""
    return "\n\n".join(f"\b\n{part}" if part.startswith("$ ") else part for part in text.split("\n\n"))


def _parameters(own: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    named = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("ctx", named, annotation=typer.Context)
    for one in own:
        _complete_paths(one)
    shared = [inspect.Parameter(name, named, default=default, annotation=kind) for name, (kind, default) in SHARED.items()]
    return [context, *(one.replace(kind=named) for one in own), *shared]
