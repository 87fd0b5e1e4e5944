"""None lost, none twice, each effect as often as it may, while every kind of process is killed. `make prove` does it a thousand times."""

import json
import os

import pytest
from tests.scenarios.fleet.prove import BANK, SPEC, Attack
from tests.scenarios.fleet.sink import Sink

KILLS = int(os.environ.get("QUARTERDECK_PROVE_KILLS", "60"))
MANY = 500
BACKLOG = 80 if KILLS >= MANY else 16
SEED = int(os.environ.get("QUARTERDECK_PROVE_SEED", "1"))


@pytest.mark.timeout(120 + 3 * KILLS)
def test_work_survives_what_kills_everything_else(fleet):
    sink = Sink()
    fleet.write(quarterdeck=SPEC.format(port=sink.server_address[1]), bank=BANK)
    fleet.up()
    attack = Attack(fleet, sink, SEED)
    try:
        problems = attack.run(KILLS, backlog=BACKLOG, within=60 + 1.5 * KILLS)
        told = attack.told()
    finally:
        sink.shutdown()
        sink.server_close()
    print(json.dumps(told))
    assert problems == [], json.dumps(told)
    assert sum(told["kills"].values()) >= KILLS
    assert {"replica", "bus", "control", "node"} <= set(told["kills"])
    assert told["taken_from_zombies"] > 0
    if KILLS >= MANY:  # a zombie may also hear from its heartbeat that its task is gone, and say nothing that could be refused
        assert told["fence_rejections"] > 0
        assert told["claims_again"] >= 10 * KILLS
    assert told["duplicate_submits"] > 0
    assert told["conflicts"] > 0
