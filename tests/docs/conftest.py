"""The documents as a reader meets them: their fences in order, and a place in which their commands are really carried out."""

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import machines

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"(?:^<!-- for: (?P<whom>[^\n]+?) -->\n)?^```(?P<kind>\w*)[ ]?(?P<info>[^`\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
BEGINS = re.compile(r"^<!-- begins with: (.+) -->$", re.MULTILINE)
FOLLOWS = re.compile(r"\bqd\b[^|;&]*\s(-f|--follow|--watch|-w)\b")
LOOKED_AT = re.compile(r"^qd login\b")
"""What opens a browser, which it does on a terminal only."""
MOVING = re.compile(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?Z?"  # times
    r"|\b\d+(\.\d+)? ?(ms|s|min|h|d|[KMG]iB)\b"  # durations and sizes
    r"|\b[B-DF-HJ-NP-TV-XZ]{4}-[B-DF-HJ-NP-TV-XZ]{4}\b"  # codes of qd login
    r"|(?<=ready)\s+\d+|(?<=quarantined)\s+\d+|\bpid \d+"  # processes
)


@dataclass(frozen=True)
class Fence:
    """One fenced block: `whom` it is for, where a page speaks to several; `info` is what follows the language."""

    where: str
    kind: str
    info: str
    text: str
    whom: str | None

    @property
    def title(self):
        found = re.search(r'title="([^"]+)"', self.info)
        return found and found[1]

    def commands(self):
        """(command, lines shown below it) of a console block; a line that ends with a backslash goes on."""
        for part in re.split(r"^\$ ", self.text, flags=re.MULTILINE)[1:]:
            joined = re.sub(r"\\\n", "\\\\\x00", part)
            command, _, shown = joined.partition("\n")
            yield command.replace("\x00", "\n"), shown.splitlines()


def fences(path):
    """Every fence of a document in order."""
    text = path.read_text()
    name = path.relative_to(ROOT)
    for found in FENCE.finditer(text):
        line = text[: found.start("kind")].count("\n") + 1
        yield Fence(f"{name}:{line}", found["kind"], found["info"], found["text"], found["whom"])


def begins_with(path):
    """What a page says that must be there before it."""
    found = BEGINS.search(path.read_text())
    return found and found[1]


def typed(command, shown):
    """What a person types within a command, whose prompt ends with its last word: `name> words`; a line each, None for no such command."""
    prompt = command.split()[-1] + "> "
    return [line.removeprefix(prompt) for line in shown if line.startswith(prompt)] or None


def screened(text):
    """What stood on a terminal, line by line, without the signs that moved its cursor and gave it colours."""
    return [
        line.rstrip()
        for line in re.split(r"(?:\r|\n|\x1b(?:\[[?\d;]*[A-Za-ln-z]|[78D]))+", re.sub(r"\x1b\[[\d;]*m", "", text))
        if line.strip()
    ]


def alike(shown, printed):
    """Whether what a document shows is what was printed: `…` stands for anything, alone on a line for any lines; times and sizes move."""
    return re.fullmatch("".join(_pattern(line) for line in shown), "".join(f"{_steady(line)}\n" for line in printed)) is not None


def _pattern(line):
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    return ".*".join(re.escape(_steady(part)) if part.strip() else r"\s*" for part in line.split("…")).replace(r"\ ", " ") + r"\s*\n"


def _steady(text):
    return re.sub(r"\s+", " ", MOVING.sub("0", text)).strip()


