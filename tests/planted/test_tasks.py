"""Bugs of tasks as they are stored: fences, attempts, lanes, effects, and what is kept of them."""

import pytest
from tests.planted.bug import Bug

TURN = "tests/unit/store/test_turn.py::"
TASKS_ENDS = "tests/unit/store/test_tasks_ends.py::"
TASKS = "tests/unit/store/test_tasks.py::"
TASKS_TURNS = "tests/unit/store/test_tasks_turns.py::"
TASKS_EFFECTS = "tests/unit/store/test_tasks_effects.py::"
TASKS_KEPT = "tests/unit/store/test_tasks_kept.py::"
FORKS = "tests/unit/store/test_forks.py::"
PART_FORKS = "tests/unit/agents/test_part_forks.py::"

BUGS = (
    Bug(
        "rows of a write that failed are remembered",
        "store/writer.py",
        "        tx.forget()\n        request.error = error\n",
        "        request.error = error\n",
        TURN + "test_what_a_write_that_failed_has_changed_is_not_remembered",
    ),
    Bug(
        "no fence check",
        "store/tasks.py",
        '_of_its_agent(row, hold) and row["fence"] == hold.fence and row["owner"]',
        '_of_its_agent(row, hold) and row["owner"]',
        TASKS_ENDS + "test_whoever_holds_an_older_fence_can_change_nothing_and_is_noted_once",
    ),
    Bug(
        "a replica of the same name in another system holds the task too",
        "store/tasks.py",
        "    if row is None or not _of_its_agent(row, hold):\n",
        "    if row is None:\n",
        TASKS + "test_replicas_of_the_same_name_in_another_system_are_others",
    ),
    Bug(
        "a claim gives back what a namesake in another system holds",
        "store/claims.py",
        '_T.c.owner == bindparam("owner"), _T.c.system == bindparam("system"), ',
        '_T.c.owner == bindparam("owner"), ',
        TASKS + "test_replicas_of_the_same_name_in_another_system_are_others",
    ),
    Bug(
        "a release without the fence in its condition",
        "store/tasks.py",
        '    if row is None or row["fence"] != fence or row["state"] not in IN_WORK:\n        return False\n',
        '    if row is None or row["state"] not in IN_WORK:\n        return False\n',
        TASKS_ENDS + "test_a_release_takes_a_task_from_its_holder_once_and_never_from_a_later_one",
    ),
    Bug(
        "the end of an attempt whose answer was lost is refused",
        "store/tasks.py",
        "    return ended and turn.noted(",
        "    return not ended and turn.noted(",
        TASKS_ENDS + "test_the_end_of_an_attempt_said_twice_is_said_once",
    ),
    Bug(
        "tasks whose time has not come are looked past",
        "store/orders.py",
        "turn=0.0 if order.after > turn.now else turn.fairness",
        "turn=turn.fairness",
        TASKS_TURNS + "test_what_a_task_costs_does_not_grow_with_what_waits_beside_it_or_is_over",
    ),
    Bug(
        "attempts are not counted",
        "store/claims.py",
        '    attempt = cast("int", row["attempts"]) + 1\n',
        '    attempt = cast("int", row["attempts"]) or 1\n',
        TASKS_ENDS + "test_a_failure_is_tried_again_until_the_last_which_is_a_dead_letter",
    ),
    Bug(
        "the same key twice in one write",
        "store/orders.py",
        "        there[name] = row\n",
        "        pass\n",
        TASKS + "test_many_at_once_keep_their_order_and_one_that_is_refused_stops_no_other",
    ),
    Bug(
        "whoever leaves the middle of a lane lets those behind him pass",
        "store/lanes.py",
        'zip(followers, [ended["behind"], ',
        "zip(followers, [None, ",
        TASKS_TURNS + "test_one_that_leaves_the_middle_of_a_lane_lets_nobody_pass",
    ),
    Bug(
        "those who left a lane early come back into it",
        "store/lanes.py",
        '_T.c.behind == bindparam("ahead"), _T.c.ended.is_(None))',
        '_T.c.behind == bindparam("ahead"))',
        TASKS_TURNS + "test_tasks_that_left_a_lane_early_do_not_come_back_into_it",
    ),
    Bug(
        "an older copy of a row undoes what was changed since",
        "store/turn.py",
        "{**(pending.known.get(key) or row), **values}",
        "{**row, **values}",
        TURN + "test_an_older_copy_of_a_row_undoes_nothing",
    ),
    Bug(
        "an effect is not written down before its call",
        "store/effects.py",
        "        turn.insert(tables.effects, ",
        "        dict(",
        TASKS_EFFECTS + "test_a_new_effect_may_be_called_and_a_done_one_gives_its_value_to_every_later_attempt",
    ),
    Bug(
        "an unsafe effect that was cut off is called again",
        "store/effects.py",
        '"unsafe" in (semantics, known["semantics"])',
        "False",
        TASKS_EFFECTS + "test_one_cut_off_in_between_is_unknown_where_it_could_happen_twice_whichever_attempt_says_so",
    ),
    Bug(
        "a sibling's call under way is taken for one that was cut off",
        "store/effects.py",
        '    if known is not None and known["outcome"] == "started" and _busy(turn, known, task):\n',
        "    if False:\n",
        TASKS_EFFECTS + "test_while_one_task_of_a_tree_calls_another_one_waits_and_neither_is_harmed",
    ),
    Bug(
        "effects of a task that ended stay under way",
        "store/ends.py",
        '_E.c.outcome == "started")',
        '_E.c.outcome == "nothing")',
        TASKS_EFFECTS + "test_no_effect_stays_under_way_when_its_task_has_ended",
    ),
    Bug(
        "a key is forgotten with its task",
        "store/orders.py",
        "            for table in (tables.forgotten, _T):\n",
        "            for table in (_T,):\n",
        TASKS_KEPT + "test_a_key_outlives_its_task_and_still_means_the_same",
    ),
    Bug(
        "a tree goes while an effect of it is unknown",
        "store/retention.py",
        ", ~last, ~news, ~asked)",
        ", ~last, ~news)",
        TASKS_KEPT + "test_whatever_may_still_be_asked_for_is_kept",
    ),
    Bug(
        "events that nobody sealed yet are forgotten",
        "store/retention.py",
        "or_(_E.c.seq > sealed, _E.c.seq == newest)",
        "_E.c.seq == newest",
        TASKS_KEPT + "test_whatever_may_still_be_asked_for_is_kept",
    ),
    Bug(
        "a seal says how many events there were and not which",
        "store/seals.py",
        "            if found != expected:\n",
        "            if found.count != expected.count:\n",
        TASKS_KEPT + "test_a_row_made_to_fit_its_checksum_does_not_fit_its_seal",
    ),
    Bug(
        "a fork carries out an earlier effect again",
        "store/forks.py",
        'place if row["outcome"] == "done" else NEVER, row, ',
        "NEVER, row, ",
        FORKS + "test_an_effect_that_was_kept_is_never_called_again_and_a_later_one_is_with_an_identity_of_its_own",
    ),
    Bug(
        "what was before a step is told by the clock",
        "store/forks.py",
        "        place = places.at(at) if seq is None else seq\n",
        "        place = places.at(at)\n",
        FORKS + "test_a_clock_that_was_put_back_has_nothing_done_again",
    ),
    Bug(
        "a fork passes an effect that nobody knows of",
        "store/forks.py",
        '    if outcome == "unknown":\n',
        '    if outcome == "lost":\n',
        FORKS + "test_an_effect_nobody_knows_of_keeps_from_beginning_after_it_and_not_before_it",
    ),
    Bug(
        "a fork of something else under the same key is the same fork",
        "model/work.py",
        '["fork", self.fork.task, self.fork.step]',
        '["fork", self.fork.task]',
        FORKS + "test_the_same_key_is_the_same_fork_and_something_else_is_a_conflict",
    ),
    Bug(
        "a fork delegates again what was done before its step",
        "agents/part.py",
        "found = self._kept(name) or await",
        "found = await",
        PART_FORKS + "test_everything_before_the_step_was_done_once_and_everything_after_it_twice",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(plant, bug):
    plant(bug)
