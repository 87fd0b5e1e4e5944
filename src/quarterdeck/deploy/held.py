"""Work that is held back, as Conditions. They are read from what holds it back, so that they end in the same moment as it does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from quarterdeck.deploy.converged import Conditions
from quarterdeck.model.desired import Desired
from quarterdeck.model.records import Condition
from quarterdeck.store.trips import Trip

WITHIN_BUDGET: Final = "WithinBudget"


def held_back(desired: Desired, tripped: Iterable[Trip], now: float) -> Conditions:
    """A false Condition for each trip that a budget of the spec still asks for."""
    guarded = {one.cluster for one in desired.budgets if one.money_per_minute is not None}
    found = [_condition(trip, now) for trip in tripped if trip.cluster in guarded]
    return {(one.kind, one.target): one for one in found}


def _condition(trip: Trip, now: float) -> Condition:
    message = f"{trip.reason}: its tasks are held back until qd budget resume or the next UTC day"
    return Condition(WITHIN_BUDGET, trip.cluster or trip.system, "false", "Tripped", message, trip.at, now, trip.reason)
