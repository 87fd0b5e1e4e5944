from __future__ import annotations

import pytest

from quarterdeck.errors import NotFound, UserError
from quarterdeck.model.records import Patch
from quarterdeck.spec.targets import Target, check_patch, find, resolve, stop_target


@pytest.fixture
def spec(look, good):
    return look(good)[0].system


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("triage", Target()),
        ("analysts", Target("analysts")),
        ("analysts/analyst", Target("analysts", "analyst")),
        ("analysts/analyst-12", Target("analysts", "analyst", 12)),
        ("triage:analysts/analyst", Target("analysts", "analyst")),
        ("analysts/analyst-01", None),
        ("analysts/analyst-x", None),
        ("other:analysts/analyst", None),
        ("analysts/", None),
        ("nowhere/analyst", None),
    ],
)
def test_targets_are_found_by_name(spec, text, target):
    assert find(spec, text) == target


def test_an_unknown_target_names_the_nearest(spec):
    with pytest.raises(NotFound) as caught:
        resolve(spec, "analysts/analist")
    assert caught.value.hint == 'did you mean "analysts/analyst"?'


@pytest.mark.parametrize(
    ("text", "patch"),
    [
        ("analysts", Patch("replicas", 3)),
        ("analysts/analyst-1", Patch("replicas", 3)),
        ("analysts/analyst", Patch("replicas", -1)),
        ("analysts/analyst", Patch("replicas", True)),
        ("analysts/analyst", Patch("replicas", "3")),
        ("analysts/analyst", Patch("quarantined", True)),
        ("analysts/analyst-1", Patch("quarantined", 1)),
        ("analysts/analyst-1", Patch("restart_before", 1.0)),
        ("analysts/analyst", Patch("restart_before", float("nan"))),
        ("analysts/analyst", Patch("hold", "yes")),
    ],
)
def test_a_patch_that_could_not_be_carried_out_is_refused_at_the_door(spec, text, patch):
    with pytest.raises(UserError):
        check_patch(spec, text, patch)


def test_a_patch_that_fits_gives_its_target(spec):
    assert check_patch(spec, "analysts/analyst-1", Patch("quarantined", True)) == Target("analysts", "analyst", 1)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("triage", "triage:"),
        ("triage:", "triage:"),
        ("", "triage:"),
        ("analysts", "analysts"),
        ("triage:analysts/analyst", "analysts/analyst"),
    ],
)
def test_a_stop_is_written_down_one_way(spec, text, kept):
    assert stop_target(spec, text) == kept
    assert stop_target(spec, kept) == kept


def test_neither_one_replica_nor_what_is_not_there_can_be_stopped(spec):
    with pytest.raises(UserError, match="one replica cannot be stopped alone"):
        stop_target(spec, "analysts/analyst-0")
    with pytest.raises(NotFound):
        stop_target(spec, "analysts/nobody")
    for value in (False, None, 1, "true"):
        with pytest.raises(UserError, match="must be true"):
            check_patch(spec, "analysts", Patch("stopped", value))


@pytest.mark.parametrize("text", ["analysts/analyst-99", "collectors/collector-20"])
def test_no_change_is_for_a_replica_that_can_never_be(spec, text):
    with pytest.raises(NotFound, match="can never be: there are at most"):
        check_patch(spec, text, Patch("quarantined", True))
