"""Transcripts of what a person sees, one for each behaviour of the command that people rely on, taken from a real fleet.

`python tests/cli/transcripts.py` takes them anew into tests/cli/golden; `test_golden.py` compares. What differs from run to run or from
machine to machine (times, numbers of processes, ports, digests, sizes) is replaced by `…`. What is of the dashboard, or redraws the
terminal, stands in none: `ELSEWHERE` names the tests of that.
"""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
QD = [sys.executable, "-m", "quarterdeck.cli.main"]
STEP_WITHIN = 60.0
STABLE = (
    (r"qd_[0-9a-f]{8}_[\w-]+", "TOKEN"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"\b[0-9a-f]{12,64}\b", "DIGEST"),
    (r"\b\d+(\.\d+)?( ?)(ms|µs|s|m|h)\b(?! within)", r"…\2\3"),
    (r"\b\d+(\.\d+)?e?[-+]?\d* (B|KiB|MiB|GiB)\b", r"… \2"),
    (r"\b(index|table|pid|at record|records) \d+(\.\d+)?", r"\1 …"),
    (r'("(?:pid|index|seq|incarnation|age_seconds|seconds|journal_records)": )[\d.]+', r"\1…"),
    (r"'(pid|index|seq)': \d+", r"'\1': …"),
    (r"(?m)^( Weakened +).*$", r"\1…"),
    (r"\buid:\d+", "uid:UID"),
    (r"\b(settings|code) [0-9a-f]{8} → [0-9a-f]{8}", r"\1 … → …"),
    (r"(?m)^(\s*-? ?(?:pid|since|index|seq|age_seconds): ).*$", r"\1…"),
    (r" +\n", "\n"),
)
"""What is replaced everywhere. Durations that a spec or a command line states are constant too, but `…` hides nothing that matters."""


@dataclass(frozen=True)
class Step:
    """A command line as a person writes it. `columns`: on a terminal of that width, where `typed` is typed; 0: in a pipe."""

    line: str
    columns: int = 0
    typed: str = ""
    environ: dict = field(default_factory=dict)
    also: tuple = ()
    """Further replacements, for this step alone."""


