"""Bugs of stopping: what is stopped stays so, whatever is broken, and the proof tells what was seen."""

import pytest
from tests.planted.bug import Bug

NODE_DECIDE = "tests/unit/engines/test_node_decide.py::"
HALTS = "tests/unit/test_halts.py::"
STORE_STOPS = "tests/unit/store/test_stops.py::"
API_STOPS = "tests/unit/api/test_stops.py::"

BUGS = (
    Bug(
        "a stop is only as good as the bounds allow",
        "spec/compose.py",
        "    if stops:\n",
        "    if stops and bounds.min == 0:\n",
        "tests/properties/test_compose.py::"
        "test_what_is_stopped_has_no_replicas_whatever_bounds_and_other_changes_say_and_nothing_else_is_stopped",
    ),
    Bug(
        "a node starts what was stopped, because its table asks for it",
        "engines/local/node/decide.py",
        "    if seen.end_by is not None:\n",
        "    if seen.end_by is not None and seen.live:\n",
        NODE_DECIDE + "test_what_is_stopped_by_order_is_killed_whatever_it_does_and_never_started",
    ),
    Bug(
        "a halt waits for a drain that began before",
        "engines/local/node/decide.py",
        "    left = [p for p in seen.live if not p.killed]\n",
        "    left = [p for p in seen.live if not p.killed and p.drain_until is None]\n",
        NODE_DECIDE + "test_what_is_stopped_by_order_is_killed_whatever_it_does_and_never_started",
    ),
    Bug(
        "a list of halts that cannot be read is taken for empty",
        "engines/local/node/halts.py",
        "        if self.damaged:\n            return _LONG_AGO\n",
        "        if self.damaged:\n            return None\n",
        HALTS + "test_a_list_that_cannot_be_read_is_not_an_empty_one",
    ),
    Bug(
        "the list of halts is written over the one there is",
        "halts.py",
        "    _put(home, number % 2 * _HALF, head + body)\n",
        "    _put(home, 0, head + body)\n",
        HALTS + "test_a_write_that_was_cut_off_leaves_the_list_before_it",
    ),
    Bug(
        "the room for halts is taken when they are needed",
        "halts.py",
        '        _put(home, size, b"0" * (2 * _HALF - size))\n',
        "        os.truncate(home.halts, 2 * _HALF) if size else home.halts.touch(0o600)\n",
        HALTS + "test_the_room_is_taken_before_it_is_needed_so_that_a_write_needs_none",
    ),
    Bug(
        "a stop leaves the fence as it was",
        "store/tasks.py",
        'fence=cast("int", row["fence"]) + 1, attempts=cast("int", row["attempts"]) - 1)\n    turn.note(fenced',
        'fence=cast("int", row["fence"]), attempts=cast("int", row["attempts"]) - 1)\n    turn.note(fenced',
        STORE_STOPS + "test_work_goes_back_under_a_new_fence_without_an_attempt_and_its_late_result_is_refused",
    ),
    Bug(
        "work of a stopped agent is given out",
        "store/claims.py",
        "    if changes.stops(turn.connection, holder.system, holder.target.name):\n",
        "    if False:\n",
        STORE_STOPS + "test_nobody_is_given_work_of_a_stopped_target_until_the_stop_ends",
    ),
    Bug(
        "an unsafe effect that a stop cut off is called again",
        "store/effects.py",
        '    unknown = effect["semantics"] == "unsafe" or not again\n',
        "    unknown = not again\n",
        STORE_STOPS + "test_no_effect_stays_pending",
    ),
    Bug(
        "what cannot be read counts as nothing",
        "model/stops.py",
        '    return "unknown" if any(source.found is None for source in sources) else "done"\n',
        '    return "done"\n',
        "tests/unit/model/test_stops.py::test_unknown_is_no_zero",
    ),
    Bug(
        "a full disk stops a stop",
        "deploy/stops.py",
        "        except Transient as error:\n            return None, error.message\n",
        "        except NotFound as error:\n            return None, error.message\n",
        API_STOPS + "test_a_store_that_cannot_write_stops_no_stop",
    ),
    Bug(
        "a halt that came past the control plane is forgotten with the node",
        "deploy/stops.py",
        "            elif halt.change is None and not halt.target.startswith(TASK):\n                await self._take_over(halt)\n",
        "",
        API_STOPS + "test_a_halt_that_came_past_us_becomes_a_change_once_and_both_can_be_ended",
    ),
    Bug(
        "an operator takes the stop of everything back",
        "api/changes.py",
        "    admit_revert(given, number)\n",
        "",
        API_STOPS + "test_who_may_stop_and_start_what",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(plant, bug):
    plant(bug)
