"""The built wheel alone, in an empty environment, deploys the example."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(*argv, **more):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True, timeout=110, **more)


def test_the_wheel_installs_into_an_empty_environment_and_deploys_the_example(tmp_path):
    uv = Path(sys.executable).parent / "uv"
    env = {**os.environ, "QUARTERDECK_HOME": str(tmp_path / "home"), "QUARTERDECK_PORT": "0"}
    run(uv, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("quarterdeck-*.whl")
    run(uv, "venv", "--python", sys.executable, tmp_path / "env")
    python, qd = tmp_path / "env/bin/python", tmp_path / "env/bin/qd"
    run(uv, "pip", "install", "--python", python, "--require-hashes", "-r", ROOT / "requirements.lock")
    run(uv, "pip", "install", "--python", python, "--no-deps", wheel)
    shutil.copytree(ROOT / "examples/triage", tmp_path / "triage")
    try:
        up = run(qd, "up", "--progress", "plain", tmp_path / "triage/quarterdeck.yaml", env=env, cwd=tmp_path)
        assert " Ready in " in up.stdout
        assert "9 of 9 replicas answering" in up.stdout
        assert str(ROOT) not in run(python, "-c", "import quarterdeck; print(quarterdeck.__file__)", cwd=tmp_path).stdout
    finally:
        down = run(qd, "down", "--yes", env=env, cwd=tmp_path)
    assert "left    nothing" in down.stdout
