"""For the whole suite: Hypothesis, the order of folders, and Ctrl-C.

Hypothesis has no deadline (machines are shared). In CI it gives the same examples each run, so that a red run repeats; to planted bugs too,
where it is enough that a test fails: nobody reads the smallest case. A suite started in the background of a script inherits SIGINT as
ignored, and so would every command in which a test presses Ctrl-C.
"""

import os
import signal
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings

settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("usual"), derandomize=True)
settings.register_profile("planted", settings.get_profile("ci"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("ci" if os.environ.get("CI") else "usual")

signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
FIRST = [HERE / name for name in ("scenarios", "docs", "planted", "simulation", "web")]
"""Their files take a minute or more each: begun last, one of them would go on alone when everything else is done."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((n for n, folder in enumerate(FIRST) if folder in item.path.parents), len(FIRST)))
