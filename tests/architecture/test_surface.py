"""What others may import, what that costs, and which version it is."""

import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest

import quarterdeck
from quarterdeck.version import VERSION

PUBLIC = [
    "Ack",
    "Agent",
    "AsyncClient",
    "Client",
    "Context",
    "Deadlock",
    "Denied",
    "EffectUnknown",
    "Forbidden",
    "NoAnswer",
    "NoProgress",
    "PayloadError",
    "QuarterdeckError",
    "RemoteError",
    "TaskFailed",
    "Terminal",
    "Transient",
    "UserError",
    "current",
]
HEAVY = {"nats", "pydantic", "sqlalchemy", "fastapi", "typer", "rich", "uvicorn"}
GENEROUS_SECONDS = 0.5
"""Of the processor. Ten times the goal, so that a slow machine does not fail the test and an import of something heavy does."""


def test_the_public_names_are_these():
    assert quarterdeck.__all__ == PUBLIC
    assert sorted(PUBLIC) == PUBLIC
    assert len(PUBLIC) <= 20


def test_every_public_name_is_there_and_documented():
    assert all(getattr(quarterdeck, name).__doc__ for name in PUBLIC)
    assert set(dir(quarterdeck)) == set(PUBLIC)


def test_a_name_that_is_not_public_is_refused():
    with pytest.raises(AttributeError, match="Engine"):
        _ = quarterdeck.Engine


@pytest.mark.parametrize("module", ["quarterdeck", "quarterdeck.agents"])
def test_importing_costs_little_and_brings_nothing_heavy(module):
    code = f"import sys, time; import {module}; print(time.process_time(), *sys.modules)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() for _ in range(3)]
    assert min(float(seconds) for seconds, *_ in runs) < GENEROUS_SECONDS
    assert not HEAVY & set(runs[0])


def test_the_version_is_one(root):
    assert version("quarterdeck") == VERSION
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"] == VERSION
