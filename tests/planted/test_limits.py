"""Bugs of limits: deadlocks, budgets, and the gate before the queue."""

import pytest
from tests.planted.bug import Bug

WATCH = "tests/unit/work/test_watch.py::"
WAITS = "tests/unit/agents/test_waits.py::"
SPEND = "tests/unit/agents/test_spend.py::"
SPEND_SHARED = "tests/unit/agents/test_spend_shared.py::"
GATE = "tests/unit/work/test_gate.py::"

BUGS = (
    Bug(
        "a cycle is broken at first sight",
        "work/watch.py",
        "                if self._proven(suspect, picture) and suspect.certain:\n",
        "                if suspect:\n",
        WATCH + "test_one_look_alone_breaks_nothing",
    ),
    Bug(
        "the last word of a replica that is silent now proves a deadlock",
        "work/watch.py",
        "        return not late\n",
        "        return True\n",
        WATCH + "test_a_replica_that_does_not_answer_proves_nothing_however_long_it_was_silent",
    ),
    Bug(
        "a replica that has not said how many tasks it takes counts as full",
        "work/watch.py",
        "            return 1\n",
        "            return 0\n",
        "tests/unit/work/test_watch_tasks.py::test_another_replica_that_we_have_not_heard_of_could_take_it",
    ),
    Bug(
        "a replica may say that the task of another one waits",
        "work/watch.py",
        "        if lease is None or lease.holder != holder:\n",
        "        if lease is None:\n",
        WATCH + "test_a_replica_cannot_speak_for_what_it_does_not_have",
    ),
    Bug(
        "two replicas claim an ask and the last one is believed",
        "work/watch.py",
        "            self.activities.pop(name, None)\n",
        "            pass\n",
        WATCH + "test_an_ask_that_two_replicas_claim_is_nobodys",
    ),
    Bug(
        "an attempt at an ask is taken for the one before it",
        "bus/envelope.py",
        """    return f"{headers.get(ID, '')}-{headers.get(DEADLINE, '')}"\n""",
        """    return headers.get(ID, "")\n""",
        WAITS + "test_both_sides_call_an_attempt_the_same_and_another_attempt_differently",
    ),
    Bug(
        "a handler that is stopped sees a deadlock instead",
        "agents/waits.py",
        "self._task.uncancel() <= self._cancelling and ",
        "self._task.uncancel() >= 0 and ",
        WAITS + "test_who_is_stopped_while_a_wait_is_broken_is_stopped",
    ),
    Bug(
        "what has no room in a report makes others look stuck",
        "agents/waits.py",
        "        free = self.asks.free if len(held) <= ops.MOST_WAITS else 1\n",
        "        free = self.asks.free\n",
        WAITS + "test_too_much_to_tell_makes_nobody_look_stuck",
    ),
    Bug(
        "who gets on is taken for going round",
        "agents/context.py",
        "        self._path, self._caused = _NOWHERE, self._span\n",
        "        pass\n",
        WAITS + "test_what_is_sent_carries_the_path_until_something_changes",
    ),
    Bug(
        "a task is given up while its parent still waits for it",
        "work/watch.py",
        "        self.found.append(broken)\n",
        "        self.found.append(broken)\n        self.ended.append(broken)\n",
        "tests/unit/work/test_breaking.py::"
        "test_a_task_that_waits_for_its_own_place_is_told_and_written_down_and_its_child_given_up_once_it_has_let_go",
    ),
    Bug(
        "a reservation whose answer was lost is made twice",
        "store/budgets.py",
        "        return n <= self.low or n in self.above or n in self.open\n",
        "        return False\n",
        SPEND + "test_an_answer_that_is_lost_costs_one_call_all_the_same",
    ),
    Bug(
        "only the task's own account is charged",
        "store/budgets.py",
        "    return [own, *_ancestors(turn, own), *(shared(turn, one) for one in shared_)]\n",
        "    return [own]\n",
        SPEND_SHARED + "test_self_delegation_stops_at_the_calls_of_the_root",
    ),
    Bug(
        "what a dead attempt had reserved is free again",
        "store/budgets.py",
        "        _settle(turn, account, held, n, {kind: amount / MICRO for kind, amount in amounts.items()})\n",
        "        _settle(turn, account, held, n, {})\n",
        SPEND + "test_what_a_dead_attempt_had_reserved_is_spent_when_its_task_is_released",
    ),
    Bug(
        "an effect costs no call",
        "store/effects.py",
        "    if known is None:\n        pay(row)\n",
        "    if known is None:\n",
        SPEND + "test_a_runaway_stops_at_its_budget_and_one_call[effect]",
    ),
    Bug(
        "tasks begin although money is spent too fast",
        "work/perform.py",
        "    free = 0 if bench.spending.tripped(bench.turn, bench.holder.target) else min(op.free, MOST_FREE)\n",
        "    free = min(op.free, MOST_FREE)\n",
        SPEND_SHARED + "test_money_spent_too_fast_holds_tasks_back_until_the_next_day",
    ),
    Bug(
        "orders that arrive together pass the bound together",
        "work/gate.py",
        "        self._open[system].coming += 1\n",
        "        pass\n",
        GATE + "test_orders_that_arrive_together_do_not_pass_the_bound_together",
    ),
    Bug(
        "orders are let in whose turn comes too late",
        "work/gate.py",
        "self.late(order) or self._in_vain(order) or self._refusal(",
        "self.late(order) or self._refusal(",
        GATE + "test_who_would_be_begun_too_late_is_told_when_to_come_again_and_who_has_time_is_let_in",
    ),
    Bug(
        "a known key is refused at a full door",
        "work/gate.py",
        "        if refusal is not None and (order.key is None or not (await self._known.ask([(system, order.key)]))[0]):\n",
        "        if refusal is not None:\n",
        GATE + "test_a_known_key_is_never_refused",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(plant, bug):
    plant(bug)
