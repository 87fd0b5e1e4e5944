"""Every error has a code, every code its entry, and the entry tells what `qd` really says."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

from quarterdeck import errors
from quarterdeck.cli.codes import GROUPS, KINDS
from quarterdeck.cli.main import main
from quarterdeck.errors import QuarterdeckError, SpecError
from quarterdeck.spec.load import decode, examine

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "src/quarterdeck/cli/codes.py"
PAGE = (ROOT / "docs/reference/errors.md").read_text()
GIVEN = re.compile(r'"(E\d{4})"')


def _faults():
    spec = importlib.util.spec_from_file_location("faults", Path(__file__).with_name("faults.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FAULTS, CODE = (vars(_faults())[name] for name in ("FAULTS", "CODE"))
OF_SPECS = [code for code in KINDS if code[:3] in ("E11", "E12", "E13", "E14")]


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """What is found in a spec that lies beside the code: the lines of each problem or warning."""
    base = tmp_path_factory.mktemp("code")
    for name, text in CODE.items():
        (base / name).write_text(text)

    def look(given):
        try:
            text = decode(given, filename="f.yaml") if isinstance(given, bytes) else given
        except SpecError as error:
            return [problem.splitlines() for problem in error.problems]
        loaded, found = examine(text, filename="f.yaml", base=base, environ={"KEY": "x"})
        return [str(problem).splitlines() for problem in found or loaded.warnings]

    return look


def test_every_code_that_is_given_has_its_entry_and_every_entry_is_given_out():
    sources = [path for path in (ROOT / "src/quarterdeck").rglob("*.py") if path != TABLE]
    given = {code for path in sources for code in GIVEN.findall(path.read_text())}
    assert given == set(KINDS)
    assert {code[:3] for code in KINDS} == set(GROUPS)


def test_every_class_of_the_tree_has_a_code_of_its_own():
    known = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, QuarterdeckError)]
    codes = [vars(e)["code"] for e in known]
    assert len(set(codes)) == len(known) == 10
    assert all(code.startswith("E10") for code in codes)


def test_a_nearer_code_comes_before_that_of_the_class():
    assert errors.Conflict("x").code == "E1007"
    assert errors.Conflict("x", code="E1501").code == "E1501"
    assert errors.Conflict("x\ny", hint="z").told == "error: x [E1007]\ny\nhint: z\n"


def test_every_code_of_a_spec_has_a_fault_that_shows_it():
    assert sorted(FAULTS) == sorted(OF_SPECS)


@pytest.mark.parametrize("code", OF_SPECS)
def test_the_example_of_a_code_is_what_is_said(problems, code):
    firsts = [lines[0] for lines in problems(FAULTS[code])]
    assert len(firsts) <= 2
    said = re.escape(KINDS[code].example).replace("…", ".*")
    assert [one for one in firsts if re.fullmatch(rf"f\.yaml:\d+:\d+: {said} \[{code}\]", one)], firsts


@pytest.mark.parametrize("code", KINDS)
def test_the_page_has_every_code_with_what_qd_explains_without_a_control_plane(code, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("QUARTERDECK_HOME", str(tmp_path))
    kind = KINDS[code]
    before = "error: " if code[:3] in ("E10", "E15") else ""
    assert f"#### {code}\n\n{kind.meaning}\n\n```\n{before}{kind.example} [{code}]\n```\n\n{kind.mend}\n" in PAGE
    assert main(["explain", code]) == 0
    told = capsys.readouterr().out
    assert all(part in told for part in (f"{code}: {kind.meaning}", kind.example, kind.mend))
    assert main(["explain", code, "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["mend"] == kind.mend


def test_no_entry_is_empty_and_all_end_as_sentences():
    assert [code for code, kind in KINDS.items() if not (kind.meaning.endswith(".") and kind.example and kind.mend.endswith("."))] == []