NAMES_ONLY = (
    (r"(?m)^ [✔!✘] (.{14}).*$", r" ? \1 …"),
    (r"(?m)^ {17,}.*\n", ""),
    (r"\d+ ok, \d+ warnings?, \d+ failed", "… ok, … warnings, … failed"),
)
PIDS = ((r"(PID|AGE) +", r"\1 "), (r"(ready\}? +)\d+ +", r"\1… "), (r" \d+[smh] +-", " … -"))
WHY = ((r"(?ms)^  Journal .*", "  Journal     …\n"), (r"greeter-\d", "greeter-N"))
ENDS = (
    (r"(?m)^ would end     cgroup .*\n", ""),  # a machine may have none
    (r"(?m)^ would end     (process|cgroup|socket) .*$", r" would end     \1 …"),
    (r"(?m)^( would end .*\n)(\1)*", r"\1"),
)
LIMITS = ((r"(?ms)^ Limits .*?(?=^ Weakened)", " Limits …\n"),)
NUMBERS = ((r"\d[\d.,]*( [KMG]iB| %| ms)?", "N"), (r" {2,}", "  "))
MORE = "sed -i 's/min: 2/min: 3/' quarterdeck.yaml"
LESS = "sed -i 's/min: 3/min: 2/' quarterdeck.yaml"
GREET = """qd ask front/greeter greet '{"name": "Ada"}'"""
WORK = (
    (r"\b01[0-9A-HJKMNP-TV-Z]{24}\b", "TASK"),
    (r"(?m)^ *\d+ (?=\d{4}-)", " … "),
    (r"(counter-\d)#\d+", r"\1#…"),
    (r"\bafter [\d.]+", "after …"),
)
SHELVES = """cat >> agents.py <<'END'


@counter.task()
async def shelf(names: list[str], ctx: Context) -> int:
    found = await ctx.step("names", len, names)
    if not seen["shelf"]:
        seen["shelf"] = 1
        raise ConnectionError("the shelf is out of reach")
    again = await ctx.ask_human("Count again?", ["yes", "no"])
    return found * (2 if again == "yes" else 1)
END"""
BEHAVIOURS = {
    "02-init": (Step("qd init --list"), Step("qd init ."), Step("qd init ."), Step("qd init other --template plian")),
    "01-up": (Step("qd up"), Step("qd up")),
    "03-plan": (
        Step(MORE),
        Step("qd plan", columns=80),
        Step("qd plan -o json"),
        Step("qd plan --out plan.json", columns=80),
        Step("printf '# later\\n' >> agents.py"),
        Step("qd apply plan.json"),
        Step("sed -i '$d' agents.py"),
        Step("head -c 60 plan.json > cut.json && qd apply cut.json; rm cut.json plan.json"),
    ),
    "04-drift": (Step("qd plan --detailed-exitcode"), Step(LESS), Step("qd plan --detailed-exitcode")),
    "05-check-and-set": (Step(MORE), Step("qd apply --index 0"), Step(LESS)),
    "06-output": (
        *(Step(f"qd get agents -o {form}") for form in ("table", "wide", "json", "yaml", "name")),
        Step("qd get replicas", columns=80, also=PIDS),
        Step("qd get replicas", columns=40, also=((r"pid \d+", "pid …"), (r"age \d+[smh]", "age …"))),
    ),
    "07-wait": (
        Step("qd wait --for ready", columns=80),
        Step("qd wait --for front/greeter-7=ready --timeout 200ms"),
        Step("qd wait --for front/greeter=reday"),
        Step("qd wait front/greeter --for condition=Ready"),
        Step("timeout 3 qd get agents --watch"),
        Step("timeout 4 qd get replicas --watch | grep -c NAME"),
    ),
    "08-explain-field": (Step("qd explain spec.clusters.agents.replicas"), Step("qd explain spec.clusters.agents.replics")),
    "09-errors": (
        Step("sed -i 's/replicas: {min: 2/replica: {min: 2/; s/to: back/to: bakc/' quarterdeck.yaml"),
        Step("qd plan"),
        Step("sed -i 's/replica: {min: 2/replicas: {min: 2/; s/to: bakc/to: back/' quarterdeck.yaml"),
        Step("qd plann"),
        Step("qd get replcas"),
        Step("qd explain E1313"),
    ),
    "10-progress": (
        Step("printf '\\n# saved\\n' >> agents.py"),
        Step("qd up --progress plain"),
        Step("printf '# again\\n' >> agents.py"),
        Step("qd up --progress json | grep Phase | tail -n 1"),
    ),
    "11-logs": (
        Step(GREET, also=((r"greeter-\d", "greeter-N"),)),
        Step("qd logs front -n 40 | grep greeting", also=((r"greeter-\d", "greeter-N"),)),
        Step("timeout 3 qd logs front -f --since 10m | grep greeting", also=((r"greeter-\d", "greeter-N"),)),
        Step("""echo 'greet {"name": "Grace"}' | qd attach front/greeter 2>/dev/null"""),
        Step("echo 'greet Grace' | qd attach -q front/greeter"),
        Step("qd open --print"),
    ),
    "12-doctor": (Step("qd doctor", also=NAMES_ONLY), Step("qd status", columns=140, also=LIMITS)),
    "13-rollback": (
        Step("qd history", columns=100),
        Step("qd rollback --dry-run"),
        Step("qd rollback 1 --reason 'back to the first'"),
        Step("qd history"),
    ),
    "14-completion": tuple(
        Step(f'env _QD_COMPLETE=complete_bash COMP_WORDS="qd {words}" COMP_CWORD={len(words.split(" "))} qd')
        for words in ("explain front/", "get replicas back", "rollback ", "comp")
    ),
    "15-contexts": (
        Step("qd context add live --production"),
        Step("qd context add spare --home spare"),
        Step("qd context list"),
        Step("qd status | head -n 2", environ={"QUARTERDECK_CONTEXT": "live"}),
        Step("qd context show", environ={"QUARTERDECK_CONTEXT": "sparee"}),
    ),
    "16-dangerous": (
        Step("qd scale front/greeter 3 --reason 'more visitors' --dry-run"),
        Step("qd stop fleet --reason 'incident 4711' --dry-run"),
        Step("qd down --dry-run", also=ENDS),
        Step("qd scale front/greeter 3 --reason 'more visitors'"),
        Step("qd scale front/greeter 3 --reason 'more visitors'", columns=80, typed="yes\n"),
        Step("qd scale front/greeter 3 --reason 'more visitors'", columns=80, typed="live\n"),
        Step("qd revert 1 --yes"),
        Step("qd context remove live"),
        Step("qd down", columns=80, typed="yes\n"),
        Step("qd down"),
    ),
    "17-exit-codes": (
        Step("qd get replica front/greeter-7"),
        Step("qd scale front/greeter"),
        Step("qd status -q --system hello -o name"),
        Step("qd get links", columns=120, environ={"NO_COLOR": "1"}, also=((r"greeter-\d", "greeter-N"),)),
        Step("qd get links", columns=120, environ={"TERM": "dumb"}, also=((r"greeter-\d", "greeter-N"),)),
    ),
    "18-why": (
        Step("qd explain back/counter-0", also=WHY),
        Step("qd journal --verb revision.apply", also=((r"(?m)^\d+ +", "… "),)),
        Step(SHELVES),
        Step("qd up -q"),
        Step("""qd task submit back/counter --data '["Ada", "Grace"]' --key shelf-1""", also=WORK),
        Step("until qd task list --state waiting -o name | grep -q .; do sleep 0.1; done"),
        Step("qd explain shelf-1 | head -n 4", also=WORK),
        Step("qd task get shelf-1 --tree", also=WORK),
        Step("qd task answer shelf-1 no --reason 'once is enough'", also=WORK),
        Step("until qd task list --state done --key shelf-1 -o name | grep -q .; do sleep 0.1; done"),
        Step("qd task history shelf-1", also=WORK),
        Step("qd task fork shelf-1 --dry-run", also=WORK),
        Step("qd task fork shelf-1 --from question --dry-run", also=WORK),
    ),
    "19-top": (
        Step("until ! qd top | grep -q 'ready  *-'; do sleep 0.1; done"),
        Step("qd top | sort", also=NUMBERS),
        Step("qd top --help | head -n 24"),
    ),
    "20-links": (
        Step("qd open front/greeter --print"),
        Step("qd open back/counter-0 --print"),
        Step("qd open 'front->back' --print"),
        Step("qd open shelf-1 --print", also=((r"01[0-9A-HJKMNP-TV-Z]{24}", "TASK"),)),
        Step("qd open docs --print -o jsonpath=$.url"),
        Step("qd get agents front/greeter -o yaml | head -n 5"),
    ),
    "01-down": (Step("qd down --yes"), Step("qd down --yes"), Step("qd status")),
}
ELSEWHERE = {
    19: (
        "tests/cli/test_top.py::test_arrows_enter_and_escape",
        "tests/cli/test_top.py::test_what_is_typed_filters_and_goes_elsewhere",
        "tests/web/test_actions.py::test_the_palette_leads_to_an_agent",
        "tests/web/test_actions.py::test_slash_filters_rows_and_escape_leaves_the_field",
        "tests/web/test_actions.py::test_g_and_a_letter_goes_to_a_page_j_and_k_walk_its_rows_and_enter_opens",
    ),
    20: (
        "tests/web/test_pages.py::test_every_link_of_every_page_leads_somewhere",
        "tests/web/test_pages.py::test_each_copy_of_a_page_lands_on_the_clipboard",
        "tests/web/test_pages.py::test_no_page_has_a_barrier_that_axe_finds_in_light_or_in_dark",
        "tests/web/test_links.py::test_the_picture_shows_the_rate_of_a_link_and_an_open_breaker",
        "tests/web/test_links.py::test_charts_are_of_as_many_minutes_as_the_address_says",
        "tests/unit/web/test_times.py::test_the_journal_shows_a_span_and_its_form_keeps_it",
    ),
}
"""What no transcript can show, in the dashboard and of `qd top`, by number, and the tests in a real browser or terminal that cover it."""


