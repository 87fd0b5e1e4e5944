"""`make bench`: run every bench_*.py beside this file, or the one that is named; further arguments go to it. One JSON line each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """The worst exit code."""
    chosen, rest = (arguments[0], arguments[1:]) if arguments and not arguments[0].startswith("-") else ("*", arguments)
    found = sorted(HERE.glob(f"bench_{chosen}.py"))
    if not found:
        print(f"there is no benchmark {chosen}", file=sys.stderr)
        return 2
    return max(subprocess.run([sys.executable, str(path), *rest], check=False).returncode for path in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
