"""A machine loses its power while its fleet works: each time it is back, systemd starts all of it, and every task is done once."""

import json
import random
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests import machines
from tests.scenarios.fleet.prove import BANK, SPEC, Attack
from tests.scenarios.fleet.sink import Sink

from quarterdeck.model.home import Home

QD = Path(sys.executable).with_name("qd")
LOSSES = 3
SEED = 5


@pytest.fixture
def server(tmp_path):
    with machines.machine("server", tmp_path) as machine:
        yield machine


@pytest.fixture
def sink(server):
    """The bank is another machine, which keeps its power."""
    with server.network():
        bank = Sink()
    yield bank
    bank.shutdown()
    bank.server_close()


@pytest.mark.timeout(240)
def test_no_order_is_lost_or_carried_out_twice_when_the_power_fails(server, sink, tmp_path):
    home, project = Home(tmp_path / "home"), tmp_path / "project"
    qd = (QD, "--home", home.root)
    project.mkdir()
    (project / "quarterdeck.yaml").write_text(SPEC.format(port=sink.server_address[1]))
    (project / "bank.py").write_text(BANK)
    server.run(*qd, "service", "install", "--system-wide")
    server.run("env", "-C", project, *qd, "up")
    head = tmp_path / "head.json"
    head.write_text(server.run(*qd, "journal", "head", "-o", "json"))
    chance, attack = random.Random(SEED), Attack(SimpleNamespace(home=home), sink, SEED)  # noqa: S311 a repeatable run
    people = [threading.Thread(target=attack.customers, args=(16, SEED), daemon=True), threading.Thread(target=attack.humans, daemon=True)]
    for person in people:
        person.start()
    lost = []
    while len(lost) < LOSSES:
        time.sleep(1.5 + chance.random())
        lost.append(len(attack.acked))
        server.power_off()
        server.boot()
        server.run(*qd, "wait", "--for", "ready", "--timeout", "60s")
    problems = attack.end(people)
    print(json.dumps({"orders at each loss": lost, **attack.told()}))
    assert problems == []
    assert lost[0] > 0
    assert sorted(set(lost)) == lost, "there were new orders between two losses"
    assert "✔ verified" in server.run(*qd, "journal", "verify", "--head", head)
