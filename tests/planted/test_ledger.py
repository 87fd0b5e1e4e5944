"""Bugs of the ledger: commits, leases, words to those who wait, and attempts that end unheard."""

import pytest
from tests.planted.bug import Bug

FAILURES = "tests/unit/store/test_failures.py::"
LEDGER = "tests/unit/work/test_ledger.py::"
LEDGER_WORDS = "tests/unit/work/test_ledger_words.py::"

BUGS = (
    Bug(
        "a failed commit is acknowledged",
        "store/writer.py",
        '            if failure(error) != "busy" or in_transaction(tx.connection):\n                raise\n',
        '            if failure(error) == "busy":\n                raise\n'
        "            for request in group:\n                request.answer()\n            return\n",
        FAILURES + "test_a_failed_commit_answers_everybody_unknown_and_ends_writing",
    ),
    Bug(
        "a second control plane may open the store",
        "store/lock.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        "tests/unit/store/test_store.py::test_the_second_opener_is_refused_and_told_who_was_first",
    ),
    Bug(
        "an answer before the commit",
        "store/writer.py",
        "            request.value = request.work(tx)\n",
        "            request.value = request.work(tx)\n            request.future.set_result(request.value)\n",
        FAILURES + "test_a_failed_commit_answers_everybody_unknown_and_ends_writing",
    ),
    Bug(
        "leases by the wall clock",
        "work/ledger.py",
        "        now = self.clock.monotonic()\n        self._waking.sweep(now)\n",
        "        now = self.clock.now()\n        self._waking.sweep(now)\n",
        LEDGER + "test_the_wall_clock_ends_no_lease",
    ),
    Bug(
        "a wake-up is trusted as the task",
        "work/waking.py",
        "                self.hungry[target] = now\n                self.tell(target, None)\n",
        "                del self.hungry[target]\n",
        LEDGER_WORDS + "test_a_word_that_was_lost_is_said_again_to_all",
    ),
    Bug(
        "an empty claim forgets what was queued meanwhile",
        "work/waking.py",
        "        if self._queued[target] == mark:\n",
        "        if mark >= 0:\n",
        LEDGER_WORDS + "test_what_is_queued_while_a_claim_finds_nothing_is_not_forgotten",
    ),
    Bug(
        "a look takes away the news that came while it was under way",
        "work/ledger.py",
        "            self._performed(holder, op, mark, answer)\n",
        "            self._performed(holder, op, mark, answer)\n            self._news.discard(getattr(op, 'task', ''))\n",
        LEDGER_WORDS + "test_news_that_comes_while_a_look_is_under_way_is_kept",
    ),
    Bug(
        "a restarted ledger gives its holders no time",
        "work/ledger.py",
        "                self.leases.grant(one.task, one.fence, Holder.read(one.system, one.owner), now)\n",
        "                self.leases.grant(one.task, one.fence, Holder.read(one.system, one.owner), now - self.leases.term)\n",
        LEDGER + "test_a_restarted_ledger_gives_every_holder_a_full_term_and_tells_who_waits",
    ),
    Bug(
        "a late word of an older attempt takes the lease of the newer one",
        "work/ledger.py",
        "        if lease is None or lease.fence <= fence:\n",
        "        if True:\n",
        LEDGER + "test_turns_heard_of_in_the_wrong_order_lose_no_lease",
    ),
    Bug(
        "one broken operation fails those of all other replicas",
        "work/ledger.py",
        "            if len(asked) > 1:\n                return",
        "            if len(asked) > 999:\n                return",
        "tests/unit/work/test_ledger_answers.py::test_an_operation_that_breaks_takes_no_other_with_it",
    ),
    Bug(
        "an attempt that ended unheard is begun again under its fence",
        "agents/taskwork.py",
        '        if self._past.get(given["task"]) == given["fence"]:',
        "        if False:",
        "tests/unit/agents/test_taskwork.py::test_an_attempt_that_ended_unheard_is_never_begun_again_under_its_fence",
    ),
    Bug(
        "the history checker believes the ledger more than the sink",
        "work/history.py",
        "len(made) > effect.begun:",
        "len(made) > effect.begun + 1:",
        "tests/unit/work/test_history.py::test_the_sink_is_believed_more_than_the_ledger",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=str)
def test_the_bug_is_caught(plant, bug):
    plant(bug)
