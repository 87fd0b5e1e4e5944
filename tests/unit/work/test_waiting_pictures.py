"""Any picture of who waits for whom: all that are dead are found, and nobody else."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.work.graphs import running, waits

from quarterdeck.work.waiting import Activity, Places, Wait, deadlocks

NAMES = [f"n{n}" for n in range(8)]
AGENTS = ["c/a", "c/b"]
pictures = st.tuples(
    st.lists(st.builds(Activity, st.sampled_from(NAMES), st.sampled_from([*AGENTS, "c/a-0", "c/b-0"]), st.just("task"),
                       st.integers(0, 3).map(float), st.integers(0, 2)), unique_by=lambda a: a.id),
    st.lists(st.builds(Wait, st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
                       st.sampled_from(["ask", "delegate", "barrier"]), st.just(0.0)), max_size=12),
    st.lists(st.builds(Places, st.sampled_from(AGENTS), st.lists(st.sampled_from(NAMES), max_size=3).map(tuple),
                       st.sampled_from([0, 0, 0, 1])), max_size=3),
)  # fmt: skip


def alive(activities, graph, places):
    """Who is live, from the definition and in no hurry."""
    known, live = {a.id for a in activities}, set()

    def can_go_on(activity):
        mine = [w for w in graph if w.waiter == activity.id]
        here = [p for p in places if p.at == activity.at]
        queued = bool(here) and all(activity.id not in p.holders for p in here)
        holders = {holder for p in here for holder in p.holders}
        if any(not w.on or any(on not in known or on in live for on in w.on) for w in mine):
            return True
        if queued:
            return any(p.free for p in here) or not holders or any(holder not in known or holder in live for holder in holders)
        return not mine

    while True:
        more = {a.id for a in activities if a.id not in live and can_go_on(a)}
        if not more:
            return live
        live |= more


@given(pictures)
def test_no_live_activity_is_ever_a_member_and_every_dead_one_leads_to_a_deadlock(picture):
    dead = {a.id for a in picture[0]} - alive(*picture)
    found = deadlocks(*picture)
    assert {member for deadlock in found for member in deadlock.members} <= dead
    assert bool(found) == bool(dead)


@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=2), min_size=1, max_size=12))
def test_a_deadlock_is_all_that_one_can_get_to_from_each_of_its_members(needed):
    """Everybody waits, so all are dead; reachability, computed in no hurry, says which of them are in a deadlock."""
    names = [f"n{n:02}" for n in range(len(needed))]
    graph = {name: {names[n % len(names)] for n in needs} for name, needs in zip(names, needed, strict=True)}
    reach = {name: set(needs) for name, needs in graph.items()}
    for _ in names:
        reach = {name: there.union(*(reach[other] for other in there)) for name, there in reach.items()}
    expected = {tuple(sorted(there)) for there in reach.values() if all(reach[other] == there for other in there)}
    found = deadlocks([running(name) for name in names], [waits(name, *sorted(needs)) for name, needs in graph.items()], [])
    assert [deadlock.members for deadlock in found] == sorted(expected)


@given(pictures, st.randoms())
def test_the_same_picture_in_another_order_gives_the_same_answer(picture, chance):
    activities, graph, places = (list(part) for part in picture)
    before = deadlocks(activities, graph, places)
    for part in (activities, graph, places):
        chance.shuffle(part)
    assert deadlocks(activities, graph, places) == before


@given(pictures)
def test_a_cycle_goes_round_through_members_and_begins_at_the_victim(picture):
    for found in deadlocks(*picture):
        assert found.cycle[0].waiter == found.victim
        assert [edge.on for edge in found.cycle] == [*(edge.waiter for edge in found.cycle[1:]), found.victim]
        assert {edge.waiter for edge in found.cycle} <= set(found.members)
        assert len({edge.waiter for edge in found.cycle}) == len(found.cycle)
        real = {(w.waiter, w.kind, on) for w in picture[1] for on in w.on}
        assert all((e.waiter, e.kind, e.on) in real for e in found.cycle if e.kind != "place")
        assert found.told


def broken(picture, deadlock):
    """The picture after the victim's wait failed; one that had not even begun is turned away instead."""
    activities, graph, places = picture
    if deadlock.cycle[0].kind == "place":
        return [a for a in activities if a.id != deadlock.victim], graph, places
    return activities, [w for w in graph if w.waiter != deadlock.victim], places


@given(pictures)
def test_breaking_a_victims_wait_frees_every_member_and_breaking_all_leaves_no_deadlock(picture):
    for _ in range(len(NAMES) + 1):
        found = deadlocks(*picture)
        if not found:
            return
        picture = broken(picture, found[0])
        victim = found[0].victim
        here = {p.at for p in picture[2] if victim not in p.holders}
        if not any(a.id == victim and a.at in here for a in picture[0]):  # a victim that is queued as well needs a place, too
            assert set(found[0].members) - {victim} <= alive(*picture)
    raise AssertionError("more victims than activities")


@given(st.data())
def test_a_graph_in_which_every_chain_ends_at_a_live_activity_has_no_deadlock(data):
    """Each waits for at least one that comes before it in some order, and for whatever else: cycles may be in there, nobody is dead."""
    count = data.draw(st.integers(1, 30))
    names = data.draw(st.permutations([f"n{n}" for n in range(count)]))
    graph = []
    for n, name in enumerate(names[1:], start=1):
        others = data.draw(st.lists(st.sampled_from(names), max_size=3))
        graph.append(waits(name, *others, names[data.draw(st.integers(0, n - 1))]))
    assert not deadlocks([running(name) for name in names], graph, [])
