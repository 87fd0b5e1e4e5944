"""A plan says what changes, field by field, and no value that may be a secret."""

from dataclasses import replace

import pytest

from quarterdeck.deploy import differs
from quarterdeck.deploy.plan import plan
from quarterdeck.model.desired import Breaker, Link, Quota, Template

OLD = Template("d" * 64, "c" * 64, "agents:a", env=(("WINDOW", "60s"), ("ZONE", "x")), secrets=(("KEY", "/s/1"),), memory=256 << 20)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"code": "e" * 64}, ["code cccccccc → eeeeeeee"]),
        ({"run": "agents:b"}, ["run agents:a → agents:b"]),
        ({"memory": None}, ["memory 256 MiB → unlimited"]),
        ({"hang_after": 2.5}, ["hang_after 10 s → 2.5 s"]),
        ({"env": (("WINDOW", "90s"), ("MODE", "hunter2"))}, ["env MODE added", "env WINDOW changed", "env ZONE removed"]),
        ({"secrets": (("KEY", "/s/2"),)}, ["secret KEY changed"]),
        ({"code": "e" * 64, "memory": 512 << 20}, ["code cccccccc → eeeeeeee", "memory 256 MiB → 512 MiB"]),
        ({}, ["settings dddddddd → ffffffff"]),
    ],
)
def test_a_template(changes, told):
    found = differs.template(OLD, replace(OLD, digest="f" * 64, **changes), OLD.digest)
    assert found == told
    assert "hunter2" not in str(found)


def test_a_template_that_is_not_kept_whole():
    assert differs.template(None, replace(OLD, digest="f" * 64), OLD.digest) == ["code or settings dddddddd → ffffffff"]


def test_a_link_and_a_quota():
    old = Link("a", "b")
    assert differs.link(old, Link("a", "b", timeout=9.0, breaker=Breaker(reset=5.0))) == "timeout 5 s → 9 s, breaker.reset 30 s → 5 s"
    assert differs.quota(Quota(1.0, None, 3), Quota(2.0, 1 << 30, 3)) == "quota.cpu 1 → 2, quota.memory unlimited → 1024 MiB"


def test_the_plan_says_so(scene):
    scene.desired = replace(
        scene.desired,
        links=(Link("a", "b", attempts=1),),
        namespaces=tuple(replace(n, quota=replace(n.quota, cpu=3.0)) for n in scene.desired.namespaces),
    )
    found = plan(scene.desired, scene.world, scene.conditions, scene.now)
    told = {(step.target, step.reason) for step in found.steps if step.action == "change"}
    assert {("a", "quota.cpu 1 → 3"), ("b", "quota.cpu 1 → 3")} <= told
    scene.world = replace(scene.world, namespaces=scene.desired.namespaces)
    found = plan(scene.desired, scene.world, scene.conditions, scene.now)
    assert ("a->b", "attempts 3 → 1") in {(step.target, step.reason) for step in found.steps}
