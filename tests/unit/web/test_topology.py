"""The picture of a fleet: every cluster has its place, senders stand left of receivers, and no size breaks it."""

import re
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.web.topology import MARKS, columns, picture, stacked

NAMES = [f"c{n}" for n in range(7)]
pairs = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] != pair[1]), max_size=14)
sizes = st.lists(st.lists(st.integers(0, 90), min_size=1, max_size=3), min_size=len(NAMES), max_size=len(NAMES))


def replica(cluster, agent, n, state="ready"):
    name = f"{cluster}/{agent}-{n}"
    return {"cluster": cluster, "agent": agent, "name": name, "state": state, "reason": "", "pid": 10 + n, "restarts": 0}


def drawn(counts, links, state=lambda _: "ready"):
    """A picture of clusters with agents of so many replicas each."""
    agents = [{"cluster": c, "agent": f"a{k}"} for c, many in counts.items() for k, _ in enumerate(many)]
    replicas = [replica(c, f"a{k}", n, state(n)) for c, many in counts.items() for k, count in enumerate(many) for n in range(count)]
    return picture([{"name": c} for c in counts], agents, [{"from": a, "to": b, "name": f"{a}->{b}"} for a, b in links], replicas)


def overlap(a, b):
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


@given(sizes, pairs)
def test_no_two_boxes_overlap_and_all_lie_within_the_picture(counts, links):
    made = drawn(dict(zip(NAMES, counts, strict=True)), links)
    assert len(made.boxes) == len(NAMES)
    assert [(a.cluster, b.cluster) for a, b in combinations(made.boxes, 2) if overlap(a, b)] == []
    for box in made.boxes:
        assert -0.01 <= box.x <= box.x + box.width <= made.width + 0.01
        assert -0.01 <= box.y <= box.y + box.height <= made.height + 0.01


@given(sizes, pairs)
def test_every_mark_lies_within_the_box_of_its_cluster_and_none_on_another(counts, links):
    made = drawn(dict(zip(NAMES, counts, strict=True)), links)
    for box in made.boxes:
        marks = [mark for role in box.roles for mark in role.marks]
        assert len({(mark.x, mark.y) for mark in marks}) == len(marks)
        assert all(box.x < mark.x < box.x + box.width and box.y < mark.y < box.y + box.height for mark in marks)
        assert all(role.y < mark.y for role in box.roles for mark in role.marks)


@given(pairs)
def test_a_sender_stands_left_of_its_receiver_unless_the_link_closes_a_circle(links):
    column = columns(NAMES, links)
    kept = []
    for source, target in links:
        if not reaches(kept, target, source):
            kept.append((source, target))
            assert column[source] < column[target]
    assert set(column) == set(NAMES)
    assert all(number == 0 or any(column[s] == number - 1 for s, t in kept if t == name) for name, number in column.items())


def reaches(links, start, end):
    found, ahead = set(), [start]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += [t for s, t in links if s == name]
    return end in found


def test_the_example_stands_in_a_row():
    assert columns(["collectors", "analysts", "reporting"], [("collectors", "analysts"), ("analysts", "reporting")]) == {
        "collectors": 0,
        "analysts": 1,
        "reporting": 2,
    }


@pytest.mark.parametrize("links", [[("c0", "c1"), ("c1", "c0")], [("c0", "c1"), ("c1", "c2"), ("c2", "c0")]])
def test_a_circle_is_drawn_with_its_last_link_backwards(links):
    made = drawn({name: [1] for name in NAMES[:3]}, links)
    at = {box.cluster["name"]: box.x for box in made.boxes}
    assert [at[a] < at[b] for a, b in links] == [True] * (len(links) - 1) + [False]
    assert len(made.arcs) == len(links)


