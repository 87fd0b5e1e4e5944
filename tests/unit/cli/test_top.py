"""What `qd top` makes of documents and keys: rows, sums, order, filter, places; nothing here needs a terminal."""

import re

import pytest

from quarterdeck.cli.screen import Screen, cut
from quarterdeck.cli.top_feed import Seen
from quarterdeck.cli.top_rows import MEASURED, inside, ordered, summed, tabulated
from quarterdeck.cli.top_state import Place, State, press
from quarterdeck.cli.top_view import drawn

NOUNS = ["systems", "clusters", "agents", "replicas", "links", "tasks"]
STATUS = {"system": "shop", "ready": True, "stopped": None, "failure": None, "revision": 3, "sentence": "agents: 2 of 2 ready"}


def replica(name, **more):
    cluster, _, rest = name.partition("/")
    agent = rest.rpartition("-")[0]
    usage = {"cpu": 0.0, "memory_bytes": 1 << 20, "handled_per_second": 0.0, "failed_per_second": 0.0, "lag_ms": 0.5, "inflight": 0}
    return {"name": name, "cluster": cluster, "agent": agent, "state": "ready", "restarts": 0, "reason": "", "since": None, **usage, **more}


THREE = [replica("a/x-0", cpu=0.1), replica("a/x-1", cpu=0.3, inflight=4), replica("b/y-0", cpu=None, memory_bytes=None, state="pending")]


def table(place, items=THREE, now=0.0):
    return tabulated(MEASURED[place.noun], items, sort=place.sort, down=place.down, wanted=place.wanted, now=now)


def keys(state, *pressed, items=THREE):
    for key in pressed:
        state = press(state, key, table(state.here, items) if state.here.noun in MEASURED else table(Place.of("replicas"), []), NOUNS, 10)
    return state


BEGIN = State((Place.of("replicas"),))


def test_the_busiest_is_on_top_and_what_is_not_measured_at_the_end():
    found = table(BEGIN.here)
    assert found.names == ["a/x-1", "a/x-0", "b/y-0"]
    assert [row[2:4] for row in found.rows] == [("0.30", "1 MiB"), ("0.10", "1 MiB"), ("", "")]
    assert {found.headings[n] for n in found.numeric} >= {"CPU", "MEMORY", "IN FLIGHT"}
    assert found.headings.index("NAME") not in found.numeric


def test_agents_and_clusters_have_the_sum_of_their_replicas():
    agents = summed([{"name": "a/x"}, {"name": "b/y"}], THREE, lambda one: f"{one['cluster']}/{one['agent']}")
    assert [(one["cpu"], one["memory_bytes"], one["inflight"]) for one in agents] == [(0.4, 2 << 20, 4), (None, None, 0)]


def test_deeper_is_only_what_belongs_there():
    assert [one["name"] for one in inside(THREE, "replicas", "a/x")] == ["a/x-0", "a/x-1"]
    assert [one["name"] for one in inside(THREE, "replicas", "b")] == ["b/y-0"]
    assert inside(THREE, "replicas", "") == THREE


def test_every_noun_has_an_order():
    for noun, columns in MEASURED.items():
        sort, down = ordered(noun)
        assert (columns[sort][0], down) == ("CPU", True)
    assert ordered("tasks") == (0, False)


@pytest.mark.parametrize("column", range(len(MEASURED["replicas"])))
def test_every_column_can_be_ordered_by_whatever_is_in_it(column):
    mixed = [*THREE, replica("c/z-0", restarts=None, reason="x", since="2026-01-01T00:00:00Z", state=None, lag_ms=None)]
    for down in (False, True):
        found = tabulated(MEASURED["replicas"], mixed, sort=column, down=down, wanted="", now=0.0)
        assert sorted(found.names) == ["a/x-0", "a/x-1", "b/y-0", "c/z-0"]


def test_the_selected_row_stays_selected_wherever_it_moves():
    state = keys(BEGIN, "down")
    assert state.here.selected == "a/x-0"
    busier = [replica("a/x-0", cpu=9.0), *THREE[1:]]
    assert keys(state, "up", items=busier).here.selected == "a/x-0"  # it is the first now
    assert keys(state, "end").here.selected == "b/y-0"
    assert keys(state, "end", "home").here.selected == "a/x-1"
    assert keys(state, "page down", "page up").here.selected == "a/x-1"


