"""Builds the docs site from docs/ for the control plane to serve at /docs: `python tools/site.py [FOLDER]` (or `make docs`).

The folder appears at once and whole: a control plane that serves it meanwhile shows the old one or the new one. With it goes a manifest:
the files that may be served, and the digests of the scripts that the pages carry, from which the content security policy is made.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
USUAL = ROOT / "src" / "quarterdeck" / "site"
MANIFEST = "manifest.json"
NOT_NEEDED = ("sitemap.xml", "sitemap.xml.gz", "404.html", "assets/javascripts/lunr", "assets/images/favicon.png")
SCRIPT = re.compile(r"<script(?P<tag>[^>]*)>(?P<text>.*?)</script>", re.DOTALL)


def build(target: Path) -> Path:
    """The site in `target`, which is replaced; raises CalledProcessError with mkdocs' words when a link leads nowhere."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".site-", dir=target.parent) as folder:
        made = Path(folder, "site")
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--config-file", ROOT / "mkdocs.yml", "--site-dir", made]
        subprocess.run(command, check=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"})
        prune(made)
        (made / MANIFEST).write_text(json.dumps(manifest(made), indent=1) + "\n")
        if target.exists():
            target.rename(Path(folder, "old"))
        made.rename(target)
    return target


def prune(site: Path) -> None:
    """Without what a theme brings for others: other languages, source maps, what search machines want."""
    for name in NOT_NEEDED:
        path = site / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in site.rglob("*.map"):
        path.unlink()


def manifest(site: Path) -> dict[str, object]:
    """What is in the site: every file by its digest, and the digest of every script within a page."""
    files = {
        p.relative_to(site).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()[:16] for p in sorted(site.rglob("*")) if p.is_file()
    }
    scripts = {digest for path in site.rglob("*.html") for digest in inner_scripts(path.read_text())}
    return {"files": files, "scripts": sorted(scripts)}


def inner_scripts(html: str) -> set[str]:
    """Digests as a content security policy names them; data and loaded scripts need none."""
    found = (m["text"] for m in SCRIPT.finditer(html) if "src=" not in m["tag"] and "application/json" not in m["tag"])
    return {"sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in found}


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else USUAL))
