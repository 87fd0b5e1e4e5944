"""Draws the mermaid fences of docs/ into docs/pictures, so that the site needs no script to show them: `python tools/pictures.py`.

A picture is named by the digest of its text: a changed fence has no picture until this ran again, which a test says. The drawing is done by
mmdr in an environment of its own; its colours are thrown away, because the stylesheet gives those of the light and of the dark page.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

DOCS = Path(__file__).parents[1] / "docs"
FOLDER = DOCS / "pictures"
FENCE = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
DRAWER = "mmdr==0.4.0"
SVG = "http://www.w3.org/2000/svg"
KEPT = {"class", "d", "points", "transform", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "width", "height", "viewBox"}
KEPT |= {"refX", "refY", "markerWidth", "markerHeight", "markerUnits", "orient", "marker-start", "marker-end"}
WORDLESS = {"foreignObject", "filter", "style"}


def fences() -> Iterator[str]:
    """The text of every mermaid fence in docs/."""
    for path in sorted(DOCS.rglob("*.md")):
        yield from FENCE.findall(path.read_text())


def of(text: str) -> Path:
    """Where the picture of a fence lies."""
    return FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.svg"


def draw(text: str) -> str:
    """A fence as SVG without colours, whose ids are unique on any page."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "fence.mmd"), Path(folder, "fence.svg")
        source.write_text(text)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "tool", "run", "-q", "--from", DRAWER, "mmdr", "-i", source, "-o", target], check=True)
        return plain(target.read_text(), of(text).stem)


def plain(svg: str, name: str) -> str:
    """What of a drawing is shape and word."""
    ET.register_namespace("", SVG)
    root = ET.fromstring(svg)  # noqa: S314 our own drawing
    markers = {use for e in root.iter() for key in ("marker-start", "marker-end") for use in re.findall(r"#([\w-]+)", e.get(key, ""))}
    for parent in list(root.iter()):
        for child in list(parent):
            kind = child.tag.rpartition("}")[2]
            if kind in WORDLESS or (kind == "marker" and child.get("id") not in markers):
                parent.remove(child)
    for element in root.iter():
        _strip(element, name)
    _, _, width, height = root.attrib["viewBox"].split()
    root.attrib |= {"width": f"{float(width):.0f}", "height": f"{float(height):.0f}", "role": "img"}
    return re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", ET.tostring(root, encoding="unicode")) + "\n"


def _strip(element: ET.Element, name: str) -> None:
    marker = element.get("id") if element.tag.endswith("}marker") else None
    kept = {key: value for key, value in element.attrib.items() if key in KEPT}
    for key in ("marker-start", "marker-end"):
        if key in kept:
            kept[key] = kept[key].replace("#merman", f"#p{name}")
    if marker:
        kept["id"] = marker.replace("merman", f"p{name}")
    if element.tag.endswith(("}text", "}tspan")):
        kept.pop("class", None)
    element.attrib.clear()
    element.attrib.update(kept)


def main() -> None:
    """Draw what has no picture, and remove what no fence asks for any more."""
    wanted = {of(text): text for text in fences()}
    for path, text in wanted.items():
        if not path.exists():
            path.write_text(draw(text))
            print(path)
    for path in FOLDER.glob("*.svg"):
        if path not in wanted and re.fullmatch(r"[0-9a-f]{12}", path.stem):
            path.unlink()


if __name__ == "__main__":
    main()
