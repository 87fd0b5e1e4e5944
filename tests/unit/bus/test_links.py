from quarterdeck.bus.links import Call, Circuit, Routes, Ticket
from quarterdeck.model.desired import Breaker, Link

POLICY = Breaker(failures=3, reset=30.0, probes=2)
LINK = Link("collectors", "analysts", timeout=5.0, attempts=3)


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(POLICY)
    for _ in range(3):
        circuit, ticket = circuit.admit(now)
        circuit = circuit.failed(ticket, now)
    return circuit


def test_it_opens_after_failures_in_a_row_and_not_before():
    circuit = Circuit(POLICY)
    for _ in range(2):
        circuit, ticket = circuit.admit(0.0)
        circuit = circuit.failed(ticket, 0.0)
    circuit, ticket = circuit.admit(0.0)
    circuit = circuit.succeeded(ticket, 0.0)
    for _ in range(2):
        circuit, ticket = circuit.admit(0.0)
        circuit = circuit.failed(ticket, 0.0)
    assert circuit.state == "closed"
    circuit, ticket = circuit.admit(0.0)
    assert circuit.failed(ticket, 0.0).state == "open"


def test_an_open_one_refuses_until_reset_then_lets_probes_through():
    circuit, ticket = opened(now=100.0).admit(129.9)
    assert (circuit.state, ticket) == ("open", None)
    circuit, first = circuit.admit(130.0)
    circuit, second = circuit.admit(130.0)
    circuit, third = circuit.admit(130.0)
    assert circuit.state == "half-open"
    assert first is not None
    assert second is not None
    assert third is None


def test_a_probe_decides():
    half, ticket = opened().admit(30.0)
    assert half.succeeded(ticket, 31.0).state == "closed"
    again = half.failed(ticket, 31.0)
    assert (again.state, again.since) == ("open", 31.0)
    assert again.admit(60.9)[1] is None


def test_an_abandoned_probe_makes_room_for_another():
    half, first = opened().admit(30.0)
    half, _ = half.admit(30.0)
    assert half.admit(30.0)[1] is None
    assert half.abandoned(first).admit(30.0)[1] is not None


def test_a_straggler_of_an_earlier_state_changes_nothing():
    straggler = Ticket(epoch=0)
    half, _ = opened().admit(30.0)
    for late in (half.succeeded(straggler, 30.0), half.failed(straggler, 30.0), half.abandoned(straggler)):
        assert late == half


def test_attempts_end_with_the_policy_and_never_pass_the_deadline():
    call = Call(deadline=10.0, attempt=5.0, attempts=3)
    assert call.limit(0.0) == 5.0
    assert call.limit(8.0) == 2.0
    assert call.limit(11.0) <= 0
    assert call.pause(3, "timeout", 1.0, 0.5, settling=False) is None
    assert call.pause(1, "timeout", 9.99, 0.99, settling=False) is None


def test_backoff_is_full_jitter_that_doubles_to_a_cap():
    call = Call(deadline=1000.0, attempt=5.0, attempts=100)
    assert [call.pause(made, "no_responders", 0.0, 1.0, settling=False) for made in (1, 2, 3, 4, 5, 9)] == [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert call.pause(5, "no_responders", 0.0, 0.0, settling=False) == 0.0


def test_right_after_a_connection_missing_responders_are_waited_for():
    call = Call(deadline=10.0, attempt=5.0, attempts=1)
    assert call.pause(0, "no_responders", 0.0, 0.5, settling=True) == 0.05
    assert call.pause(1, "timeout", 0.0, 0.5, settling=True) is None
    assert call.pause(0, "no_responders", 9.96, 0.5, settling=True) is None


def test_routes_lead_to_the_own_cluster_and_along_links_only():
    routes = Routes("collectors", (LINK, Link("analysts", "reporting")))
    assert routes.link("analysts") == LINK
    assert routes.link("collectors") == Link("collectors", "collectors")
    assert routes.link("reporting") is None
    assert Routes("qd", anywhere=True).link("triage.analysts") is not None


def test_a_callers_timeout_limits_the_whole_call():
    routes = Routes("collectors", (LINK,))
    assert routes.call(LINK, 100.0, timeout=None, until=None) == Call(115.0, 5.0, 3)
    assert routes.call(LINK, 100.0, timeout=60.0, until=None) == Call(160.0, 5.0, 3)
    assert routes.call(LINK, 100.0, timeout=60.0, until=103.0) == Call(103.0, 5.0, 3)
    inside = routes.link("collectors")
    assert routes.call(inside, 100.0, timeout=60.0, until=None) == Call(160.0, 60.0, 3)
