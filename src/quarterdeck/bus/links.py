"""The policy of one call over a Link: circuit breaker, attempts, time limits and back-off.

Pure: values in, values out; time (monotonic seconds) and chance are arguments. The client feeds it and sleeps.

Breaker after Nygard's "Release It!" with the states of resilience4j; full-jitter back-off after "Exponential Backoff And Jitter"
(AWS Architecture Blog, 2015).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from quarterdeck.model.desired import Breaker, Link
from quarterdeck.states import BREAKER

Failure = Literal["timeout", "no_responders", "lost"]
"""Why an attempt got no answer; `lost` = the connection to the bus broke meanwhile. An error that was answered is not among them."""

BACKOFF_BASE: Final = 0.2
BACKOFF_CAP: Final = 2.0
SETTLING: Final = 2.0
"""Seconds after our own (re)connection in which "no responders" only means that the others are not back yet."""
SETTLING_PAUSE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Ticket:
    """Permission for one call; `epoch` is the breaker's at that time, so that a straggler of an earlier state changes nothing."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit breaker as a value: `failures` in a row while closed, `since` when the state was entered, `probing` calls in half-open."""

    policy: Breaker
    state: str = BREAKER.first
    failures: int = 0
    since: float = 0.0
    probing: int = 0
    epoch: int = 0

    def admit(self, now: float) -> tuple[Circuit, Ticket | None]:
        """Ask for one call: the circuit afterwards, and a ticket or None (refused). Every ticket must come back exactly once."""
        circuit = self
        if self.state == "open" and now >= self.since + self.policy.reset:
            circuit = self._enter("half-open", now)
        if circuit.state == "open" or (circuit.state == "half-open" and circuit.probing >= circuit.policy.probes):
            return circuit, None
        if circuit.state == "half-open":
            circuit = replace(circuit, probing=circuit.probing + 1)
        return circuit, Ticket(circuit.epoch)

    def succeeded(self, ticket: Ticket, now: float) -> Circuit:
        """The other side answered, be it with an error of its own: a success of the path."""
        if ticket.epoch != self.epoch:
            return self
        return self._enter("closed", now) if self.state == "half-open" else replace(self, failures=0)

    def failed(self, ticket: Ticket, now: float) -> Circuit:
        """Nobody answered."""
        if ticket.epoch != self.epoch:
            return self
        if self.state == "half-open":
            return self._enter("open", now)
        failures = self.failures + 1
        return self._enter("open", now) if failures >= self.policy.failures else replace(self, failures=failures)

    def abandoned(self, ticket: Ticket) -> Circuit:
        """The call ended without telling anything about the path: cancelled, or our own connection broke."""
        if ticket.epoch != self.epoch or self.state != "half-open":
            return self
        return replace(self, probing=self.probing - 1)

    def _enter(self, state: str, now: float) -> Circuit:
        return Circuit(self.policy, BREAKER.step(self.state, state), since=now, epoch=self.epoch + 1)


@dataclass(frozen=True, slots=True)
class Call:
    """One call under a policy: when it must be over (`deadline`, monotonic seconds), how long one attempt may take, how many there are."""

    deadline: float
    attempt: float
    attempts: int

    def limit(self, now: float) -> float:
        """Seconds the next attempt may take; zero or less = the call is over."""
        return min(self.attempt, self.deadline - now)

    def pause(self, made: int, failure: Failure, now: float, chance: float, *, settling: bool) -> float | None:
        """Seconds to wait before trying again, or None to give up, after `made` attempts.

        `chance` is uniform in [0, 1). While our own connection is settling, "no responders" is tried again without end but the deadline.
        """
        if settling and failure == "no_responders":
            wait = SETTLING_PAUSE
        elif made >= self.attempts:
            return None
        else:
            wait = chance * min(BACKOFF_CAP, BACKOFF_BASE * 2 ** (made - 1))
        return wait if now + wait < self.deadline else None


@dataclass(frozen=True, slots=True)
class Routes:
    """Where a sender may send: its own cluster (always), and the targets of its links. `anywhere` is the control plane's."""

    cluster: str
    links: tuple[Link, ...] = ()
    anywhere: bool = False
    _targets: dict[str, Link] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        targets = {link.target: link for link in self.links if link.source == self.cluster}
        object.__setattr__(self, "_targets", targets)

    def link(self, cluster: str) -> Link | None:
        """The policy towards a cluster: its Link, the defaults inside the own cluster, None where nothing leads."""
        own = cluster == self.cluster or self.anywhere
        return self._targets.get(cluster) or (Link(self.cluster, cluster) if own else None)

    def call(self, link: Link, now: float, *, timeout: float | None, until: float | None) -> Call:
        """The limits of one call: `timeout` seconds in all (default: the link's timeout times its attempts), never past `until`.

        An attempt takes at most the link's timeout; inside the own cluster, where no link limits it, a caller's `timeout` does.
        """
        total = link.timeout * link.attempts if timeout is None else timeout
        inside = link.target == self.cluster and link.target not in self._targets
        attempt = timeout if inside and timeout is not None else link.timeout
        deadline = now + total if until is None else min(now + total, until)
        return Call(deadline, attempt, link.attempts)
