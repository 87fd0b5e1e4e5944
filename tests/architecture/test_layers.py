"""Imports go down only, and the picture in the docs is the contract that is enforced."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path


def contracts(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def test_the_import_contracts_hold(root):
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert f"{len(contracts(root))} kept, 0 broken" in ran.stdout


def test_every_folder_and_file_of_the_package_is_in_a_layer(root):
    layers = next(c["layers"] for c in contracts(root) if c["type"] == "layers")
    named = {name.strip().removeprefix("quarterdeck.") for line in layers for name in line.split("|")}
    package = root / "src" / "quarterdeck"
    present = {p.name.removesuffix(".py") for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert named == present - {"__init__"}


def test_the_layer_list_of_the_docs_is_the_contract(root):
    layers = next(c["layers"] for c in contracts(root) if c["type"] == "layers")
    text = (root / "docs" / "architecture.md").read_text()
    drawn = re.search(r"<!-- layers -->\n```\n(.*?)```", text, re.DOTALL)
    assert drawn
    assert drawn[1].splitlines() == [line.replace("quarterdeck.", "") for line in layers]


def test_every_folder_has_a_sentence_in_the_docs(root):
    text = (root / "docs" / "architecture.md").read_text()
    folders = {p.name for p in (root / "src" / "quarterdeck").iterdir() if (p / "__init__.py").exists()}
    told = set(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE))
    assert told == folders
