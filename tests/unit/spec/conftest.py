"""A folder with a small code tree, and a way to check a spec against it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from quarterdeck.spec.load import Loaded, examine
from quarterdeck.spec.problems import Problem

Examine = Callable[..., tuple[Loaded | None, tuple[Problem, ...]]]

GOOD = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: triage}
spec:
  owner: sre@example.com
  code: .
  entry: intake
  clusters:
    collectors:
      quota: {cpu: 1, memory: 512Mi, replicas: 8}
      agents:
        collector: {run: "agents:collector", replicas: {min: 3, max: 6}}
        intake: {run: "agents:intake"}
    analysts:
      quota: {cpu: 1, memory: 1Gi, replicas: 12}
      agents:
        analyst: {run: "agents:analyst", replicas: 4, env: {WINDOW: 60s, PORT: 8080, RATIO: 1.10}, secrets: [PAGER_KEY]}
    reporting:
      agents:
        reporter: {run: "agents:reporter"}
  links:
    - {from: collectors, to: analysts, timeout: 5s, attempts: 3, breaker: {failures: 5, reset: 30s}}
    - {from: analysts, to: reporting}
"""


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    code = "async def collector(): ...\nasync def intake(): ...\nasync def analyst(): ...\nasync def reporter(): ...\nNUMBER = 3\n"
    (tmp_path / "agents.py").write_text(code)
    return tmp_path


@pytest.fixture
def look(tree: Path) -> Examine:
    def run(text: str, *, check_entries: bool = False, **environ: str) -> tuple[Loaded | None, tuple[Problem, ...]]:
        variables = {"PAGER_KEY": "s3cret", **environ}
        return examine(textwrap.dedent(text), filename="quarterdeck.yaml", base=tree, environ=variables, check_entries=check_entries)

    return run
