"""Every answer ends with commands that can be copied: with two systems in one home, in another context, with another home."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from tests.cli.test_hints import following
from tests.cli.test_task import TASK, task

QD = [sys.executable, "-m", "quarterdeck.cli.main"]
AGENT = {"name": "back/counter", "replicas": {"ready": 1, "desired": 1, "min": 1, "max": 1}}
CHANGE = {"id": 4, "target": "back/counter", "patch": {"field": "hold", "value": True}, "state": "live", "reason": "x", "system": "other"}
HARMLESS = ("status", "get", "explain", "logs", "history", "journal", "wait", "validate", "task get", "task list", "version")
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {{name: {name}}}
spec:
  clusters:
    {cluster}:
      agents:
        {agent}: {{run: "agents:agent", replicas: {{min: 1, max: 2}}, rollout: {{drain: 200ms}}}}
"""
AGENTS = """\
from quarterdeck import Agent

agent = Agent()


@agent.on("greet")
async def greet(name: str) -> str:
    print("greeted", name, flush=True)
    return name
"""


@pytest.fixture
def two(fake, documents):
    """A control plane with two systems; what is asked of it without a system, where one is needed, it refuses as the real one does."""
    refusal = documents.refused("UserError", 400, 1, "which system? triage, other", hint="name one, e.g. -s triage")

    def needs(document):
        return lambda query, body, _: document if (query.get("system") or (body or {}).get("system")) else refusal

    fake.answers["GET", "/v1/systems"] = documents.listed([{"name": name, "ready": True} for name in ("triage", "other")])
    fake.answers["GET", "/v1/status"] = needs({**documents.status(), "system": "other"})
    fake.answers["GET", "/v1/agents"] = needs(documents.listed([AGENT]))
    fake.answers["GET", "/v1/replicas"] = needs(documents.listed([{**documents.replicas[0], "name": "back/counter-0"}]))
    fake.answers["GET", "/v1/changes"] = documents.listed([CHANGE])
    fake.answers["GET", "/v1/journal"] = documents.listed([documents.record(7)])
    fake.answers["GET", "/v1/revisions"] = needs(documents.listed([{"number": 1, "current": True, "digest": "a", "code": "b"}]))
    fake.answers["GET", "/v1/tasks"] = {**documents.listed([task("done", system="other")]), "next": None}
    fake.answers["POST", "/v1/ask"] = needs({"reply": 1, "from": "back/counter-0", "ms": 1.0})
    fake.answers["POST", "/v1/changes"] = needs({"id": 9})
    return fake


OF_OTHER = [
    ("status", "-s", "other"),
    ("get", "agents", "-s", "other"),
    ("get", "replicas", "-s", "other"),
    ("history", "-s", "other"),
    ("ask", "back/counter", "greet", "-s", "other"),
    ("ask", "other:back/counter", "greet"),
    ("wait", "-s", "other"),
    ("-s", "other", "get", "tasks"),
]


@pytest.mark.parametrize("arguments", OF_OTHER, ids=" ".join)
def test_what_is_proposed_is_of_the_system_that_was_asked_about(two, terminal, arguments):
    code, written = terminal(*arguments, NO_COLOR="1", columns=200)
    assert code == 0, written
    for command in following(written):
        said = shlex.split(command)
        assert ("-s" in said and said[said.index("-s") + 1] == "other") or TASK in said or said[1] == "plan", command


def test_a_change_is_seen_and_reverted_where_it_was_made(two, qd):
    assert "next: qd -s other explain back/counter · qd revert 9" in qd("hold", "other:back/counter", "--reason", "x").err


@pytest.mark.parametrize("arguments", [("version",), ("get", "changes"), ("get", "systems"), ("journal",), ("doctor",)], ids=" ".join)
def test_where_no_system_was_named_only_what_needs_none_is_proposed(two, terminal, arguments):
    _, written = terminal(*arguments, NO_COLOR="1", columns=200)
    for command in following(written):
        assert not re.fullmatch(r"qd (status|logs|explain|get (replicas|agents)).*(?<!-s triage)", command), command


def test_a_hint_of_an_error_names_the_system_too(two, qd, documents):
    two.answers["GET", "/v1/explain"] = documents.refused(
        "NotFound", 404, 3, 'other has no "back/x"', hint="qd get agents lists what there is"
    )
    two.answers["GET", "/v1/tasks/by-key"] = documents.refused("NotFound", 404, 3, "no task")
    for arguments in (("explain", "back/x", "-s", "other"), ("explain", "other:back/x")):
        assert "hint: qd -s other get agents lists what there is\n" in qd(*arguments).err


def test_with_one_system_nothing_is_added(fake, terminal):
    _, written = terminal("status", "-s", "triage", NO_COLOR="1", columns=200)
    assert following(written) == ["qd get replicas", "qd logs -f"]


def test_the_dashboard_opens_at_the_system_that_was_named(two, qd):
    assert qd("open", "-s", "other", "--print").code == 0
    assert two.asked("POST", "/v1/login")[-1][1]["next"] == "/?system=other"
    qd("open", "--print")
    assert "next" not in two.asked("POST", "/v1/login")[-1][1]


