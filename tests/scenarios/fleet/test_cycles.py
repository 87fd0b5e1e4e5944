"""Up and down again and again on one home: nothing stays, and nothing grows but the records of what happened."""

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

CYCLES = int(os.environ.get("QUARTERDECK_CYCLES", "4"))
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: solo}
spec: {clusters: {core: {agents: {worker: {run: "worker:agent"}}}}}
"""
RECORDS = ("quarterdeck.db", "journal.head", "logs")
"""Where journal and logs are kept: these may grow."""
PROBES = "QD_PROBE"
"""The stream of the bus's probe, 54 bytes each: nats-server compacts its file from 2 MiB on."""
WIDTH = 2048
"""Bytes by which the rest may change: a slot's spare credentials are used up and made again, numbers gain digits."""


def listening():
    """The TCP ports of this machine at which somebody listens."""
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def doors(fleet):
    """The ports of a fleet that runs: its URL and its bus."""
    return {urlsplit(fleet.status()["url"]).port, int((fleet.home.bus / "port").read_text())}


def counted(fleet):
    """How many entries a home that is down has, by place."""
    mark = fleet.home.mark
    return {
        "home": len(list(fleet.home.root.rglob("*"))),
        "sockets": len(list(fleet.home.run.glob("*"))),
        "shared memory": len(list(Path("/dev/shm").glob(f"*{mark}*"))),
        "control groups": len(fleet.groups()),
    }


def weighed(fleet):
    """Bytes kept beyond the records, and those of the records."""
    sizes = {path.relative_to(fleet.home.root).parts: path.stat().st_size for path in fleet.home.root.rglob("*") if path.is_file()}
    records = sum(size for parts, size in sizes.items() if parts[0].startswith(RECORDS) or PROBES in parts)
    return sum(sizes.values()) - records, records


@pytest.mark.timeout(60 + 20 * CYCLES)
def test_up_and_down_again_and_again_leaks_nothing(fleet):
    fleet.write(quarterdeck=SPEC)
    counts, weights, ports, began = [], [], set(), time.monotonic()
    for _ in range(CYCLES):
        fleet.up()
        ports |= doors(fleet)
        assert ports <= listening()
        ran = fleet.qd("down", "--yes")
        assert (ran.code, fleet.left()) == (0, []), f"{ran}\n{fleet.logs()}"
        assert "not ended by itself" not in ran.err, f"{ran}\n{fleet.logs()}"
        assert not ports & listening()
        counts.append(counted(fleet))
        weights.append(weighed(fleet))
    each = (time.monotonic() - began) / CYCLES
    kept, records = zip(*weights, strict=True)
    assert len(ports) == 2, "the URL and the bus keep their ports"
    assert counts == counts[:1] * CYCLES
    assert max(kept) - kept[0] <= WIDTH, kept
    print(f"\n{CYCLES} cycles of {each:.1f} s: {counts[0]}; {kept[0]} → {kept[-1]} bytes, records {records[0]} → {records[-1]} bytes")
