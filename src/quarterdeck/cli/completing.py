"""Live names for shell completion; a control plane that is slow or absent gives none, and never an error."""

from __future__ import annotations

import os
from typing import Final

from quarterdeck.cli.client import Client
from quarterdeck.clock import SystemClock
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.home import Home

_PATIENCE: Final = 0.3


def target_names(incomplete: str) -> list[str]:
    """Agents and replicas that begin with what is typed."""
    client = Client(Home.from_environment(os.environ), SystemClock(), absence=0)
    try:
        items = [item for kind in ("agents", "replicas") for item in client.get(f"/v1/{kind}", timeout=_PATIENCE)["items"]]
    except QuarterdeckError:
        return []
    return sorted(str(item["name"]) for item in items if str(item["name"]).startswith(incomplete))
