"""What a role and a place allow, for every pair of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import Forbidden
from quarterdeck.model.grant import EVERYTHING, NOTHING, ROLES, Grant

NAMES = st.sampled_from(["one", "one-more", "on", "two"])
GRANTS = st.builds(Grant, st.sampled_from(ROLES), st.none() | NAMES, st.none() | NAMES).map(lambda g: g if g.cluster else Grant(g.role))


@given(GRANTS)
def test_a_place_is_read_as_it_is_written(grant):
    assert Grant.at(grant.role, grant.place) == grant


def test_each_role_may_do_what_those_before_it_may():
    assert [[Grant(mine).at_least(role) for role in ROLES] for mine in ROLES] == [[n <= m for n in range(4)] for m in range(4)]


@given(GRANTS, NAMES, NAMES, st.sampled_from(["", "/reader", "/reader-0"]))
def test_a_bound_grant_reaches_its_cluster_and_nothing_whose_name_begins_alike(grant, system, cluster, rest):
    meant = grant.cluster is None or (grant.cluster == cluster and grant.system in (None, system))
    assert grant.reaches(system, cluster + rest) == meant
    if not meant:
        with pytest.raises(Forbidden, match=f"for {grant.place} only"):
            grant.require(system, cluster + rest)


def test_everything_reaches_everything_and_nothing_nothing():
    for target in ("one", "one/reader", "", "/", "->"):
        assert EVERYTHING.reaches("s", target)
        assert NOTHING.reaches("s", target) == (target.partition("/")[0] == "")
    assert NOTHING.bound


def test_a_system_that_is_not_meant_is_refused_and_its_own_is_the_default():
    grant = Grant("viewer", "one", "mine")
    assert (grant.system_asked(None), grant.system_asked("mine")) == ("mine", "mine")
    with pytest.raises(Forbidden):
        grant.system_asked("other")
    assert (EVERYTHING.system_asked(None), EVERYTHING.system_asked("any")) == (None, "any")
