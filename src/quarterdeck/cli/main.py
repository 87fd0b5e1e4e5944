"""The entry of `qd`: help and daemons without Typer, everything else through it; errors become words on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TextIO

from quarterdeck.cli.verbs import overview
from quarterdeck.version import VERSION

if TYPE_CHECKING:
    from quarterdeck.errors import QuarterdeckError

INTERRUPTED: Final = 130
READER_GONE: Final = 1
_LOST: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and give its exit code; never a traceback for what can be expected."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    except OSError as error:
        return _output_lost(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _run(arguments: list[str]) -> int:
    if not os.environ.get("_QD_COMPLETE") and (not arguments or arguments[0] in ("--help", "-h", "help")):
        sys.stdout.write(f"{overview()}\n")
        return 0
    if arguments == ["--version"]:
        sys.stdout.write(f"qd {VERSION}\n")
        return 0
    from quarterdeck.cli.daemons import find, run  # noqa: PLC0415 help needs none of this
    from quarterdeck.errors import QuarterdeckError  # noqa: PLC0415

    try:
        daemon = find(arguments)
        return run(*daemon) if daemon else _verb(arguments)
    except QuarterdeckError as error:
        from quarterdeck.cli.complain import complain  # noqa: PLC0415 only when something is wrong

        complain(error)
        return _exit_code(error, arguments)


def _exit_code(error: QuarterdeckError, arguments: list[str]) -> int:
    """That of the error, unless the verb promises one for all of them."""
    from quarterdeck.cli.quick import begun  # noqa: PLC0415 only when something is wrong

    verb = begun(arguments)
    return error.exit_code if verb is None or verb.fails is None else verb.fails


def _verb(arguments: list[str]) -> int:
    from quarterdeck.cli.guard import carry_out  # noqa: PLC0415
    from quarterdeck.cli.quick import read  # noqa: PLC0415
    from quarterdeck.cli.session import Session  # noqa: PLC0415

    call = None if os.environ.get("_QD_COMPLETE") else read(arguments)
    if call is None:
        return _typer(arguments)
    return carry_out(Session.begin(call.choices), call.verb, call.function, call.given)


def _typer(arguments: list[str]) -> int:
    from quarterdeck.cli.dispatch import REFUSED, misused, root  # noqa: PLC0415

    if os.environ.get("_QD_COMPLETE"):
        from quarterdeck.cli.completing import complete  # noqa: PLC0415 only when Tab is pressed

        return complete(root())
    try:
        code = root()(arguments, prog_name="qd", standalone_mode=False)
    except REFUSED as error:
        raise misused(error) from error
    return code if isinstance(code, int) else int(code is not None)


def _output_lost(error: OSError) -> int:
    """What cannot be written for want of room, or on a broken disk, is said; anything else of the system is no error of the output."""
    if error.errno not in _LOST:
        raise error
    _nowhere(sys.stdout)
    from quarterdeck.cli.complain import complain  # noqa: PLC0415 only when something is wrong
    from quarterdeck.errors import UserError  # noqa: PLC0415

    hint = "what was printed is not whole: make room, or print it elsewhere"
    with suppress(OSError):  # stderr may lead to the same place
        complain(UserError(f"cannot write the output: {error.strerror}", hint=hint))
    return 1


def _nowhere(*streams: TextIO) -> None:
    """The interpreter's last flush of these goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def _reader_gone() -> int:
    """Whoever read our output stopped: say nothing more, and let the interpreter's last flush go nowhere."""
    _nowhere(sys.stdout, sys.stderr)
    return READER_GONE


if __name__ == "__main__":
    sys.exit(main())