def take(folder: Path) -> dict[str, str]:
    """Live through all of it in an empty folder; the transcript of each behaviour."""
    project, config = folder / "hello", folder / "config"
    project.mkdir()
    foreign = ("QUARTERDECK_", "XDG_", "_QD", "SSH_", "DISPLAY", "COLUMNS", "LINES", "TERM", "NO_COLOR", "CI")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    environ = {**kept, "QUARTERDECK_HOME": str(folder / "home"), "QUARTERDECK_PORT": "0", "XDG_CONFIG_HOME": str(config), "TZ": "UTC"}
    environ |= {"HOME": str(folder), "LANG": "C.UTF-8", "PATH": f"{_shim(folder)}:{os.environ['PATH']}"}
    try:
        return {name: "".join(_transcript(step, project, environ) for step in steps) for name, steps in BEHAVIOURS.items()}
    finally:
        subprocess.run([*QD, "down", "--yes", "--purge", "-q"], env=environ, check=True, timeout=STEP_WITHIN, stdout=subprocess.DEVNULL)


def _shim(folder: Path) -> Path:
    """A `qd` that is this checkout's, whatever is installed."""
    place = folder / "bin"
    place.mkdir()
    (place / "qd").write_text(f'#!/bin/sh\nexec {" ".join(QD)} "$@"\n')
    (place / "qd").chmod(0o755)
    return place