class Shell:
    """Commands one after the other as in one terminal: folder, variables and the last exit code are kept."""

    def __init__(self, folder, environment, machine=None):
        self.folder, self.environment, self.machine, self.code = folder, environment, machine, 0
        self.kept = Path(environment["HOME"], ".kept")

    def run(self, command, *, endless=False):
        """What a command printed, both streams in order; its exit code in `code`. One that is `endless` is interrupted."""
        keep = f"export -p > {self.kept}.vars; pwd > {self.kept}.pwd"
        script = f"(exit {self.code}); {command}\ncode=$?; {keep}; exit $code"
        before = self._before()
        if endless or FOLLOWS.search(command):
            return self._follow(before + command)
        ran = subprocess.run(
            [*self.through, "bash", "-c", before + script], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
        )  # fmt: skip
        self.code = ran.returncode
        self.folder = Path(Path(f"{self.kept}.pwd").read_text().strip())
        return ran.stdout

    def converse(self, command, lines):
        """What stood on the terminal of a person who typed these lines and, once nothing more came, Ctrl-D."""
        argv = [*self.through, "script", "--quiet", "--return", "--command", f"cd {shlex.quote(str(self.folder))}; {command}", "/dev/null"]
        environment = {**self.environment, "TERM": "xterm"}
        running = subprocess.Popen(
            argv, cwd=self.folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        running.stdin.write("".join(f"{line}\n" for line in lines).encode())
        running.stdin.flush()
        printed, heard = b"", select.select([running.stdout], [], [], 30)[0]
        while heard and (piece := os.read(running.stdout.fileno(), 65536)):
            printed += piece
            heard = select.select([running.stdout], [], [], 3)[0]
        try:
            rest, _ = running.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            running.kill()
            running.communicate()
            raise
        self.code = running.returncode
        return "\n".join(screened((printed + rest).decode()))

    def at(self, folder):
        """Another terminal of the same person."""
        return Shell(folder, self.environment, self.machine)

    @property
    def through(self):
        """Words that lead to the machine of this terminal."""
        return self.machine.enter if self.machine else ()

    def _before(self):
        known = f". {self.kept}.vars; " if Path(f"{self.kept}.vars").exists() else ""
        return f"{known}cd {shlex.quote(str(self.folder))}; " if known or self.machine else ""

    def _follow(self, command):
        """A command that goes on for ever is interrupted once it has printed something."""
        running = subprocess.Popen(
            [*self.through, "bash", "-c", f"exec {command}" if ";" not in command else command], cwd=self.folder, env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        printed, deadline = b"", time.monotonic() + 10
        while not printed and time.monotonic() < deadline:
            if select.select([running.stdout], [], [], 0.1)[0]:
                printed += os.read(running.stdout.fileno(), 65536)
        os.killpg(running.pid, signal.SIGINT)
        rest, _ = running.communicate(timeout=10)
        self.code = 0 if printed and running.returncode in (0, 130, -signal.SIGINT) else running.returncode or 1
        return (printed + rest).decode()


@contextmanager
def place(*, example=False, checkout=False, on=None):
    """A user's machine for a page: a home directory of its own, `qd` in the path, an empty folder or a copy of what the page needs.

    `on` makes it really another one: its name, and its number on the cable.
    """
    home = Path(tempfile.mkdtemp(prefix="qd-page-"))
    folder = home / "here"
    if checkout:
        _copy_of_the_checkout(folder)
    elif example:
        shutil.copytree(ROOT / "examples" / "triage", folder)
    else:
        folder.mkdir()
    foreign = ("QUARTERDECK", "MAKE", "MFLAGS")  # these tests may run below a make of their own, which then speaks of folders
    own = {k: v for k, v in os.environ.items() if not k.startswith(foreign) and k != "CI"}  # a person's terminal, which may open a browser
    environment = own | {
        "HOME": str(home),
        "QUARTERDECK_PORT": "0",
        "PATH": f"{Path(sys.executable).parent}:{own['PATH']}",
        "NO_COLOR": "1",
    }
    try:
        if on:
            with machines.machine(on[0], home, on[1]) as machine:
                apart = {k: v for k, v in environment.items() if k not in ("QUARTERDECK_PORT", "XDG_RUNTIME_DIR")}
                yield Shell(folder, apart | {"USER": "root"}, machine)
        else:
            yield Shell(folder, environment)
    finally:
        for kept in {home / ".local/state/quarterdeck", folder / "trial-home"} if not on else ():
            if kept.exists():
                argv = ["qd", "--home", str(kept), "down", "--yes"]
                subprocess.run(argv, env=environment, capture_output=True, timeout=60, check=False)
        shutil.rmtree(home, ignore_errors=True)


def _copy_of_the_checkout(folder):
    """What `make up` needs, with the environment of the real one. Old times: make must not install the copy into it."""
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", "requirements-uv.txt"):
        shutil.copy(ROOT / name, folder)
        os.utime(folder / name, (0, 0))
    for path in (*ROOT.glob("*.md"), ROOT / "mkdocs.yml"):
        shutil.copy(path, folder)
    for name in ("examples", "docs", "tools", "bench"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / ".venv").symlink_to(Path(sys.prefix))


def follow(path, shell, **others):
    """Do what a page says, in order; raises AssertionError with what was printed where it shows something else."""
    for _ in steps(path, shell, **others):
        """One after the other."""


def steps(path, shell, **others):
    """Each command that a page says to whom, with what it printed, once it is done and was as shown.

    `others` are those whom the page speaks to beside the one at `shell`, with `_` for a space; who is not there does nothing.
    """
    people = {None: shell, **{name.replace("_", " "): other for name, other in others.items()}}
    for fence in fences(path):
        if fence.title:
            (shell.folder / fence.title).write_text(fence.text)
        if fence.kind not in ("console", "sh") or fence.whom not in people:
            continue
        for command, shown in fence.commands():
            yield command, _done(fence, command, shown, people[fence.whom])


def _done(fence, command, shown, shell):
    lines = typed(command, shown)
    talks = lines or LOOKED_AT.search(command)
    printed = shell.converse(command, lines or ()) if talks else shell.run(command)
    told = f"{fence.where}: $ {command}\nexit {shell.code}, printed:\n{printed}\nshown:\n" + "\n".join(shown)
    assert shell.code == 0, told
    if talks:  # what an agent logs comes whenever it comes
        assert [line for line in shown if not any(alike([line], [one]) for one in printed.splitlines())] == [], told
    else:
        assert not shown or alike(shown, printed.splitlines()), told
    return printed


@pytest.fixture(scope="session")
def documents():
    """How to read and follow the documents."""
    return SimpleNamespace(fences=fences, begins_with=begins_with, alike=alike, place=place, follow=follow, steps=steps, root=ROOT)


@pytest.fixture(scope="module")
def example():
    """The example, deployed and ready, for the pages that begin with it."""
    with place(example=True) as shell:
        printed = shell.run("qd up")
        assert shell.code == 0, printed
        yield shell