def passed(path):
    """Points of a path made of straight lines and corners, close to each other."""
    x = y = 0.0
    for sign, numbers in re.findall(r"([MHVQ])([\d. -]*)", path):
        *_, before, last = (0.0, *(float(one) for one in numbers.split()))
        right, down = (last, y) if sign == "H" else (x, last) if sign == "V" else (before, last)
        if sign in "HV":
            yield from [(x + (right - x) * k / 50, y + (down - y) * k / 50) for k in range(51)]
        x, y = right, down


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_link_back_leaves_its_sender_towards_its_receiver_and_passes_behind_no_box(length):
    names = NAMES[:length]
    made = drawn({name: [3] for name in names}, [*pairwise(names), (names[-1], names[0])])
    boxes, back = {box.cluster["name"]: box for box in made.boxes}, made.arcs[-1]
    source, target = boxes[names[-1]], boxes[names[0]]
    assert back.path.startswith(f"M{source.x:.0f} ")
    end = back.path.replace("H", " H").split()[-1 if length > 2 else -2].lstrip("H")
    assert float(end) == target.x + target.width + 5
    assert target.x + target.width < back.x < source.x
    if length > 2:
        inside = [(p, b.cluster["name"]) for p in passed(back.path) for b in made.boxes if within(*p, b)]
        assert inside == []
        assert back.y <= made.height
    assert not any(within(back.x, back.y - 7, box) for box in made.boxes)


def within(x, y, box):
    return box.x + 1 < x < box.x + box.width - 1 and box.y + 1 < y < box.y + box.height - 1


@given(sizes, pairs)
def test_on_a_phone_the_same_boxes_stand_below_each_other_and_links_run_between_or_beside_them(counts, links):
    wide = drawn(dict(zip(NAMES, counts, strict=True)), links)
    made = stacked(wide)
    assert {box.cluster["name"]: box.height for box in made.boxes} == {box.cluster["name"]: box.height for box in wide.boxes}
    assert all(box.x == 0.0 and box.x + box.width <= made.width for box in made.boxes)
    assert all(above.y + above.height < below.y for above, below in pairwise(made.boxes))
    assert made.boxes[-1].y + made.boxes[-1].height == made.height
    at = {box.cluster["name"]: box for box in wide.boxes}
    assert [box.cluster["name"] for box in made.boxes] == sorted(at, key=lambda name: (at[name].x, at[name].y))
    assert sorted(arc.link["name"] for arc in made.arcs) == sorted(arc.link["name"] for arc in wide.arcs)
    for arc in made.arcs:
        assert [(p, b.cluster["name"]) for p in passed(arc.path) for b in made.boxes if within(*p, b)] == []
    for box in made.boxes:
        marks = [mark for role in box.roles for mark in role.marks]
        assert all(0 < mark.x < box.width and box.y < mark.y < box.y + box.height for mark in marks)


def test_on_a_phone_a_chain_fits_and_its_links_go_straight_down():
    made = stacked(drawn({"c0": [3], "c1": [3], "c2": [1]}, [("c0", "c1"), ("c1", "c2")]))
    assert made.width == made.boxes[0].width
    assert [re.sub(r"[\d.]+", "n", arc.path) for arc in made.arcs] == ["Mn nVn"] * 2


def test_a_link_of_a_cluster_that_is_not_seen_is_not_drawn():
    assert drawn({"c0": [1]}, [("c0", "elsewhere"), ("elsewhere", "c0")]).arcs == ()


def test_nothing_makes_an_empty_picture():
    made = picture([], [], [], [])
    assert (made.boxes, made.arcs) == ((), ())
    assert made.height >= 0


def test_many_replicas_are_counted_by_state_and_few_are_drawn():
    few = drawn({"c0": [MARKS]}, []).boxes[0].roles[0].marks
    assert len(few) == MARKS
    assert all(mark.count == 1 and mark.name for mark in few)
    many = drawn({"c0": [MARKS + 1]}, [], lambda n: "failed" if n < 3 else "ready").boxes[0].roles[0].marks
    assert [(mark.state, mark.count) for mark in many] == [("ready", MARKS - 2), ("failed", 3)]


def test_a_thousand_replicas_in_large_agents_stay_small():
    made = drawn({f"c{n}": [200, 50] for n in range(4)}, [("c0", "c1"), ("c1", "c2"), ("c2", "c3")])
    assert sum(mark.count for box in made.boxes for role in box.roles for mark in role.marks) == 1000
    assert made.height < 300