def _transcript(step: Step, project: Path, environ: dict) -> str:
    environ = {**environ, **step.environ}
    code, said = (_terminal if step.columns else _pipe)(step, project, environ)
    for pattern, put in ((re.escape(str(project.parent)), "~"), *step.also, *STABLE):
        said = re.sub(pattern, put, said)
    before = "".join(f"{name}={value} " for name, value in step.environ.items())
    where = f"   # on a terminal of {step.columns} columns" if step.columns else ""
    return f"$ {before}{step.line}{where}\n{said}{'' if said.endswith(chr(10)) or not said else chr(10)}" + (
        f"[exit {code}]\n" if code else ""
    )


def _pipe(step: Step, project: Path, environ: dict) -> tuple[int, str]:
    ran = subprocess.run(
        ["bash", "-c", step.line],
        cwd=project,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=STEP_WITHIN,
        check=False,
    )
    return ran.returncode, ran.stdout.decode()


def _terminal(step: Step, project: Path, environ: dict) -> tuple[int, str]:
    """On a pseudo-terminal. Colours are shown by the words that they colour: `{red:PRODUCTION}`."""
    ours, theirs = pty.openpty()
    import fcntl  # noqa: PLC0415
    import struct  # noqa: PLC0415
    import termios  # noqa: PLC0415

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, step.columns, 0, 0))
    environ = {"TERM": "xterm-256color", **environ, **step.environ}
    process = subprocess.Popen(["bash", "-c", step.line], cwd=project, env=environ, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, step.typed.encode())
    written, deadline = b"", time.monotonic() + STEP_WITHIN
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                written += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    return process.wait(STEP_WITHIN), coloured(written.decode().replace("\r\n", "\n"))


def coloured(text: str) -> str:
    """Escape sequences as words."""
    names = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "34": "blue", "35": "magenta", "36": "cyan"}
    pattern = r"\x1b\[([0-9;]+)m(.*?)\x1b\[0m"
    return re.sub(pattern, lambda m: f"{{{'+'.join(names[one] for one in m[1].split(';'))}:{m[2]}}}", text, flags=re.DOTALL)


def main() -> None:
    """Take them anew."""
    folder = Path(tempfile.mkdtemp(prefix="transcripts-"))
    try:
        made = take(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, text in made.items():
        (GOLDEN / f"{name}.txt").write_text(text)
        print(GOLDEN / f"{name}.txt")


if __name__ == "__main__":
    main()
