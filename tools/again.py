"""Run alone, and name, the few tests that failed in the last run beside others: what is broken fails again, what was crowded out passes.

As CPython's `regrtest --rerun` does. More than `MOST` are no accident of a busy machine, and stand.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST = 5
LAST = Path(".pytest_cache/v/cache/lastfailed")


def main() -> int:
    """The exit code: 0 when all of them pass now."""
    failed = sorted(json.loads(LAST.read_text("utf-8"))) if LAST.exists() else []
    if not 0 < len(failed) <= MOST:
        print(f"{len(failed)} tests failed; from 1 to {MOST} would be run again alone")
        return 1
    print("Again, alone:", *failed, sep="\n  ", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", *failed], check=False).returncode
    print(f"{len(failed)} failed beside others; alone " + ("all pass" if code == 0 else "they fail as well"))
    return code


if __name__ == "__main__":
    sys.exit(main())
