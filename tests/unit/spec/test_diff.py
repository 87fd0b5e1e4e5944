from __future__ import annotations

from dataclasses import replace

from quarterdeck.model.desired import Desired, Link, Namespace, Quota, Rollout, Template, Workload
from quarterdeck.spec.diff import Difference, diff

TEMPLATE = Template("d1", "3f9c00000000aa", "agents:analyst", env=(("A", "1"),), secrets=(("KEY", "/s/1"),), memory=2**28)
WORKLOAD = Workload("analysts", "analyst", TEMPLATE, 1, 3, (3, 3))
BASE = Desired(
    "triage", 1, 1, 1, "analysts/analyst", (Namespace("analysts", Quota(1.0, 2**30, 12)),), (WORKLOAD,), (Link("collectors", "analysts"),)
)


def changed(**fields):
    return diff(BASE, replace(BASE, workloads=(replace(WORKLOAD, **fields),)))


def text(**fields):
    (only,) = changed(**fields)
    assert (only.action, only.phase, only.target) == ("change", "agent_cluster_deployment", "analysts/analyst")
    return only.text


def test_nothing_differs_between_equal_states():
    assert diff(BASE, replace(BASE, revision=2, generation=5, index=9)) == ()


def test_everything_is_added_before_the_first_apply_in_the_order_of_the_phases():
    assert diff(None, BASE) == (
        Difference("add", "infrastructure_provisioning", "analysts", "quota cpu 1, quota memory 1Gi, quota replicas 12"),
        Difference("add", "service_mesh_configuration", "collectors->analysts", "timeout 5s, attempts 3"),
        Difference("add", "agent_cluster_deployment", "analysts/analyst", "3 replicas, run agents:analyst"),
    )


def test_everything_is_removed_in_the_end():
    empty = replace(BASE, namespaces=(), workloads=(), links=(), entry=None)
    assert [(one.action, one.target) for one in diff(BASE, empty)] == [
        ("remove", "analysts"),
        ("change", "triage"),
        ("remove", "collectors->analysts"),
        ("remove", "analysts/analyst"),
    ]


def test_a_changed_number_carries_the_reason_of_its_change():
    reason = 'replicas 3 → 5 (human change 12, "load test", until 18:00 UTC)'
    (found,) = changed(replicas=5, because=(reason,))
    assert found.text == reason
    assert found.because == (reason,)


def test_a_new_template_names_what_changed_and_no_values():
    new = replace(TEMPLATE, digest="d2", code="b" * 14, env=(("A", "hidden"), ("B", "2")), secrets=(("KEY", "/s/2"),), memory=None)
    said = text(template=new)
    assert said == "code 3f9c00000000 → bbbbbbbbbbbb, env A changed, env B changed, secret KEY changed, memory 256Mi → unlimited"
    assert "hidden" not in said


def test_each_part_of_a_workload_is_told():
    assert text(replicas=2) == "replicas 3 → 2"
    assert text(bounds=(3, 6)) == "bounds 3..3 → 3..6"
    assert text(rollout=Rollout(surge=2, drain=0.5)) == "rollout surge 1 → 2, rollout drain 10s → 500ms"
    assert text(quarantined=frozenset({1})) == "quarantine analyst-1"
    assert text(restart_before=5.0, because=('restart (human change 2, "x")',)) == 'restart of all replicas (human change 2, "x")'
    assert text(template=replace(TEMPLATE, digest="d2")) == "a secret's value changed"
