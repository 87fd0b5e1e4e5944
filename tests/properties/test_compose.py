"""What live Changes may do to a spec, each rule as a sentence."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quarterdeck.model.desired import Desired, Rollout, Template
from quarterdeck.model.records import RANK, Change, Patch
from quarterdeck.spec.compose import compose
from quarterdeck.spec.diff import diff
from quarterdeck.spec.system import SystemSpec

NOW = 1_700_000_000.0
CLUSTERS = ("one", "two")
AGENTS = ("a", "b", "c")
SETTINGS = settings(deadline=None, max_examples=80)


@st.composite
def specs(draw) -> SystemSpec:
    clusters = {}
    for name in CLUSTERS[: draw(st.integers(1, 2))]:
        agents = {}
        for agent in AGENTS[: draw(st.integers(1, 3))]:
            least = draw(st.integers(0, 4))
            bounds = draw(st.sampled_from([least, {"min": least, "max": least + draw(st.integers(0, 4))}]))
            rollout = {"surge": draw(st.integers(0, 3)), "max_unavailable": draw(st.integers(0, 2))}
            agents[agent] = {"run": f"agents:{agent}", "replicas": bounds, "rollout": rollout}
        least = sum(a["replicas"] if isinstance(a["replicas"], int) else a["replicas"]["min"] for a in agents.values())
        clusters[name] = {"agents": agents, "quota": {"replicas": least + draw(st.integers(0, 8))}}
    return SystemSpec.model_validate(
        {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "System", "metadata": {"name": "s"}, "spec": {"clusters": clusters}}
    )


patches = st.one_of(
    st.builds(lambda n: Patch("replicas", n), st.integers(-1, 12) | st.sampled_from(["3", None, True, 2.5])),
    st.builds(lambda at: Patch("restart_before", at), st.floats(NOW - 1000, NOW + 1000) | st.just(float("nan"))),
    st.builds(lambda on: Patch("quarantined", on), st.booleans()),
    st.builds(lambda on: Patch("hold", on), st.booleans()),
    st.builds(lambda on: Patch("stopped", on), st.sampled_from([False, None, 1])),  # none of which is a stop
)
targets = st.one_of(
    st.just("one/a"),
    st.builds(lambda c, a: f"{c}/{a}", st.sampled_from(CLUSTERS), st.sampled_from(AGENTS)),
    st.builds(lambda c, a, n: f"{c}/{a}-{n}", st.sampled_from(CLUSTERS), st.sampled_from(AGENTS), st.integers(0, 5)),
    st.sampled_from([*CLUSTERS, "s", "elsewhere", "one/nobody", "", "/", "-"]),
)


@st.composite
def change_lists(draw, authors=tuple(RANK), most=8) -> list[Change]:
    ids = draw(st.lists(st.integers(1, 99), unique=True, max_size=most))
    return [
        Change(
            id=number,
            system=draw(st.sampled_from(["s", "s", "s", "other"])),
            author=draw(st.sampled_from(authors)),
            actor="uid:0",
            target=draw(targets),
            patch=draw(patches),
            reason=draw(st.sampled_from(["", "load test"])),
            at=NOW - draw(st.integers(0, 3)),
            until=draw(st.sampled_from([None, None, NOW - 5, NOW, NOW + 5, 1e300])),
            state=draw(st.sampled_from(["live", "live", "live", "reverted", "expired"])),
        )
        for number in ids
    ]


def composed(spec: SystemSpec, changes: list[Change], now: float = NOW) -> Desired:
    names = [f"{cluster}/{agent}" for cluster, agent, _ in spec.agents()]
    templates = {name: Template(f"d-{name}", "code", "agents:x") for name in names}
    return compose(
        spec, revision=1, generation=2, index=3, templates=templates, revisions=dict.fromkeys(names, 1), changes=changes, now=now
    )


def fleet(replicas: object = 4, quota: int = 12) -> SystemSpec:
    agents = {"analyst": {"run": "agents:analyst", "replicas": replicas}, "other": {"run": "agents:other"}}
    clusters = {"analysts": {"quota": {"replicas": quota}, "agents": agents}}
    return SystemSpec.model_validate(
        {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "System", "metadata": {"name": "s"}, "spec": {"clusters": clusters}}
    )


def change(field, value, *, target="analysts/analyst", number=12, **fields) -> Change:
    base = Change(number, "s", "human", "uid:0", target, Patch(field, value), "load test", NOW, NOW + 3600)
    return replace(base, **fields)


@SETTINGS
@given(specs())
def test_without_changes_the_desired_state_is_the_spec(spec):
    desired = composed(spec, [])
    for (cluster, agent, body), workload in zip(spec.agents(), desired.workloads, strict=True):
        assert workload.name == f"{cluster}/{agent}"
        assert (workload.replicas, workload.bounds) == (body.replicas.min, (body.replicas.min, body.replicas.max))
        assert (workload.restart_before, workload.quarantined) == (0.0, frozenset())
        if not workload.because:
            assert workload.rollout == Rollout(
                body.rollout.surge, max(body.rollout.max_unavailable, 0 if body.rollout.surge else 1), 30.0, 10.0
            )


@SETTINGS
@given(specs(), change_lists(), st.randoms(use_true_random=False))
def test_the_order_in_which_changes_are_given_does_not_matter(spec, changes, random):
    shuffled = changes[:]
    random.shuffle(shuffled)
    assert composed(spec, shuffled) == composed(spec, changes)


@SETTINGS
@given(specs(), change_lists())
def test_a_change_given_twice_has_the_effect_of_one_and_composing_again_gives_the_same(spec, changes):
    desired = composed(spec, changes)
    assert composed(spec, changes + changes) == desired
    assert diff(desired, composed(spec, changes)) == ()


@SETTINGS
@given(specs(), change_lists())
def test_replicas_and_their_surge_always_fit_the_quota(spec, changes):
    used: Counter[str] = Counter()
    for workload in composed(spec, changes).workloads:
        assert workload.replicas >= 0
        used[workload.cluster] += workload.replicas + (workload.rollout.surge if workload.replicas else 0)
    for name, cluster in spec.spec.clusters.items():
        assert used[name] <= cluster.quota.replicas


@SETTINGS
@given(specs(), change_lists(authors=("drill", "heal", "tune", "scale")))
def test_automation_never_leaves_the_bounds_of_the_spec(spec, changes):
    for workload in composed(spec, changes).workloads:
        assert workload.bounds[0] <= workload.replicas <= workload.bounds[1]


@SETTINGS
@given(specs(), change_lists(), st.sampled_from(["s:", *CLUSTERS, "one/a"]))
def test_what_is_stopped_has_no_replicas_whatever_bounds_and_other_changes_say_and_nothing_else_is_stopped(spec, changes, target):
    stop = Change(500, "s", "human", "uid:0", target, Patch("stopped", value=True), "it must end", NOW, None)
    before, after = composed(spec, changes), composed(spec, [*changes, stop])
    for old, new in zip(before.workloads, after.workloads, strict=True):
        if target in ("s:", new.cluster, new.name):
            assert (new.replicas, new.quarantined, new.stopped) == (0, frozenset(), True)
            assert any("change 500" in text and "stopped: nothing of it may run" in text for text in new.because)
        else:
            assert new.replicas >= old.replicas, "what is stopped leaves room to others"
            assert not new.stopped


@SETTINGS
@given(specs(), change_lists())
def test_nobody_leaves_bounds_that_the_spec_writes(spec, changes):
    for workload in composed(spec, changes).workloads:
        if workload.bounds[0] < workload.bounds[1]:
            assert workload.bounds[0] <= workload.replicas <= workload.bounds[1]


@SETTINGS
@given(specs(), change_lists())
@example(fleet(), [change("replicas", 5, until=NOW)])
def test_expired_and_reverted_changes_and_those_of_other_systems_have_no_effect(spec, changes):
    live = [c for c in changes if c.state == "live" and c.system == "s" and (c.until is None or c.until > NOW)]
    assert composed(spec, changes) == composed(spec, live)


@SETTINGS
@given(specs(), change_lists())
def test_a_hold_by_a_person_keeps_all_automation_off(spec, changes):
    hold = Change(100, "s", "human", "uid:0", "s", Patch("hold", value=True), "incident", NOW, None)
    others = [change for change in changes if change.patch.field != "hold"]
    humans = [change for change in others if change.author == "human"]
    assert composed(spec, [*others, hold]) == composed(spec, [*humans, hold])


@SETTINGS
@given(specs(), change_lists())
def test_some_replica_can_always_be_replaced(spec, changes):
    for workload in composed(spec, changes).workloads:
        assert workload.rollout.surge + workload.rollout.max_unavailable > 0


@SETTINGS
@given(specs(), change_lists())
def test_no_restart_is_asked_for_later_than_its_change(spec, changes):
    latest = max((change.at for change in changes), default=0.0)
    assert all(workload.restart_before <= latest for workload in composed(spec, changes).workloads)


@SETTINGS
@given(specs(), change_lists())
def test_every_number_that_is_not_the_specs_says_why(spec, changes):
    for workload in composed(spec, changes).workloads:
        said = [reason for reason in workload.because if reason.startswith(f"replicas {workload.bounds[0]} → {workload.replicas} ")]
        assert workload.replicas == workload.bounds[0] or len(said) == 1
        assert all(any(f"-{n} quarantined" in reason for reason in workload.because) for n in workload.quarantined)


@SETTINGS
@given(specs(), st.permutations(list(RANK)), st.lists(st.integers(0, 8), min_size=5, max_size=5))
def test_of_changes_with_distinct_ranks_the_highest_decides_whatever_its_age(spec, authors, values):
    changes = [
        Change(n, "s", author, "x", "one/a", Patch("replicas", value), "", NOW - n, None)
        for n, (author, value) in enumerate(zip(authors, values, strict=True))
    ]
    (human,) = [change for change in changes if change.author == "human"]
    assert composed(spec, changes).workloads[0].replicas == composed(spec, [human]).workloads[0].replicas


@pytest.mark.parametrize(
    ("spec", "one", "replicas", "because"),
    [
        (fleet(), change("replicas", 5), 5, 'replicas 4 → 5 (human change 12, "load test", until 23:13 UTC)'),
        (fleet(), change("replicas", 5, until=NOW + 86400), 5, 'replicas 4 → 5 (human change 12, "load test", until 2023-11-15 22:13 UTC)'),
        (fleet(), change("replicas", 0, until=None, reason=""), 0, "replicas 4 → 0 (human change 12)"),
        (
            fleet(),
            change("replicas", 50, until=None),
            11,
            'replicas 4 → 11 (human change 12, "load test"; asked for 50, the quota of analysts leaves 11)',
        ),
        (
            fleet({"min": 3, "max": 6}),
            change("replicas", 9, until=None),
            6,
            'replicas 3 → 6 (human change 12, "load test"; asked for 9, the spec allows 3 to 6)',
        ),
        (
            fleet(),
            change("replicas", 5, author="scale", until=None),
            4,
            'replicas 4 → 4 (scale change 12, "load test"; asked for 5, the spec says 4)',
        ),
    ],
)
def test_a_scaled_agent_says_by_whom_why_and_until_when(spec, one, replicas, because):
    workload = composed(spec, [one]).workload("analysts/analyst")
    assert workload.replicas == replicas
    assert workload.because[0] == because


def test_the_newest_of_one_rank_decides_and_automation_waits_behind_people():
    changes = [
        change("replicas", 5, number=1, at=NOW - 2),
        change("replicas", 6, number=2, at=NOW - 1),
        change("replicas", 7, author="heal", number=3),
    ]
    assert composed(fleet(), changes).workload("analysts/analyst").replicas == 6
    assert composed(fleet({"min": 1, "max": 9}), changes[2:]).workload("analysts/analyst").replicas == 7


def test_a_short_quota_serves_the_older_change_first():
    changes = [change("replicas", 9, number=1, at=NOW - 2), change("replicas", 9, number=2, at=NOW - 1, target="analysts/other")]
    desired = composed(fleet(), changes)
    assert [workload.replicas for workload in desired.workloads] == [9, 3]


def test_quarantine_restart_and_hold_reach_their_workload():
    changes = [
        change("quarantined", value=True, target="analysts/analyst-1", number=1),
        change("quarantined", value=True, target="analysts/analyst-9", number=2),
        change("restart_before", NOW - 7, target="analysts", number=3),
        change("restart_before", NOW - 3, number=4, author="heal"),
        change("hold", value=True, target="analysts/other", number=5),
    ]
    analyst, other = composed(fleet(), changes).workloads
    assert analyst.quarantined == frozenset({1})
    assert (analyst.restart_before, other.restart_before) == (NOW - 3, NOW - 7)
    assert other.because[-1].startswith("held: no automation (human change 5,")


def test_a_full_quota_replaces_in_place_and_says_so():
    analyst = composed(fleet(quota=5), []).workload("analysts/analyst")
    assert (analyst.rollout.surge, analyst.rollout.max_unavailable) == (0, 1)
    assert analyst.because == ("rollout surge 1 → 0 (the quota of analysts leaves no more)",)


@pytest.mark.parametrize("fields", [{"until": NOW}, {"until": NOW - 1}, {"state": "reverted"}, {"state": "expired"}, {"system": "other"}])
@pytest.mark.parametrize("field", ["replicas", "restart_before", "hold"])
def test_a_change_that_is_over_or_of_another_system_leaves_no_mark(field, fields):
    value = {"replicas": 7, "restart_before": NOW - 5, "hold": True}[field]
    assert composed(fleet(), [change(field, value, **fields)]) == composed(fleet(), [])
    assert composed(fleet(), [change(field, value)]) != composed(fleet(), [])


def test_a_restart_asked_for_in_the_future_is_one_restart_now():
    assert composed(fleet(), [change("restart_before", NOW + 500)]).workloads[0].restart_before == NOW
