import os
import subprocess
import sys

import pytest

import quarterdeck


def test_the_public_names_are_few_sorted_and_there():
    assert quarterdeck.__all__ == sorted(quarterdeck.__all__)
    assert len(quarterdeck.__all__) <= 20
    for name in quarterdeck.__all__:
        assert getattr(quarterdeck, name).__name__ == name
    assert set(quarterdeck.__all__) <= set(dir(quarterdeck))


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(quarterdeck, "Manager")


def fresh(code, **environment):
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout.strip()


@pytest.mark.parametrize(("module", "most"), [("quarterdeck", 50), ("quarterdeck.agents", 100)])
def test_importing_is_cheap(tmp_path, slowness, module, most):
    """Milliseconds of CPU with compiled files in place, as installed; the best of several, because the machine does other work too."""
    timed = f"import time; b = time.process_time(); import {module}; print((time.process_time() - b) * 1000)"
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    assert min(float(fresh(timed, **compiled)) for _ in range(8)) < most * slowness()


def test_the_sdk_pulls_in_nothing_heavy():
    heavy = "('nats', 'nkeys', 'pydantic', 'sqlalchemy', 'fastapi', 'asyncio', 'quarterdeck.spec', 'quarterdeck.store')"
    assert fresh(f"import sys, quarterdeck.agents; print([m for m in {heavy} if m in sys.modules])") == "[]"
    later = heavy.replace("'asyncio', ", "")
    assert fresh(f"import sys, quarterdeck.agents.runtime; print([m for m in {later} if m in sys.modules])") == "[]"
