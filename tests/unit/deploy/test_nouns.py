"""Lists of nouns in their stable shapes."""

from dataclasses import replace

import pytest

from quarterdeck.deploy import nouns
from quarterdeck.deploy.status import status
from quarterdeck.model.world import Used


def test_a_cluster_tells_quota_endpoints_links_bounds_health_capacity_and_share(scene):
    first, second = nouns.clusters(scene.look(), "http://127.0.0.1:7410")
    assert first["name"] == "a"
    assert first["namespace"] == "s.a"
    assert first["quota"]["limit"] == {"cpu": 1.0, "memory": 1024**3, "replicas": 4}
    assert first["quota"]["used"] == {"cpu": None, "memory": None, "replicas": 2}, "nobody counts what this engine runs"
    assert first["links"] == second["links"] == ["a->b"]
    assert first["autoscaling"] == [{"agent": "a/reader", "min": 1, "max": 6}]
    assert first["health"] == "healthy"
    assert first["capacity"] == {"ready": 2, "desired": 2, "max": 4}
    assert (first["share"], second["share"]) == (0.667, 0.333)
    assert all(url.startswith("http://127.0.0.1:7410/") for url in first["endpoints"])


def test_a_cluster_tells_what_it_uses_of_its_quota(scene):
    look = scene.look()
    counted = replace(look, world=replace(look.world, used=(Used("a", 0.25, 4096), Used("b"))))
    first, second = (c["quota"]["used"] for c in nouns.clusters(counted, ""))
    assert (first["cpu"], first["memory"], second["cpu"]) == (0.25, 4096, None)


@pytest.mark.parametrize(("fallen", "health"), [(1, "degraded"), (2, "down")])
def test_health_of_a_cluster_follows_its_replicas(scene, fallen, health):
    for n in range(fallen):
        scene.replica(f"a/reader-{n}", state="failed", reason="exit 1")
    assert nouns.clusters(scene.look(), "")[0]["health"] == health


def test_an_agent_tells_what_set_its_numbers(scene):
    reader = replace(scene.desired.workloads[0], because=('replicas 2 → 2 (human change 12, "load test")',))
    scene.desired = replace(scene.desired, workloads=(reader, *scene.desired.workloads[1:]))
    found = nouns.agents(scene.look())[0]
    assert found["replicas"] == {"ready": 2, "updated": 2, "desired": 2, "min": 1, "max": 6}
    assert found["because"] == ['replicas 2 → 2 (human change 12, "load test")']


def rolling(scene, *, halted=""):
    """The reader has a new template; its second replica is of it already, and the first one still of the one before."""
    reader = scene.desired.workloads[0]
    newer = replace(reader, template=replace(reader.template, digest="e" * 64))
    scene.desired = replace(scene.desired, workloads=(newer, *scene.desired.workloads[1:]))
    seen = replace(scene.world.workloads[0], template="e" * 64, halted=halted)
    scene.world = replace(scene.world, workloads=(seen, *scene.world.workloads[1:]))
    scene.replica("a/reader-1", revision="e" * 64)


@pytest.mark.parametrize(("halted", "why"), [("", ""), ("no such table", ": rollout stopped: no such table")])
def test_the_counts_tell_of_what_serves_now_whatever_its_revision(scene, halted, why):
    rolling(scene, halted=halted)
    look = scene.look()
    count = nouns.agents(look)[0]["replicas"]
    assert (count["ready"], count["updated"], count["desired"]) == (2, 1, 2)
    assert nouns.clusters(look, "")[0]["capacity"] == {"ready": 2, "desired": 2, "max": 4}
    assert nouns.explain(look, "a/reader")["sentence"] == f"2 of 2 answering{why}"
    told = status(look, scene.now, engine="memory", weakenings=())
    assert (told["agents"], told["capacity"]["ready"]) == ({"ready": 2, "desired": 3}, 3), "as it is wanted, and whatever works"
    assert not told["ready"]


@pytest.mark.parametrize("change", [{"state": "failed"}, {"state": "draining"}, {"slot": 7}])
def test_what_does_not_serve_is_not_counted(scene, change):
    rolling(scene)
    scene.replica("a/reader-0", **change)
    assert nouns.agents(scene.look())[0]["replicas"]["ready"] == 1


def test_a_link_shows_whether_it_is_open_and_its_newest_proof(scene):
    assert nouns.links(scene.look())[0]["evidence"] == "LinkCarries held"
    scene.world = replace(scene.world, links=())
    assert nouns.links(scene.look())[0]["open"] is False


@pytest.mark.parametrize("target", ["a", "a/reader", "a/reader-1"])
def test_explain_covers_cluster_agent_and_replica(scene, target):
    found = nouns.explain(scene.look(), target)
    assert found["target"] == target
    names = [r["name"] for r in found["state"]["replicas"]]
    assert names == (["a/reader-1"] if target == "a/reader-1" else ["a/reader-0", "a/reader-1"])
    assert {c["kind"] for c in found["conditions"]} >= {"LinkOpen"}


def test_explain_of_nothing_is_nothing(scene):
    assert nouns.explain(scene.look(), "a/nobody") is None
    assert nouns.explain(scene.look(), "a/reader-99") is None


def test_explain_of_a_replica_that_cannot_be_seen_is_of_its_agent(scene):
    scene.world = replace(scene.world, reachable=False, reason="no answer", workloads=())
    assert nouns.explain(scene.look(), "a/reader-1")["state"] == {"replicas": []}


def test_explain_never_shows_where_a_secret_lies(scene):
    found = nouns.explain(scene.look(), "a/reader")
    assert found["spec"]["secrets"] == ["KEY"]
    assert "/secret/file" not in str(found)
