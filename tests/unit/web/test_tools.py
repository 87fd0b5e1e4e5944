"""What finds or installs a browser, with an apt-get that is honestly fake; and the pictures that are kept."""

import importlib.util
import os
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TOOLS = ROOT / "tools"
FAKE_APT_GET = """#!/bin/sh
echo "$@" >> {folder}/asked
case "$*" in *install*) {after} ;; esac
"""


def load(name):
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without a browser; gives the only folder of its PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("QUARTERDECK_CHROMIUM", raising=False)
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def program(path, text="#!/bin/sh\n"):
    path.write_text(text)
    path.chmod(0o755)


def fake_apt_get(folder, after):
    program(folder / "apt-get", FAKE_APT_GET.format(folder=folder, after=after))


def test_the_browser_that_is_named_is_taken_before_the_one_of_the_machine(bare, monkeypatch):
    chromium = load("chromium")
    program(bare / "chromium")
    assert chromium.path() == str(bare / "chromium")
    monkeypatch.setenv("QUARTERDECK_CHROMIUM", "/opt/mine")
    assert chromium.path() == "/opt/mine"


def test_who_may_not_install_is_told_what_to_do(bare, monkeypatch):
    chromium = load("chromium")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(chromium.Missing, match="install your system's chromium package, or name one by QUARTERDECK_CHROMIUM"):
        chromium.path()


def test_what_apt_get_could_not_do_is_said_in_its_words(bare, monkeypatch):
    chromium = load("chromium")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    fake_apt_get(bare, "echo 'E: no such package' >&2; exit 100")
    with pytest.raises(chromium.Missing, match="install failed: E: no such package"):
        chromium.path()
    fake_apt_get(bare, ":")
    with pytest.raises(chromium.Missing, match="not on the PATH"):
        chromium.path()


def test_of_several_processes_that_want_it_one_installs_it(bare, monkeypatch):
    touch, chmod, sleep = (shutil.which(name, path=os.defpath) for name in ("touch", "chmod", "sleep"))
    fake_apt_get(bare, f"{sleep} 0.3; {touch} {bare}/chromium; {chmod} 755 {bare}/chromium")
    script = f"import os, sys; os.geteuid = lambda: 0; sys.path.insert(0, {str(TOOLS)!r}); import chromium; print(chromium.path())"
    running = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [one.communicate(timeout=30)[0].strip() for one in running] == [str(bare / "chromium")] * 3
    assert [("install" in line, "update" in line) for line in (bare / "asked").read_text().splitlines()] == [(False, True), (True, False)]


def chunks(png):
    at = 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length], png[at + 8 + length : at + 12 + length]
        at += length + 12


def test_a_picture_is_made_smaller_without_touching_a_pixel():
    rows = b"".join(b"\0" + bytes(200 * 3) for _ in range(100))
    head = struct.pack(">IIBBBBB", 200, 100, 8, 2, 0, 0, 0)
    screenshots = load("screenshots")
    parts = [(b"IHDR", head), (b"tEXt", b"Comment\0made by somebody"), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(screenshots._part(kind, content) for kind, content in parts)
    made = screenshots.smaller(png)
    assert len(made) < len(png) / 10
    found = list(chunks(made))
    assert [kind for kind, _, _ in found] == [b"IHDR", b"IDAT", b"IEND"]
    assert found[0][1] == head
    assert zlib.decompress(found[1][1]) == rows
    assert all(zlib.crc32(kind + content) == int.from_bytes(sum_) for kind, content, sum_ in found)


def test_the_pictures_that_are_kept_are_those_that_the_tool_takes_and_weigh_little():
    screenshots = load("screenshots")
    kept = {path.stem: path.read_bytes() for path in screenshots.USUAL.glob("*.png")}
    assert set(kept) == {shot.name for shot in screenshots.SHOTS}
    assert sum(map(len, kept.values())) < screenshots.MOST
    assert {name: len(list(chunks(png))) for name, png in kept.items()} == dict.fromkeys(kept, 3)


@pytest.mark.parametrize(("document", "folder"), [("README.md", "docs/screenshots"), ("docs/index.md", "screenshots")])
def test_every_picture_that_is_kept_is_shown(document, folder):
    shown = (ROOT / document).read_text()
    for path in load("screenshots").USUAL.glob("*.png"):
        assert f"{folder}/{path.name}" in shown, path
    assert f'<source media="(prefers-color-scheme: dark)" srcset="{folder}/overview-dark.png">' in shown
