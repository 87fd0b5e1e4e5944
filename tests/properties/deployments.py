"""Generated systems, and a loop without a store that deploys them in memory."""

import itertools
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st

from quarterdeck.clock import VirtualClock
from quarterdeck.deploy.plan import plan
from quarterdeck.engines.memory import MemoryEngine
from quarterdeck.errors import NotFound
from quarterdeck.model.desired import Desired, Link, Namespace, Quota, Rollout, Template, Workload
from quarterdeck.model.records import Condition
from quarterdeck.model.steps import (
    EnsureNamespace,
    Probe,
)
from quarterdeck.model.world import World

EARLY = 1_600_000_000.0
ENOUGH_ROUNDS = 30
CLUSTERS = ("alpha", "beta", "gamma")
THOROUGH = settings(max_examples=25, deadline=None)


@dataclass
class Fleet:
    """A loop without a store: looks, plans, performs, remembers proofs. `refuse` names the targets whose room cannot be made."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    conditions: dict = field(default_factory=dict)
    refuse: frozenset = frozenset()
    engine: MemoryEngine = field(init=False)

    def __post_init__(self):
        self.engine = MemoryEngine(self.clock)

    async def world(self) -> World:
        return await self.engine.observe("s")

    async def plan(self, desired):
        return plan(desired, await self.world(), self.conditions, self.clock.now())

    async def do(self, desired, step) -> None:
        if isinstance(step, EnsureNamespace) and step.target in self.refuse:
            return
        if not isinstance(step, Probe):
            await self.engine.perform("s", step)
            return
        try:
            evidence, status = await self.engine.probe(desired, step), "true"
        except NotFound as error:
            evidence, status = error.message, "false"
        now = self.clock.now()
        found = Condition(step.kind, step.target, status, "Tried", evidence, now, now, evidence, desired.generation, step.phase)
        self.conditions[step.kind, step.target] = found

    async def converge(self, desired, *, at_most: int | None = None) -> int:
        """Perform plans until one is empty, or until `at_most` steps are done; returns how many were."""
        done = 0
        for _ in range(ENOUGH_ROUNDS):
            todo = await self.plan(desired)
            if not todo.steps:
                return done
            for step in todo.steps:
                if done == at_most:
                    return done
                await self.do(desired, step)
                done += 1
            self.clock.advance(0.1)
        return done


@st.composite
def workloads(draw, cluster: str, agent: str) -> Workload:
    count = draw(st.integers(0, 3))
    digest = draw(st.sampled_from(["1" * 64, "2" * 64]))
    return Workload(
        cluster=cluster,
        agent=agent,
        template=Template(digest, "tree", "agents:run"),
        revision=1,
        replicas=count,
        bounds=(0, 5),
        restart_before=draw(st.sampled_from([0.0, EARLY])),
        quarantined=frozenset(draw(st.sets(st.sampled_from(range(count))))) if count else frozenset(),
        rollout=draw(st.sampled_from([Rollout(), Rollout(surge=2)])),
    )


@st.composite
def systems(draw, *, least: int = 1, generation: int = 1) -> Desired:
    names = draw(st.lists(st.sampled_from(CLUSTERS), min_size=least, max_size=3, unique=True))
    agents = [(c, a) for c in names for a in draw(st.lists(st.sampled_from(["one", "two"]), min_size=1, max_size=2, unique=True))]
    pairs = list(itertools.permutations(names, 2))
    links = draw(st.lists(st.sampled_from(pairs), max_size=3, unique=True)) if pairs else []
    return Desired(
        system="s",
        revision=generation,
        generation=generation,
        index=generation,
        entry=None,
        namespaces=tuple(Namespace(c, Quota(None, None, draw(st.sampled_from([8, 9])))) for c in names),
        workloads=tuple(draw(workloads(c, a)) for c, a in agents),
        links=tuple(Link(a, b, timeout=draw(st.sampled_from([1.0, 5.0]))) for a, b in links),
    )
