"""The geometry of a delegation tree on a line of time."""

from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.clock import iso
from quarterdeck.web.timeline import MOST, NAMES, WIDTH, timeline

NOW = 1_700_000_100.0


def task(name, parent=None, *, created=0.0, started=None, ended=None, effects=()):
    def at(seconds):
        return None if seconds is None else iso(NOW - 100 + seconds)

    told = [{"key": key, "outcome": "done", "started_at": at(when), "ended_at": at(when)} for key, when in effects]
    times = {"created_at": at(created), "started_at": at(started), "ended_at": at(ended)}
    return {"id": name, "parent": parent, "state": "done", "effects": told, **times}


def test_children_stand_below_their_parent_in_order_and_bars_where_their_times_are():
    tree = [
        task("top", started=10, ended=100, effects=[("e", 55)]),
        task("b", "top", created=20, started=30, ended=40),
        task("c", "top", created=20),
        task("below b", "b", created=31, started=32, ended=35),
    ]
    line = timeline(tree, NOW)
    assert [bar.task["id"] for bar in line.bars] == ["top", "b", "below b", "c"]
    assert [bar.indent for bar in line.bars] == [0.0, 14.0, 28.0, 14.0]
    top, b, _, c = line.bars
    scale = (WIDTH - NAMES - 16) / 100
    assert (top.queued, round(top.x, 3), round(top.width, 3)) == (NAMES, round(NAMES + 10 * scale, 3), round(90 * scale, 3))
    assert round(b.x - b.queued, 3) == round(10 * scale, 3)
    assert c.width == 0.0
    assert round(top.spots[0].x, 3) == round(NAMES + 55 * scale, 3)
    assert [tick.words for tick in line.ticks] == ["0 s", "20 s", "40 s", "60 s", "80 s", "100 s"]


def test_a_task_of_a_moment_has_a_bar_and_an_axis():
    line = timeline([task("x", started=0, ended=0)], NOW)
    assert line.bars[0].width >= 2
    assert len({tick.words for tick in line.ticks}) == len(line.ticks) <= 7


def test_too_many_rows_are_counted_not_drawn():
    line = timeline([task("top", started=0), *(task(str(n), "top", started=1) for n in range(500))], NOW)
    assert (len(line.bars), line.left_out) == (MOST, 501 - MOST)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 40), st.floats(0, 10)), min_size=1, max_size=30), st.randoms())
def test_everything_stands_within_the_picture_and_no_two_labels_are_alike(times, chance):
    tree = [task("0", created=0.0, started=0.0)]
    for n, (created, waited, worked) in enumerate(times, 1):
        parent = str(chance.randrange(n))
        tree.append(task(str(n), parent, created=created, started=created + waited, ended=created + waited + worked))
    line = timeline(tree, NOW)
    assert sorted(bar.task["id"] for bar in line.bars) == sorted(t["id"] for t in tree)
    assert all(NAMES <= bar.queued <= bar.x + 1e-6 and bar.x + bar.width <= WIDTH for bar in line.bars)
    assert len({bar.y for bar in line.bars}) == len(line.bars)
    assert len({tick.words for tick in line.ticks}) == len(line.ticks) <= 7