def test_a_row_that_is_gone_leaves_the_first_selected():
    state = keys(BEGIN, "end")
    assert keys(state, "e", items=THREE[:2]).here.thing == "a/x-1"


def test_enter_goes_deeper_to_the_reason_and_escape_back():
    clusters = [{"name": "a", "quota": {"used": {"cpu": 1, "memory": 2}}}, {"name": "b", "quota": {"used": {"cpu": 0, "memory": 1}}}]
    state = keys(State((Place.of("clusters"),)), "down", "enter", items=clusters)
    assert (state.here.noun, state.here.within) == ("agents", "b")
    state = keys(state, "enter", items=[{"name": "b/y", "cluster": "b"}])
    assert (state.here.noun, state.here.within) == ("replicas", "b/y")
    state = keys(state, "enter", items=THREE[2:])
    assert (state.here.page, state.here.thing) == ("explain", "b/y-0")
    assert keys(state, "l").here.page == "logs"
    assert keys(state, "escape").here.noun == "replicas"
    back = keys(state, "escape", "left", "backspace", "escape", items=clusters)
    assert (back.here.noun, back.here.selected, len(back.places)) == ("clusters", "b", 1)


def test_a_filter_is_typed_kept_and_given_up():
    state = keys(BEGIN, "/", "X", "-", "1")
    assert (state.typing, table(state.here).names) == ("/", ["a/x-1"])
    kept = keys(state, "enter")
    assert (kept.typing, kept.here.wanted) == ("", "X-1")
    assert keys(kept, "escape").here.wanted == ""
    assert keys(state, "escape").here.wanted == ""
    assert keys(state, "backspace", "backspace").here.wanted == "X"
    assert keys(state, "clear").here.wanted == ""
    assert keys(kept, "/").typed == "X-1"
    assert keys(BEGIN, "/", "q", "?", "up", "é").typed == "q?é"  # no key has another meaning while one types


def test_a_colon_goes_to_nouns_and_to_things():
    assert keys(BEGIN, ":", "t", "a", "enter").here == Place.of("tasks")
    assert keys(BEGIN, ":", *"ag", "tab", "enter").here == Place.of("agents")
    there = keys(BEGIN, ":", *"a/x", "tab", "enter").here
    assert (there.page, there.thing) == ("explain", "a/x-1")
    lost = keys(BEGIN, ":", *"nothing", "enter")
    assert (lost.here, "there is no noun 'nothing'" in lost.said, "tasks" in lost.said) == (BEGIN.here, True, True)
    assert keys(lost, "x").said == ""
    assert keys(BEGIN, ":", "enter").here == keys(BEGIN, ":", "a", "escape").here == BEGIN.here


def test_a_cluster_with_the_name_of_no_noun_is_no_noun():
    clusters = [{"name": "area", "quota": None}]
    there = keys(State((Place.of("clusters"),)), ":", *"area", "enter", items=clusters).here
    assert (there.page, there.thing) == ("explain", "area")


def test_columns_are_ordered_round_and_the_other_way_round():
    state = keys(BEGIN, "s")
    assert table(state.here).headings[state.here.sort] == "MEMORY"
    assert keys(state, "S").here.sort == BEGIN.here.sort
    assert keys(State((Place("replicas"),)), "S").here.sort == len(MEASURED["replicas"]) - 1
    assert table(keys(BEGIN, "r").here).names == ["b/y-0", "a/x-0", "a/x-1"]


def test_nothing_is_chosen_where_there_is_nothing():
    for key in ("enter", "e", "l", "y", "up", "down", "end", "s", "r", "unknown"):
        assert keys(BEGIN, key, items=[]).here.page == ""


def test_pages_scroll_and_logs_stay_at_their_end():
    page, logs = Place("replicas", page="explain", thing="x"), Place("replicas", page="logs", thing="x")
    assert [page.first(100, 10), logs.first(100, 10), logs.first(3, 10)] == [0, 90, 0]
    up = keys(State((logs,)), "page up").here.within_page(100, 10)
    assert (up.first(100, 10), up.scroll) == (80, -10)
    top = keys(State((logs,)), "home").here.within_page(100, 10)
    assert (top.first(100, 10), keys(State((top,)), "down").here.first(100, 10)) == (0, 1)
    assert keys(State((page,)), "end").here.within_page(100, 10).scroll == 90
    assert keys(State((page,)), "l").here == logs


