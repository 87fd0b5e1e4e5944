import subprocess
import sys

import quarterdeck


def test_the_public_names_are_few_sorted_and_there():
    assert quarterdeck.__all__ == sorted(quarterdeck.__all__)
    assert len(quarterdeck.__all__) <= 20
    for name in quarterdeck.__all__:
        assert getattr(quarterdeck, name).__name__ == name
    assert set(quarterdeck.__all__) <= set(dir(quarterdeck))


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(quarterdeck, "Manager")


def fresh(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_importing_is_cheap():
    """The first of several fresh processes may pay for a cold disk; the best one counts."""
    timed = "import time; b = time.perf_counter(); import {}; print((time.perf_counter() - b) * 1000)"
    assert min(float(fresh(timed.format("quarterdeck"))) for _ in range(5)) < 50
    assert min(float(fresh(timed.format("quarterdeck.agents"))) for _ in range(5)) < 100


def test_the_sdk_pulls_in_nothing_heavy():
    heavy = "('nats', 'nkeys', 'pydantic', 'sqlalchemy', 'fastapi', 'asyncio', 'quarterdeck.spec', 'quarterdeck.store')"
    assert fresh(f"import sys, quarterdeck.agents; print([m for m in {heavy} if m in sys.modules])") == "[]"
    later = heavy.replace("'asyncio', ", "")
    assert fresh(f"import sys, quarterdeck.agents.runtime; print([m for m in {later} if m in sys.modules])") == "[]"
