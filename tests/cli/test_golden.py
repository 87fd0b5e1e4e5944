"""What a person sees is what it was: a real fleet lived through, compared with the transcripts in `golden`.

A change that is meant: `python tests/cli/transcripts.py` takes them anew; the difference is then part of the change that is reviewed.
"""

import difflib
import importlib.util
import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def transcripts():
    spec = importlib.util.spec_from_file_location("transcripts", HERE / "transcripts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def taken(transcripts, tmp_path_factory):
    return transcripts.take(tmp_path_factory.mktemp("lived"))


NAMES = sorted(path.stem for path in (HERE / "golden").glob("*.txt"))


def test_every_behaviour_has_its_transcript(transcripts):
    assert sorted(transcripts.BEHAVIOURS) == NAMES
    numbers = {int(name.partition("-")[0]) for name in NAMES}
    assert sorted(numbers) == list(range(1, 21))


def test_the_behaviours_of_the_dashboard_are_tested_in_a_browser(transcripts):
    for place in (place for places in transcripts.ELSEWHERE.values() for place in places):
        path, _, name = place.partition("::")
        assert f"def {name}(" in (HERE.parents[1] / path).read_text(), place


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", NAMES)
def test_it_reads_as_before(taken, name):
    kept = (HERE / "golden" / f"{name}.txt").read_text()
    assert taken[name] == kept, "\n".join(difflib.unified_diff(kept.splitlines(), taken[name].splitlines(), "golden", "now", lineterm=""))


@pytest.mark.parametrize("name", NAMES)
def test_no_escape_code_and_no_value_of_one_run_is_kept(name):
    text = (HERE / "golden" / f"{name}.txt").read_text()
    assert "\x1b" not in text
    assert not re.search(r"\bqd_[0-9a-f]{8}_|/tmp/|\d\d:\d\d:\d\d", text)