def test_a_system_that_is_not_there_has_no_dashboard(fake, qd, documents):
    fake.answers["GET", "/v1/status"] = documents.refused("NotFound", 404, 3, "no system nope", hint="deployed: triage")
    assert qd("open", "-s", "nope", "--print").code == 3
    assert fake.asked("POST", "/v1/login") == []


@pytest.fixture
def elsewhere(fake, home, qd, tmp_path, monkeypatch):
    """The control plane is that of the context `a`, and `b` is the one in use."""
    qd("context", "add", "a", "--home", home.root)
    qd("context", "add", "b", "--home", tmp_path / "b")
    qd("context", "use", "b")
    monkeypatch.delenv("QUARTERDECK_HOME")
    fake.answers["GET", "/v1/changes"] = {"apiVersion": "x", "kind": "List", "items": [CHANGE]}
    return fake


def test_a_command_reaches_the_context_that_was_named(elsewhere, terminal, home):
    assert following(terminal("--context", "a", "get", "changes", NO_COLOR="1")[1]) == ["qd --context a revert 4"]
    assert following(terminal("get", "changes", "--home", home.root, NO_COLOR="1", columns=300)[1]) == [f"qd --home {home.root} revert 4"]


def test_the_context_in_use_and_the_home_of_the_environment_are_not_named(elsewhere, qd, terminal, home):
    assert "next: qd context list\n" in qd("--context", "a", "context", "show").err
    assert "next: qd status\n" in qd("--context", "b", "context", "use", "a").err, "from now on it is found without"
    assert following(terminal("--context", "a", "get", "changes", NO_COLOR="1")[1]) == ["qd revert 4"]
    written = terminal("get", "changes", "--home", home.root, NO_COLOR="1", QUARTERDECK_HOME=str(home.root))[1]
    assert following(written) == ["qd revert 4"]


def test_an_error_says_how_to_start_the_home_that_was_named(home, qd, tmp_path):
    assert f"hint: start one with qd --home {tmp_path / 'none'} up\n" in qd("--home", tmp_path / "none", "get", "changes").err


class Fleets:
    """Two systems in a home that no environment names: they are found by a context only."""

    def __init__(self, folder, environ):
        folder.mkdir()
        self.folder, self.environ = folder, environ
        (folder / "agents.py").write_text(AGENTS)
        for name, cluster, agent in (("hello", "front", "greeter"), ("other", "back", "counter")):
            (folder / f"{name}.yaml").write_text(SPEC.format(name=name, cluster=cluster, agent=agent))

    def shell(self, command):
        """As somebody types it; gives the exit code and all that it wrote."""
        words = command.replace("qd ", f"{shlex.join(QD)} ", 1)
        ran = subprocess.run(
            ["bash", "-c", words], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr


@pytest.fixture
def fleets(home, qd, tmp_path, monkeypatch):
    monkeypatch.setenv("QUARTERDECK_PORT", "0")
    qd("context", "add", "a", "--home", tmp_path / "real")
    monkeypatch.delenv("QUARTERDECK_HOME")
    made = Fleets(tmp_path / "project", {**os.environ, "NO_COLOR": "1"})
    monkeypatch.chdir(made.folder)
    yield made
    assert made.shell("qd --context a down --yes -q")[0] == 0


@pytest.mark.timeout(180)
def test_what_is_proposed_does_what_it_says_when_it_is_copied(fleets, terminal):
    """The real thing: each harmless command that some verbs propose is carried out literally, and finds the system that was meant."""
    for name in ("hello", "other"):
        code, told = fleets.shell(f"qd --context a up {name}.yaml")
        assert code == 0, told
    assert "system%3Dother" in told
    (line,) = (line for line in told.splitlines() if line.startswith(" Next "))
    proposed = [*line.removeprefix(" Next ").strip().split(" · ")[:2]]
    for arguments in (*OF_OTHER[:7], ("version",), ("get", "systems"), ("get", "changes", "-s", "other"), ("plan", "other.yaml"),
                      ("explain", "other:back/counter"), ("journal", "-n", "1"), ("scale", "other:back/counter", "2", "--reason", "x"),
                      ("restart", "back/counter", "-s", "other", "--reason", "x")):  # fmt: skip
        given = [*arguments[:3], '"x"', *arguments[3:]] if arguments[0] == "ask" else arguments
        code, written = terminal("--context", "a", *given, NO_COLOR="1", columns=250)
        assert code == 0, (arguments, written)
        proposed += following(written)
    harmless = [
        one for one in dict.fromkeys(proposed) if " -f" not in one and re.sub(r" (-s|--context) \w+", "", one)[3:].startswith(HARMLESS)
    ]
    assert len(harmless) > 8, proposed
    for command in harmless:
        assert " --context a " in f"{command} ", command
        code, told = fleets.shell(command.replace("TARGET", "back/counter"))
        assert code == 0, (command, told)
        assert "front/greeter" not in told or "-s hello" in command, (command, told)
