import subprocess
import sys
from pathlib import Path

USE = Path(__file__).with_name("public_use.py")
ROOT = Path(__file__).parents[2]


def test_mypy_accepts_the_public_use(tmp_path):
    argv = [sys.executable, "-m", "mypy", "--strict", "--warn-unused-ignores", "--cache-dir", str(tmp_path), str(USE)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
