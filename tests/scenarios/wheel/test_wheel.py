"""The built wheel alone, in an empty environment, deploys the example and serves its docs."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[3]


def run(*argv, **more):
    return subprocess.run([str(a) for a in argv], check=True, capture_output=True, text=True, timeout=110, **more)


def source(folder):
    """What a wheel is built from, with the docs site: built in a copy, so that the checkout stays as it is."""
    names = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "mkdocs.yml")
    names += ("docs", "tools", "src", "examples", "bench")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "site")
    for name in names:
        whole = ROOT / name
        shutil.copytree(whole, folder / name, ignore=unwanted) if whole.is_dir() else shutil.copy(whole, folder / name)
    shutil.copy(ROOT / ".gitignore", folder)  # the wheel takes the site although git does not
    run(sys.executable, folder / "tools/site.py")
    return folder


def page(python, home, path):
    """Status, policy and text of a page of the control plane, by the client of the installed package."""
    script = (
        "import http.client, socket, sys; from pathlib import Path; from quarterdeck.model.home import Home\n"
        "door = socket.socket(socket.AF_UNIX); door.connect(str(Home(Path(sys.argv[1])).api_socket))\n"
        "asked = http.client.HTTPConnection('localhost'); asked.sock = door; asked.request('GET', sys.argv[2])\n"
        "answer = asked.getresponse(); print(answer.status, answer.headers['Content-Security-Policy']); print(answer.read().decode())"
    )
    return run(python, "-c", script, home, path).stdout


def test_the_wheel_installs_into_an_empty_environment_and_deploys_the_example(tmp_path):
    uv = Path(sys.executable).parent / "uv"
    made = tmp_path / "source"
    made.mkdir()
    env = {**os.environ, "QUARTERDECK_HOME": str(tmp_path / "home"), "QUARTERDECK_PORT": "0"}
    run(uv, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", tmp_path / "dist", source(made))
    (wheel,) = (tmp_path / "dist").glob("quarterdeck-*.whl")
    run(uv, "venv", "--python", sys.executable, tmp_path / "env")
    python, qd = tmp_path / "env/bin/python", tmp_path / "env/bin/qd"
    run(uv, "pip", "install", "--python", python, "--require-hashes", "-r", ROOT / "requirements.lock")
    run(uv, "pip", "install", "--python", python, "--no-deps", wheel)
    run(qd, "init", tmp_path / "triage", "--template", "triage", env=env)
    packed = zipfile.ZipFile(wheel).namelist()
    assert "quarterdeck/templates/plain/agents.py" in packed
    assert not [name for name in packed if "__pycache__" in name]
    try:
        up = run(qd, "up", "--progress", "plain", tmp_path / "triage/quarterdeck.yaml", env=env, cwd=tmp_path)
        assert " Ready in " in up.stdout
        assert "9 of 9 replicas answering" in up.stdout
        docs = page(python, tmp_path / "home", "/docs/tutorial/")
        assert docs.startswith("200 default-src 'none';")
        assert "From zero to a healed failure" in docs
        assert str(ROOT) not in run(python, "-c", "import quarterdeck; print(quarterdeck.__file__)", cwd=tmp_path).stdout
    finally:
        down = run(qd, "down", "--yes", env=env, cwd=tmp_path)
    assert "left    nothing" in down.stdout
