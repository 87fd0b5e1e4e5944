from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.bus import accounts
from quarterdeck.bus.accounts import Revoked
from quarterdeck.bus.claims import Export, Import
from quarterdeck.errors import Terminal
from quarterdeck.model.desired import Link, Namespace, Quota

CLUSTERS = ("a", "b", "c", "d")
ROOMS = tuple(Namespace(name, Quota(None, None, 4)) for name in CLUSTERS)
LINKS = st.sets(st.tuples(st.sampled_from(CLUSTERS), st.sampled_from(CLUSTERS))).map(lambda pairs: [Link(*pair) for pair in pairs])


def test_a_link_is_an_export_on_one_side_and_an_import_on_the_other():
    a, b = accounts.accounts("s", ROOMS[:2], [Link("a", "b")])
    control = (Export("ask.qd.>", "QD"), Export("in.qd.>", "QD"))
    assert a.exports == control
    assert a.imports == (*_platform("a"), Import("s.b", "ask.a.>", "to.b.ask.a.>"), Import("s.b", "in.a.>", "to.b.in.a.>"))
    assert b.exports == (*control, Export("ask.a.>", "s.a"), Export("in.a.>", "s.a"))
    assert b.imports == _platform("b")


def _platform(cluster):
    return tuple(Import("QD", f"{what}.s.{cluster}.>", f"{what}.{cluster}.>") for what in ("ledger", "blobs"))


@given(LINKS, st.sampled_from(["s", "t"]))
def test_nobody_imports_what_is_not_exported_to_him_nor_speaks_in_anothers_name(links, system):
    specs = {spec.name: spec for spec in accounts.accounts(system, ROOMS, links)}
    for spec in specs.values():
        own = spec.name.partition(".")[2]
        for path in _to_clusters(spec):
            assert Export(path.subject, spec.name) in specs[path.source].exports
            assert path.subject.split(".")[1] == own
    paths = {(spec.name, path.source) for spec in specs.values() for path in _to_clusters(spec)}
    assert paths == {(f"{system}.{x.source}", f"{system}.{x.target}") for x in links if x.source != x.target}


def _to_clusters(spec):
    return [path for path in spec.imports if path.source != "QD"]


@given(LINKS, st.sampled_from(["s", "t"]))
def test_each_reaches_ledger_and_blobs_under_its_own_name_alone(links, system):
    for spec in accounts.accounts(system, ROOMS, links):
        paths = [(path.subject, path.local) for path in spec.imports if path.source == "QD"]
        assert paths == [(f"{what}.{spec.name}.>", f"{what}.{spec.name.partition('.')[2]}.>") for what in ("ledger", "blobs")]


@given(LINKS, st.randoms())
def test_the_order_of_clusters_and_links_changes_nothing(links, random):
    rooms, shuffled = list(ROOMS), list(links)
    random.shuffle(rooms)
    random.shuffle(shuffled)
    assert accounts.accounts("s", rooms, shuffled) == accounts.accounts("s", ROOMS, links)


def test_limits_come_from_the_quota():
    small, large = accounts.limits(Quota(1, 1, 2)), accounts.limits(Quota(1, 1, 20))
    assert small.connections == 2 * 2 + accounts.SPARE_CONNECTIONS
    assert large.connections == 2 * 20 + accounts.SPARE_CONNECTIONS
    assert small.disk == small.streams * accounts.STREAM_BYTES
    assert small.payload == 1024 * 1024


def test_revocations_are_per_cluster_and_the_latest_counts():
    ended = [Revoked("a", "U1", 5.5), Revoked("a", "U1", 3), Revoked("b", "U2", 4)]
    a, b, *_ = accounts.accounts("s", ROOMS, revoked=ended)
    assert a.revocations == (("U1", 5),)
    assert b.revocations == (("U2", 4),)


def test_a_link_to_no_cluster_is_refused():
    with pytest.raises(Terminal, match="links of s lead to clusters it does not have: x"):
        accounts.accounts("s", ROOMS, [Link("a", "x")])


def test_the_control_plane_imports_from_all_clusters_in_its_own_name_and_exports_ledger_and_blobs_alone():
    spec = accounts.platform(["t.a", "s.a"])
    assert [export.subject for export in spec.exports] == ["ledger.*.*.>", "blobs.*.*.>"]
    assert [path.local for path in spec.imports] == [
        "to.s.a.ask.qd.>",
        "to.s.a.in.qd.>",
        "to.t.a.ask.qd.>",
        "to.t.a.in.qd.>",
    ]
