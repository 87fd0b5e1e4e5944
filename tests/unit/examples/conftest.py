import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "triage"
sys.path[:0] = [path for path in (str(EXAMPLE), str(EXAMPLE.parents[1] / "tools")) if path not in sys.path]
