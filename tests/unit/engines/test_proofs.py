"""Probes of the local engine: whom they ask."""

import asyncio

from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local.proofs import Bench, prove
from quarterdeck.model.desired import Desired, Template, Workload
from quarterdeck.model.steps import Probe


class FakeNode:
    """Every replica reaches whom it is told to."""

    async def request(self, verb, *, probe, **_):
        return {"from": f"{probe['cluster']}/{probe['agent']}-0", "ms": 1.0}


def workload(cluster, agent, replicas=1, **more):
    return Workload(cluster, agent, Template("1" * 64, "tree", "agents:run"), 1, replicas, (0, 2), **more)


def test_a_link_is_proven_by_an_agent_that_serves():
    workloads = (
        workload("one", "a"),
        workload("two", "halted", 0, stopped=True),
        workload("two", "kept", quarantined=frozenset({0})),
        workload("two", "b"),
    )
    desired = Desired("s", 1, 1, 1, None, (), workloads, ())
    seen = {"rows": [{"system": "s", "name": "one/a", "replicas": [{"name": "one/a-0", "state": "ready"}]}]}
    bench = Bench(desired, None, FakeNode(), seen, VirtualClock())
    found = asyncio.run(prove(bench, Probe("LinkCarries", "one->two", "integration_validation")))
    assert found == "one/a-0 → two/b-0 in 1.0 ms"
