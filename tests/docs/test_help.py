"""Every example in the help of every verb is carried out once, where it is shown first, against one real fleet.

What an example begins with (a task that asks, a stop to be ended, a token to be revoked) is brought about first, and names that only the
ledger gives (ids, an index) are put in. Those that change the machine are on the page about it: test_one_machine.py carries them out.
"""

import inspect
import json
import re
import shutil
import time
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from threading import Thread

import pytest

from quarterdeck.cli.dispatch import load
from quarterdeck.cli.verbs import VERBS
from quarterdeck.client.wire import Wire
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.home import Home

AGENTS = '''\
import asyncio

from quarterdeck import Agent, Context, Terminal

collector, intake, analyst, reporter, greeter = Agent(), Agent(), Agent(), Agent(), Agent()


@greeter.on("greet")
async def greet(whom: dict) -> str:
    return f"Hello {whom['name']}"


@intake.task()
async def incident(what: dict, ctx: Context) -> str:
    await ctx.step("services", list, what)
    match what.get("do"):
        case "ask":
            return await ctx.ask_human("Restart checkout?", ["approve", "refuse"])
        case "pay":
            return await ctx.effect("pay:17", pay, semantics="unsafe")
        case "fail":
            raise Terminal("the service is away")
        case "wait":
            await asyncio.sleep(600)
        case "send":
            await ctx.publish("analysts/analyst", "refuse", {})
    return "found"


async def pay() -> None:
    raise TimeoutError("the bank does not answer")


@collector.on("collect")
async def collect(line: str) -> None:
    """Nothing is kept."""


@analyst.on("refuse")
async def refuse(what: dict) -> None:
    raise Terminal("not like this")


@analyst.task()
async def score(money: float, ctx: Context) -> str:
    async with ctx.spend(money=money) as spent:
        spent.used(money=money)
    async with ctx.spend(money=money):
        return "scored"
'''
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: triage}
spec:
  code: code
  entry: intake
  clusters:
    front:
      agents:
        greeter: {run: "agents:greeter", rollout: {drain: 200ms}}
    collectors:
      agents:
        collector: {run: "agents:collector", replicas: 2, rollout: {drain: 200ms}}
        intake: {run: "agents:intake", env: {ROUND: "1"}, rollout: {drain: 200ms}}
    analysts:
      budgets: [{per: day, money: 1000, money_per_minute: 1}]
      agents:
        analyst: {run: "agents:analyst", replicas: {min: 2, max: 6}, rollout: {drain: 200ms}}
  links:
    - {from: collectors, to: analysts}
