"""Credentials that end after five seconds, on the whole product: renewed under load, and nobody notices."""

import json

import pytest

LIFE = 5
RENEWALS = 3


@pytest.fixture
def brief(make_fleet):
    """A deployed fleet whose credentials end soon."""
    with make_fleet("brief") as fleet:
        fleet.up(QUARTERDECK_CREDENTIAL_TTL=str(LIFE))
        yield fleet


def ends(fleet):
    """When the credentials of every replica's slot end, as the node was told."""
    table = json.loads((fleet.home.node / "table.json").read_text())
    return {(row["agent"], slot["n"]): [c["expires"] for c in slot["credentials"]] for row in table["rows"] for slot in row["slots"]}


class Renewals:
    """How often the credentials of the slot that was renewed least have been, since the beginning."""

    def __init__(self, fleet):
        self._fleet = fleet
        self.seen = {}

    def least(self):
        for slot, expires in ends(self._fleet).items():
            self.seen.setdefault(slot, set()).add(max(expires))
        return min(map(len, self.seen.values())) - 1


def taken(fleet):
    return {number for replica in fleet.replicas(agent="core/") for number in fleet.ask(replica, "taken")}


def test_credentials_of_5_seconds_are_renewed_under_load_without_a_lost_message_or_a_failed_ask(brief):
    fleet = brief
    pids = {n: r["pid"] for n, r in fleet.replicas().items()}
    renewals = Renewals(fleet)
    with fleet.load("send") as sends, fleet.load("through") as asks:
        fleet.until(lambda: renewals.least() >= RENEWALS, within=4 * LIFE, what=lambda: f"{renewals.seen} {fleet.logs()}")
        sends.more(10)
        asks.more(10)
    assert (sends.errors, asks.errors) == ([], [])
    fleet.until(lambda: set(sends.done) <= taken(fleet), what=lambda: set(sends.done) - taken(fleet))
    assert {n: r["pid"] for n, r in fleet.replicas().items()} == pids
    fleet.ready()
    print(
        f"\n{renewals.least()} renewals each: {len(sends.done)} messages, 0 lost, {len(asks.done)} asks, 0 failed; "
        f"longest silence {max(sends.gap, asks.gap) * 1000:.0f} ms"
    )
