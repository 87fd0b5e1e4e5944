import json
import subprocess
import sys
from pathlib import Path

USE = Path(__file__).with_name("public_use.py")
ROOT = Path(__file__).parents[2]


def test_mypy_accepts_the_public_use(tmp_path):
    argv = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--cache-dir", str(tmp_path), str(USE)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright_accepts_the_public_use_and_refuses_what_mypy_refuses(tmp_path):
    """By the build of it that comes as a wheel; it is told to ignore nothing, so that each line that must be refused is."""
    settings = tmp_path / "pyrightconfig.json"
    settings.write_text(json.dumps({"include": [str(USE)], "typeCheckingMode": "standard", "enableTypeIgnoreComments": False}))
    argv = [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "--outputjson", "-p", str(settings)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == 1, done.stderr
    refused = {one["range"]["start"]["line"] + 1: one["message"] for one in found["generalDiagnostics"] if one["severity"] == "error"}
    wrong = {number for number, line in enumerate(USE.read_text().splitlines(), 1) if "type: ignore" in line}
    assert refused.keys() == wrong, refused
