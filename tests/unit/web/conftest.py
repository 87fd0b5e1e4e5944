"""The control plane without processes, as tests/unit/api has it."""

import importlib.util
import sys
from pathlib import Path

import pytest

DOORS = Path(__file__).parents[1] / "api" / "conftest.py"


def load():
    """A copy of our own: conftests of another folder cannot be imported by name."""
    spec = importlib.util.spec_from_file_location("web_pages_doors", DOORS)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


doors = load()


@pytest.fixture
def make_control(tmp_path):
    """One with a spec of its own."""
    return lambda spec=doors.SPEC: doors.opened(tmp_path, spec)


@pytest.fixture
def control(make_control):
    with make_control() as control:
        yield control


@pytest.fixture
def fleet(control):
    """The same, deployed."""
    control.up()
    return control


@pytest.fixture
def replica(fleet):
    """Somebody who works on its tasks."""
    return doors.Replica(fleet)
