"""Hostile and mutilated specs: the loader answers with problems that have a place, and never with anything else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.errors import SpecError
from quarterdeck.spec.load import decode, examine
from quarterdeck.spec.problems import Problem
from quarterdeck.spec.quantities import Bytes, Duration

FIELDS = (
    "apiVersion kind metadata name spec owner code entry clusters quota cpu memory replicas agents run env secrets hang_after rollout surge"
)
WORDS = [
    *FIELDS.split(),
    "links",
    "from",
    "to",
    "timeout",
    "attempts",
    "breaker",
    "reset",
    "restart",
    "model",
    "qd",
    "a",
    "c",
    "",
    "no",
    "~",
    "1",
    "5s",
]
GOOD = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: triage}
spec:
  entry: intake
  clusters:
    collectors:
      quota: {cpu: 1, memory: 512Mi, replicas: 8}
      agents:
        collector: {run: "agents:collector", replicas: {min: 3, max: 6}, secrets: [KEY], env: {A: 1}}
        intake: {run: "agents:intake", rollout: {surge: 2, drain: 5s}}
    analysts: {agents: {analyst: {run: "agents:analyst"}}}
  links:
    - {from: collectors, to: analysts, timeout: 5s, breaker: {failures: 5}}
"""
SETTINGS = settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
scalars = st.sampled_from(WORDS) | st.integers() | st.floats() | st.booleans() | st.none() | st.text(max_size=12)
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=6), inner, max_size=5),
    max_leaves=30,
)


def check(text: str) -> tuple[Problem, ...]:
    start = time.process_time()
    loaded, problems = examine(text, filename="f.yaml", base=Path("/nonexistent"), environ={"KEY": "x"}, check_entries=False)
    assert time.process_time() - start <= 1.0
    assert (loaded is None) == bool(problems)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for problem in problems:
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert problem.message
        assert all(c.isprintable() or c == "\n" for c in str(problem))
    return problems


def flow(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str() if value and value.isascii() and value.isalnum():
            return value
        case str():
            return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\U{ord(c):08x}" for c in value) + '"'
        case None:
            return "null"
        case _:
            return repr(value)


@SETTINGS
@given(st.text(max_size=400))
def test_any_text_is_answered_with_problems_that_have_a_place(text):
    assert check(text)


@SETTINGS
@given(
    st.lists(
        st.sampled_from(
            [*WORDS, ":", " ", "\n", "  ", "- ", "{", "}", "[", "]", ",", "&a ", "*a", "!", "|", ">", '"', "'", "#", "?", "%", "---", "\t"]
        )
    )
)
def test_any_sequence_of_yaml_tokens_is_answered_with_problems_that_have_a_place(tokens):
    assert check("".join(tokens))


@SETTINGS
@given(trees)
def test_any_document_is_answered_with_problems_that_have_a_place(tree):
    assert check(flow(tree))


@SETTINGS
@given(st.data())
def test_a_good_spec_with_a_part_replaced_never_breaks_the_loader(data):
    start = data.draw(st.integers(0, len(GOOD)))
    end = data.draw(st.integers(start, min(len(GOOD), start + 20)))
    new = data.draw(st.sampled_from(WORDS) | st.text(max_size=8) | trees.map(flow))
    check(GOOD[:start] + new + GOOD[end:])


@SETTINGS
@given(st.data())
def test_a_good_spec_with_any_subtree_replaced_never_breaks_the_loader(data):
    places = [
        "1",
        "512Mi",
        "8",
        "{min: 3, max: 6}",
        "[KEY]",
        "{A: 1}",
        '"agents:intake"',
        "{surge: 2, drain: 5s}",
        "{failures: 5}",
        "intake",
        "triage",
    ]
    place = data.draw(st.sampled_from(places))
    check(GOOD.replace(place, flow(data.draw(trees)), 1))


@SETTINGS
@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused_with_a_place(content):
    body = content.removeprefix(b"\xef\xbb\xbf")
    if body.decode(errors="replace").encode() == body:
        assert decode(content, filename="f.yaml").encode() == body
        return
    with pytest.raises(SpecError) as caught:
        decode(content, filename="f.yaml")
    assert caught.value.where.startswith("f.yaml:")


@given(st.integers(0, 10**12))
def test_every_whole_millisecond_and_every_size_survives_being_written(number):
    assert abs(Duration.parse(str(Duration(number / 1000))) - number / 1000) < 1e-3
    assert Bytes.parse(str(Bytes(number))) == number
