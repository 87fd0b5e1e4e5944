"""A path that repeats itself is a loop; a long way through different agents is none, nor is a recursion that ends."""

from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.model.loops import MOST_HOPS, MOST_TEXT, MOST_VERB, Loop, Path, _written, loop, read

AGENTS = [f"c/a{n}" for n in range(60)]
names = st.text("abc/-_.,;%\n é", min_size=1, max_size=12)
hops = st.lists(st.tuples(names, names), max_size=60)


def along(*agents, verb="ask", before=()):
    path = Path(tuple(before))
    for agent in agents:
        path = path.then(agent, verb)
    return path


def found_after(*round_, before=()):
    """Messages of this round until it is found, None when it never is; each goes through a header, as it does between replicas."""
    path = Path(tuple(before))
    for count, agent in enumerate(islice(cycle(round_), 200), start=1):
        path = read(path.then(agent, "ask").text)
        if loop(path):
            return count
    return None


def test_a_ping_pong_is_found_within_twenty_messages_and_not_in_a_conversation():
    assert found_after("c/a", "c/b") == 18
    assert loop(along(*["c/a", "c/b"] * 8)) is None


@pytest.mark.parametrize("agents", range(3, 9))
def test_a_longer_cycle_is_found_at_its_third_round(agents):
    assert found_after(*AGENTS[:agents]) == 3 * agents


@pytest.mark.parametrize("agents", range(2, 9))
def test_what_came_before_does_not_hide_it(agents):
    before = [(name, "ask") for name in AGENTS[20:55]]
    assert found_after(*AGENTS[:agents], before=before) == found_after(*AGENTS[:agents])


def test_one_in_the_middle_that_sends_to_the_others_by_turns_is_a_cycle():
    assert found_after("c/hub", "c/a", "c/hub", "c/b") == 12


def test_new_words_at_every_turn_are_no_progress():
    path = Path()
    for n in range(18):
        path = path.then("c/a" if n % 2 else "c/b", f"verb{n}")
    assert loop(path)


def test_a_chain_through_different_agents_is_none_however_long():
    path = Path()
    for n in range(1000):
        path = read(path.then(f"c/a{n}", "ask").text)
        assert loop(path) is None


def test_a_cycle_of_more_than_eight_agents_is_none():
    assert found_after(*AGENTS[:9]) is None


def test_an_agent_that_delegates_to_itself_is_none():
    assert found_after("c/a") is None
    assert loop(along("c/a", "c/b", *["c/a"] * 8)) is None


def test_a_fan_out_is_none():
    """Each of them has the path of the one that sent them all."""
    sent = along("c/a")
    assert not any(loop(sent.then(agent, "ask")) for agent in AGENTS for _ in range(30))


def test_a_change_of_state_begins_anew():
    path = Path()
    for n in range(200):
        path = path.then(AGENTS[n % 2], "ask")
        if n % 17 == 16:
            path = path.reset()
        assert loop(path) is None


def test_the_same_cycle_is_the_same_value_wherever_one_looks():
    assert {loop(along(*AGENTS[n : n + 3], *AGENTS[0:3] * 4)).cycle for n in range(3, 9)} == {("c/a0", "c/a1", "c/a2")}
    assert loop(along(*"bcabcabca")) == Loop(("a", "b", "c"), 9)


def test_a_loop_is_told_in_one_sentence():
    told = loop(along(*["b/y", "a/x"] * 9)).told
    assert told == "a/x → b/y → a/x: 18 messages, 9 rounds, without a change of state"


@given(st.lists(st.sampled_from(AGENTS[:3]), max_size=40))
def test_what_is_called_a_loop_did_go_round(agents):
    found = loop(along(*agents))
    if found:
        length = len(found.cycle)
        tail = agents[-found.messages :]
        assert len(tail) >= 3 * length
        assert all(tail[n] == tail[n - length] for n in range(length, len(tail)))
        assert 2 <= len(set(tail)) <= 8


@given(st.integers(2, 8), st.integers(0, 7), st.lists(st.sampled_from(AGENTS), max_size=40))
def test_whatever_came_before_every_cycle_is_found_in_time(agents, turn, before):
    round_ = AGENTS[:agents]
    round_ = round_[turn % agents :] + round_[: turn % agents]
    assert found_after(*round_, before=[(name, "ask") for name in before]) <= max(20, 3 * agents)


# The header


def test_the_header_names_everybody_once():
    assert along("a/b", "c/d", "a/b").text == "a/b,c/d;ask;001000"
    assert Path().text == ""


@given(hops)
def test_a_header_is_short_ascii_text_on_one_line_and_reads_back(steps):
    path = Path()
    for agent, verb in steps:
        path = path.then(agent, verb)
    text = path.text
    assert len(text) <= MOST_TEXT
    assert text.isascii()
    assert text.isprintable()
    back = read(text).hops
    assert back == path.hops[len(path.hops) - len(back) :]
    assert len(back) == len(path.hops) or len(_written(path.hops[-len(back) - 1 :])) > MOST_TEXT


def test_the_longest_names_still_show_the_longest_cycle():
    letters = "abcdefghijklm"
    agents = [f"{c * 63}/{c * 63}" for c in letters[:8]]
    hub = [agents[0], *(name for other in agents[1:7] for name in (other, agents[0]))]
    for round_ in (agents, hub[:12]):
        path = Path()
        for n in range(3 * len(round_)):
            path = read(path.then(round_[n % len(round_)], letters[n % len(round_)] * 63).text)
        assert loop(path)


def test_a_name_that_fits_no_header_is_forgotten():
    path = Path().then("x" * 2000, "ask")
    assert path.text == ""
    assert read(path.then("a/b", "ask").text) == Path((("a/b", "ask"),))


def test_lone_surrogates_do_not_matter():
    assert Path().then("\ud800", "ask").text.isascii()


@given(
    st.one_of(st.text(max_size=60), st.text("ab/,;019AZ%", max_size=60), st.from_regex(r"\A[a-z/,%]{0,9};[a-z,]{0,9};[0-9a-zA-Z]{0,99}\Z"))
)
def test_reading_never_raises_and_gives_a_path_that_can_be_written(text):
    path = read(text)
    assert len(path.hops) <= MOST_HOPS
    assert all(len(verb) <= MOST_VERB for _, verb in path.hops)
    assert len(path.text) <= MOST_TEXT
    loop(path)


@pytest.mark.parametrize(
    "text", ["", ";", ";;", "a;b;0", "a;b;01", "a;b;10", "a;b;Z0", "a;b;00;", "é;b;00", "a;b;" + "00" * 41, "a" * 2000]
)
def test_what_is_no_path_reads_as_an_empty_one(text):
    assert read(text) == Path()
