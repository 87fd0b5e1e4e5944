"""A look at one cluster is what a look would be if there were no other, and names nothing of the others but the ends of links."""

from quarterdeck.clock import VirtualClock
from quarterdeck.deploy import nouns, status
from quarterdeck.deploy.narrowed import look_at


def narrowed(scene, cluster):
    return look_at(scene.look(), cluster, VirtualClock(scene.now))


def told(look, now):
    """Everything that is shown of a look, as one text."""
    full = status.status(look, now, engine="memory", weakenings=())
    lists = (nouns.clusters(look, ""), nouns.agents(look), nouns.links(look), status.replicas(look.world.workloads))
    return repr((full, lists, [nouns.condition(c, now) for c in look.conditions.values()]))


def test_each_cluster_is_seen_alone(scene):
    clusters = [n.cluster for n in scene.desired.namespaces]
    assert len(clusters) > 1
    for cluster in clusters:
        look = narrowed(scene, cluster)
        assert [n.cluster for n in look.desired.namespaces] == [cluster]
        assert {w.cluster for w in look.desired.workloads} == {cluster}
        assert {r.cluster for w in look.world.workloads for r in w.replicas} == {cluster}
        others = [w.name for w in scene.desired.workloads if w.cluster != cluster]
        assert others
        assert [name for name in others if name in told(look, scene.now)] == []


def test_what_is_well_as_a_whole_is_well_in_each_part(scene):
    assert scene.look().plan.ready
    assert all(narrowed(scene, n.cluster).plan.ready for n in scene.desired.namespaces)


def test_trouble_elsewhere_is_not_seen_and_trouble_here_is(scene):
    first, second = (n.cluster for n in scene.desired.namespaces[:2])
    target = next(w.name for w in scene.desired.workloads if w.cluster == first)
    scene.condition("AgentAnswers", target, status="false", message="a secret of the first")
    assert "a secret of the first" in told(narrowed(scene, first), scene.now)
    assert "a secret of the first" not in told(narrowed(scene, second), scene.now)


def test_evidence_about_the_whole_system_and_links_is_not_shown_because_it_names_others(scene):
    cluster = scene.desired.namespaces[0].cluster
    link = scene.desired.links[0].name
    for kind, target in (("MetricsReadable", scene.desired.system), ("LinkCarries", link)):
        scene.condition(kind, target, message="elsewhere/agent-0 answered")
    look = narrowed(scene, cluster)
    assert ("MetricsReadable", scene.desired.system) in look.conditions
    assert "elsewhere" not in told(look, scene.now)
