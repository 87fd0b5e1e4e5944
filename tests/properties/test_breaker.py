"""The circuit breaker's promises, each as a sentence, over any order of calls, results and waiting."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quarterdeck.bus.links import Call, Circuit
from quarterdeck.model.desired import Breaker
from quarterdeck.states import BREAKER


class AnyUse(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.circuit = Circuit(Breaker(failures=3, reset=10.0, probes=2))
        self.now = 0.0
        self.out = []  # (ticket, state in which it was given)
        self.in_a_row = 0
        self.opened_at = None

    def settle(self, index, how):
        before = self.circuit.state
        ticket, _ = self.out.pop(index % len(self.out))
        current = ticket.epoch == self.circuit.epoch
        self.circuit = getattr(self.circuit, how)(ticket, self.now) if how != "abandoned" else self.circuit.abandoned(ticket)
        return before, current

    @rule(seconds=st.floats(0.0, 20.0))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def ask_for_a_call(self):
        before = self.circuit.state
        self.circuit, ticket = self.circuit.admit(self.now)
        if ticket is not None:
            self.out.append((ticket, self.circuit.state))
        if before == "closed":
            assert ticket is not None, "a closed breaker lets every call through"
        if before == "open" and self.now < self.opened_at + 10.0:
            assert ticket is None, "an open breaker lets nothing through before its reset"
        if before == "open" and self.now >= self.opened_at + 10.0:
            assert ticket is not None, "an open breaker lets a probe through after its reset"

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def a_call_fails(self, index):
        before, current = self.settle(index, "failed")
        if not current:
            assert self.circuit.state == before, "a straggler changes nothing"
            return
        self.in_a_row += 1
        should_open = before == "half-open" or self.in_a_row == 3
        assert (self.circuit.state == "open") == should_open, "it opens exactly after n failures in a row, or a failed probe"
        if should_open:
            self.opened_at = self.now
            self.in_a_row = 0

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def a_call_succeeds(self, index):
        before, current = self.settle(index, "succeeded")
        if current:
            self.in_a_row = 0
            assert self.circuit.state == "closed", "a success closes it"
        else:
            assert self.circuit.state == before, "a straggler changes nothing"

    @precondition(lambda self: self.out)
    @rule(index=st.integers(0, 50))
    def a_call_is_abandoned(self, index):
        before, _ = self.settle(index, "abandoned")
        assert self.circuit.state == before, "an abandoned call decides nothing"

    @invariant()
    def never_more_probes_than_allowed(self):
        if self.circuit.state == "half-open":
            probes = [ticket for ticket, _ in self.out if ticket.epoch == self.circuit.epoch]
            assert len(probes) <= 2
            assert len(probes) == self.circuit.probing

    @invariant()
    def always_a_known_state(self):
        assert self.circuit.state in BREAKER.moves


TestAnyUse = AnyUse.TestCase


@given(
    call=st.builds(Call, deadline=st.floats(0, 100), attempt=st.floats(0.01, 50), attempts=st.integers(1, 10)),
    made=st.integers(1, 12),
    now=st.floats(0, 120),
    chance=st.floats(0, 1, exclude_max=True),
    settling=st.booleans(),
    failure=st.sampled_from(["timeout", "no_responders", "lost"]),
)
def test_no_pause_leads_past_the_deadline_or_beyond_the_attempts(call, made, now, chance, settling, failure):  # noqa: PLR0917 Hypothesis passes them by name
    pause = call.pause(made, failure, now, chance, settling=settling)
    if pause is not None:
        assert pause >= 0
        assert now + pause < call.deadline
        assert made < call.attempts or (settling and failure == "no_responders")
    assert now + max(0.0, call.limit(now)) <= max(now, call.deadline) + 1e-9