def test_q_ends_it_p_pauses_it_and_help_is_a_page():
    assert keys(BEGIN, "q").over
    assert keys(keys(BEGIN, "?"), "q").over
    assert keys(BEGIN, "p").paused
    assert not keys(BEGIN, "p", "p").paused
    assert keys(BEGIN, "?").here.page == "help"
    assert keys(BEGIN, "?", "?", "escape").here == BEGIN.here


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("colour", [False, True])
def test_every_line_fits_and_the_screen_is_full(width, colour):
    screen = Screen(None, colour=colour, width=width)
    hostile = [*THREE, replica("c/\x1b[2Jz-0", reason="\x1b]0;title\x07" + "long " * 50)]
    for state in (
        BEGIN,
        keys(BEGIN, "/", "x"),
        keys(BEGIN, ":", *"no", "enter"),
        keys(BEGIN, "?"),
        keys(BEGIN, "e"),
        keys(BEGIN, "/", "€"),
    ):
        seen = Seen(state.here, STATUS, tuple(hostile), ("line " * 60,) * 30, at=1.0)
        lines = drawn(state, seen, table(state.here, hostile), screen, 10, old="")
        assert len(lines) == 15
        assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in lines) <= width
        assert not any("\x1b[2J" in line or "\x1b]" in line for line in lines)


def test_what_is_old_says_so_and_why():
    screen = Screen(None, width=100)
    seen = Seen(BEGIN.here, STATUS, tuple(THREE), at=1.0, trouble="no answer")
    lines = drawn(BEGIN, seen, table(BEGIN.here), screen, 10, old="as of 9 s ago: no answer")
    assert "as of 9 s ago: no answer" in lines[0]
    assert any("a/x-1" in line for line in lines)  # and what was last seen stays
    assert "looking" in drawn(BEGIN, Seen(), table(BEGIN.here, []), screen, 10, old="")[0]


def test_cut_keeps_colours_and_counts_only_what_is_seen():
    assert cut("\x1b[31mabc\x1b[0mdef", 4) == "\x1b[31mabc\x1b[0md"
    assert cut("abc", 10) == "abc"
    assert cut("\x1b[1mabc\x1b[0m", 0) == "\x1b[1m\x1b[0m"


def test_wide_characters_take_two_columns():
    assert cut("日本語", 4) == "日本"
    assert cut("日本語", 5) == "日本"
    assert cut("a\u0301b", 2) == "a\u0301b"


def test_columns_that_do_not_fit_are_announced_and_reached():
    screen, seen = Screen(None, width=60), Seen(BEGIN.here, STATUS, tuple(THREE), at=1.0)
    shown = drawn(BEGIN, seen, table(BEGIN.here), screen, 10, old="")
    assert shown[2].endswith("»")
    assert "RESTARTS" not in shown[2]
    aside = keys(BEGIN, *">>>>>>")
    shown = drawn(aside, seen, table(aside.here), screen, 10, old="")
    assert "RESTARTS" in shown[2]
    assert "a/x-1" in shown[3]
    assert keys(aside, *"<<<<<<<<").here.aside == 0
    assert keys(BEGIN, *">" * 50).here.aside == len(MEASURED["replicas"]) - 2


def test_the_keys_that_matter_most_are_told_on_a_narrow_terminal():
    for width in (20, 40, 80):
        last = drawn(BEGIN, Seen(BEGIN.here, STATUS, tuple(THREE), at=1.0), table(BEGIN.here), Screen(None, width=width), 10, old="")[-1]
        assert "? help · q end" in last


def test_a_deep_path_keeps_its_end():
    state = keys(keys(BEGIN, "e"), "l")
    for _ in range(6):
        state = state.into(Place("replicas", page="explain", thing="cluster/agent-with-a-long-name-0"))
    line = drawn(state, Seen(), table(BEGIN.here, []), Screen(None, width=80), 10, old="")[1]
    assert line.startswith(" … › ")
    assert line.endswith("explain cluster/agent-with-a-long-name-0")


def test_what_looks_alike_does_not_change_its_place():
    idle = [replica(f"a/x-{n}", cpu=0.001 * (3 - n)) for n in range(3)]
    assert table(BEGIN.here, idle).names == ["a/x-0", "a/x-1", "a/x-2"]
    assert table(BEGIN.here, [{**one, "cpu": 0.004 - one["cpu"]} for one in idle]).names == ["a/x-0", "a/x-1", "a/x-2"]
