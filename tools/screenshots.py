"""Screenshots of the dashboard for README and docs: `python tools/screenshots.py [FOLDER]` (or `make screenshots`).

Deploys examples/triage in a home of its own, feeds it its recorded incidents, and takes the pictures while it works.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.append(str(Path(__file__).parent))
import chromium
from playwright.sync_api import Browser, sync_playwright

from quarterdeck.client.wire import Wire
from quarterdeck.clock import SystemClock
from quarterdeck.model.home import Home

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "triage"
USUAL = ROOT / "docs" / "screenshots"
QD = Path(sys.executable).with_name("qd")
MOST = 600_000
"""Bytes of all pictures together."""
LINKED = ".arc"
WORKED = 25
"""Seconds within which work shows on the page."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: the page, what must be there before it is taken, and the window."""

    name: str
    path: str
    sign: str
    width: int = 1280
    height: int = 860
    scheme: Literal["light", "dark"] = "light"


SHOTS = (
    Shot("overview", "/", LINKED),
    Shot("overview-dark", "/", LINKED, scheme="dark"),
    Shot("overview-phone", "/", LINKED, width=390, height=844),
    Shot("replica", "/replicas/analysts/analyst-1", "#charts[data-drawn]"),
    Shot("deployments", "/deployments", ".phases .done"),
)


def main(folder: Path) -> int:
    """Take them all; gives 1 when they weigh too much."""
    folder.mkdir(parents=True, exist_ok=True)
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    state.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="qds", dir=state) as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=list(chromium.SWITCHES))
        with _fleet(Path(place)) as (client, work):
            _take(browser, client, folder, work)
        browser.close()
    total = sum((folder / f"{shot.name}.png").stat().st_size for shot in SHOTS)
    print(f"{total:,} bytes of {MOST:,}")
    return int(total > MOST)


@contextmanager
def _fleet(place: Path) -> Iterator[tuple[Wire, list[str | Path]]]:
    """The example, deployed and once through its work, and the command that gives it the work again."""
    project = place / "triage"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("__pycache__"))
    os.environ |= {"QUARTERDECK_HOME": str(place / "home"), "QUARTERDECK_PORT": "0"}
    client = Wire(Home(place / "home"), SystemClock())
    work: list[str | Path] = [sys.executable, project / "up.py", "--speed", "10", "--reports", place / "reports"]
    try:
        subprocess.run([*work[:3], "0", *work[4:]], cwd=project, check=True, stdout=subprocess.DEVNULL)
        scale = ("scale", "collectors/collector", "4", "--reason", "evening peak", "--until", "23:59")
        subprocess.run([QD, *scale], cwd=project, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([QD, "wait", "--for", "ready", "--timeout", "60"], cwd=project, check=True, stdout=subprocess.DEVNULL)
        yield client, work
    finally:
        subprocess.run([QD, "down", "--yes"], cwd=project, check=True, stdout=subprocess.DEVNULL)


def _take(browser: Browser, client: Wire, folder: Path, work: list[str | Path]) -> None:
    """While the work runs; it is waited for afterwards."""
    with subprocess.Popen(work, stdout=subprocess.DEVNULL) as working:
        try:
            for shot in SHOTS:
                _shoot(browser, client, shot, folder / f"{shot.name}.png")
        finally:
            working.wait(120)


def _shoot(browser: Browser, client: Wire, shot: Shot, target: Path) -> None:
    size = {"width": shot.width, "height": shot.height}
    context = browser.new_context(viewport=size, color_scheme=shot.scheme, reduced_motion="reduce")
    try:
        page = context.new_page()
        link = client.post("/v1/login", {})["url"]
        page.goto(link)
        page.goto(link.partition("/login")[0] + shot.path)
        page.wait_for_selector(shot.sign, timeout=WORKED * 1000, state="attached")
        target.write_bytes(smaller(page.screenshot()))
        print(f"{target.name}: {target.stat().st_size:,} bytes")
    finally:
        context.close()


def smaller(png: bytes) -> bytes:
    """The same picture with its pixels packed as well as zlib can, and nothing else in the file (PNG, RFC 2083)."""
    parts, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        parts.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += length + 12
    pixels = zlib.decompress(b"".join(content for kind, content in parts if kind == b"IDAT"))
    head = next(content for kind, content in parts if kind == b"IHDR")
    return png[:8] + _part(b"IHDR", head) + _part(b"IDAT", zlib.compress(pixels, 9)) + _part(b"IEND", b"")


def _part(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else USUAL))