"""
TASK, MESSAGE, TOKEN = "01JD8Z0V7Q4W8X2N5R3T6Y9B1C", "01939f1c8a2b7c3d9e0f1a2b3c4d5e6f", "0b55d336"
PAGE = Path(__file__).parents[2] / "docs/how-to/start-with-the-machine.md"
OF_THE_MACHINE = frozenset(re.findall(r"^\$ ((?:sudo )?qd (?:.* )?service .+)$", PAGE.read_text(), re.MULTILINE))
ENDLESS = re.compile(r"\s(-f|--follow|--watch|-w)\b|^qd service run|^qd attach .* --no-input")
FRESH = count(1)


def examples():
    """(verb, its example lines), in the order of the help; what stops the fleet comes last."""

    def of(verb, name):
        shown = re.findall(r"^\$ (.+)$", inspect.getdoc(load(verb)) or "", re.MULTILINE)
        yield name, [re.split(r"\s{3,}", line)[0] for line in shown]
        for part in verb.parts:
            yield from of(part, f"{name} {part.name}")

    found = [one for verb in VERBS for one in of(verb, verb.name)]
    return sorted(found, key=lambda one: one[0] == "down")


def once():
    """Each example once, where it is shown first, and none of those that change the machine."""
    seen = set(OF_THE_MACHINE)
    for name, lines in examples():
        new = [line for line in lines if line not in seen]
        seen.update(new)
        if new:
            yield name, new


EXAMPLES = list(once())


class Fleet:
    """The fleet that the examples are carried out against, with what each of them begins with."""

    def __init__(self, shell):
        self.shell = shell
        self.client = Wire(Home(Path(shell.environment["QUARTERDECK_HOME"])), SystemClock())

    def do(self, command):
        """Carry it out; what it printed."""
        printed = self.shell.run(command)
        assert self.shell.code == 0, f"$ {command}\nexit {self.shell.code}, printed:\n{printed}"
        return printed

    def document(self, command):
        return json.loads(self.do(f"{command} -o json 2>/dev/null"))

    def until(self, path, holds, within=60.0):
        """Look until the answer is as wanted: at its own door, since a command for each look costs a quarter of a second."""
        deadline, found = time.monotonic() + within, None
        while time.monotonic() < deadline:
            with suppress(QuarterdeckError):
                if holds(found := self.client.get(path)):
                    return
            time.sleep(0.02)
        raise AssertionError(f"not within {within:g} s: {path} {json.dumps(found, indent=1)}")

    def ready(self):
        self.until("/v1/status", lambda status: status["ready"])

    def task(self, do, state):
        """The key of a task in a state."""
        key = f"INC-{next(FRESH)}"
        self.do(f"""qd task submit collectors/intake --data '{{"do": "{do}"}}' --key {key}""")
        self.until(f"/v1/tasks/{key}", lambda task: task["state"] == state)
        return key

    def dead_message(self):
        """The id of one that nobody has sent again."""
        known = {item["id"] for item in self.document("qd message list --state dead")["items"]}
        self.task("send", "done")
        for _ in range(100):
            new = [item["id"] for item in self.document("qd message list --state dead")["items"] if item["id"] not in known]
            if new:
                return new[0]
            self.do("sleep 0.1")
        raise AssertionError("no message died")

    def begins(self, line):
        """Bring about what an example begins with, and put in the names that only this fleet has."""
        for pattern, command in FIRST:
            found = re.search(pattern, line)
            if found:
                self.do(found.expand(command))
        for pattern, given in NAMED:
            if re.search(pattern, line):
                line = given(self, line)
        return line


def fresh_key(_fleet, line):
    return line.replace("INC-4711", f"INC-{next(FRESH)}")


def task_that(do, state):
    return lambda fleet, line: line.replace("INC-4711", fleet.task(do, state))


def task_id(fleet, line):
    key = fleet.task("wait", "running")
    return line.replace(TASK, fleet.document(f"qd task get {key}")["id"])


def message_id(fleet, line):
    return line.replace(MESSAGE, fleet.dead_message())


def token(fleet, line):
    made = fleet.document("qd token create --role viewer --note spare")
    return line.replace(TOKEN, made["id"])


def change(fleet, line):
    made = fleet.document('qd hold analysts/analyst --reason "being debugged"')
    return line.replace("12", str(made["id"]))


def index(fleet, line):
    return line.replace("41", str(fleet.document("qd plan")["index"]))


def revisions(fleet, line):
    """At least four are kept, the newest of them as the spec is now."""
    newest = max(one["number"] for one in fleet.document("qd history")["items"])
    for number in range(newest + 1, 5):
        fleet.do(f"""sed -i 's/ROUND: "[0-9]*"/ROUND: "{number}"/' quarterdeck.yaml && cp quarterdeck.yaml fleet.yaml && qd apply""")
    fleet.ready()
    return line


def killed(fleet, line):
    """A replica that had an incarnation before this one, which said something."""
    pid = fleet.document("qd get replicas analysts/analyst-0")["items"][0]["pid"]
    fleet.do(f"kill -9 {pid}")
    fleet.until("/v1/replicas/analysts/analyst-0", lambda replica: replica["restarts"] > 0)
    fleet.ready()
    return line


def spent_too_fast(fleet, line):
    fleet.do(f"qd task submit analysts/analyst --data 5 --key BUDGET-{next(FRESH)}")
    fleet.until("/v1/conditions", lambda found: any(one["kind"] == "WithinBudget" for one in found["items"]))
    return line


def confirmed(fleet, line):
    """A login, with somebody who confirms its code: here by the door of the machine itself."""
    said = fleet.shell.folder / f"login-{next(FRESH)}"

    def confirm():
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            code = re.search(r"code=([A-Z-]{9})", said.read_text() if said.exists() else "")
            if code:
                return fleet.client.post(f"/v1/login/device/{code[1]}", {"role": "operator"})
            time.sleep(0.02)
        return None

    Thread(target=confirm).start()
    here = line.replace("https://fleet.example.org:7410", fleet.client.get("/v1/version")["url"])
    return f"env -u QUARTERDECK_HOME {here} 2> {said}"  # a home that is named comes before a context


def logged_in(fleet, line):
    for name in ("spare", "prod"):
        fleet.do(confirmed(fleet, f"qd login https://fleet.example.org:7410 --name {name}"))
    return f"env -u QUARTERDECK_HOME {line.replace('logout prod', 'logout spare')}"


FIRST = [
    (r"^qd release (\S+)", r'qd quarantine \1 --reason "wrong answers"'),
    (r"^qd start (fleet)", r"qd stop \1 --reason test"),
    (r"^qd start (\w+ [\w/]+)", r"qd stop \1 --reason test"),
    (r"^qd token revoke (--user \w+)", r"qd token create --role viewer \1"),
    (r"journal\.pub", r'cp "$QUARTERDECK_HOME/keys/journal.pub" .'),
    (r"--head kept", r"qd journal head -o json > kept-elsewhere.json"),
    (r"verify journal\.jsonl", r"qd journal export journal.jsonl"),  # after the head: records go on
    (r"completions/qd\.fish", r"mkdir -p ~/.config/fish/completions"),
    (r"--token-file", r"(umask 077; echo qd_secret > ~/.qd-prod)"),
    (r"context (?:use|remove) staging", r"qd context list -o name | grep -q staging || qd context add staging --home /srv/staging"),
    (r"^qd down -s", r"qd up"),
]
"""What an example begins with: a pattern of its line, and the command that brings it about."""
NAMED = [
    (r"task submit .*INC-4711", fresh_key),
    (r"task (get|history|fork) INC-4711", task_that("", "done")),
    (r"task cancel INC-4711", task_that("wait", "running")),
    (r"task retry INC-4711", task_that("fail", "failed")),
    (r"task answer INC-4711", task_that("ask", "waiting")),
    (r"task resolve INC-4711", task_that("pay", "unknown")),
    (TASK, task_id),
    (MESSAGE, message_id),
    (TOKEN, token),
    (r"^qd revert 12", change),
    (r"--index 41", index),
    (r"^qd rollback", revisions),
    (r"--previous", killed),
    (r"^qd budget resume", spent_too_fast),
    (r"^qd login", confirmed),
    (r"^qd logout", logged_in),
    (r"^qd down( -s \w+)?$", lambda _, line: f"{line} --yes"),  # what a person types when asked
    (r"^qd init", lambda _, line: f"export QUARTERDECK_HOME=~/another; {line}"),
]
"""Names that only the fleet knows: a pattern of a line, and what brings the thing about and gives the line with its name."""
AFTER = {
    "stop": "qd start fleet --reason over; qd start cluster analysts --reason over; qd start agent analysts/analyst --reason over",
    "budget": "qd budget resume analysts --reason over",
    **dict.fromkeys(("context", "login", "logout"), "rm -rf ~/.config/quarterdeck"),
    "init": "QUARTERDECK_HOME=~/another qd down --yes --purge",
    "down": "qd up",
}
"""What makes the fleet whole again after the examples of a verb, whether or not there is anything to mend."""


@contextmanager
def deployed(place):
    with place() as shell:
        shell.environment |= {"QUARTERDECK_HOME": str(shell.folder.parent / ".local/state/quarterdeck"), "CI": "1"}
        (shell.folder / "code").mkdir()
        (shell.folder / "code" / "agents.py").write_text(AGENTS)
        for name in ("quarterdeck.yaml", "fleet.yaml"):
            (shell.folder / name).write_text(SPEC)
        (shell.folder / "incident.json").write_text('{"text": "checkout is slow"}')
        (shell.folder / "name.json").write_text('{"name": "Ada"}')
        fleet = Fleet(shell)
        fleet.do("qd up")
        yield fleet


@pytest.fixture(scope="module")
def fleet(documents):
    with deployed(documents.place) as fleet:
        yield fleet


def missing_program(line):
    """A program of the example that is not Quarterdeck's and that this machine lacks."""
    return next((name for name in ("jq", "tar") if re.search(rf"\b{name}\b", line) and shutil.which(name) is None), None)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("name", "lines"), EXAMPLES, ids=[name.replace(" ", "-") for name, _ in EXAMPLES])
def test_the_examples_in_the_help_of_a_verb_are_carried_out(fleet, name, lines):
    folder = fleet.shell.folder
    for line in lines:
        if missing_program(line):
            continue
        given = fleet.begins(line)
        printed = fleet.shell.run(given, endless=ENDLESS.search(line) is not None)
        assert fleet.shell.code == 0, f"$ {given}\nexit {fleet.shell.code}, printed:\n{printed}"
    fleet.shell.folder = folder
    after = AFTER.get(name.split(" ")[0])
    if after:
        fleet.shell.run(f"export QUARTERDECK_HOME={fleet.shell.environment['QUARTERDECK_HOME']}; {after}")
    fleet.ready()


def test_every_verb_has_an_example():
    without = [name for name, lines in examples() if not lines]
    assert without == []


def test_what_is_not_carried_out_here_is_little_and_is_shown_in_the_help():
    shown = {line for _, lines in examples() for line in lines}
    assert shown >= OF_THE_MACHINE
    assert len(OF_THE_MACHINE) == 4
    assert len(shown) > 80
