"""Whatever a replica sends is an operation or an error of the user's kind, in a bounded time; whatever is drawn, tenants take turns."""

import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.errors import UserError
from quarterdeck.model import ops
from quarterdeck.model.work import Target
from quarterdeck.store.fairness import Fairness
from quarterdeck.work.requests import unpack

NUMBERS = st.integers() | st.floats() | st.integers(10**300, 10**310)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({name for kind in ops.WORDS.values() for name in kind.__dataclass_fields__})
SECONDS = 2.0


def read(body):
    began = time.perf_counter()
    try:
        found = unpack(body)
    except UserError:
        pass
    else:
        assert all(type(op) in ops.WORDS.values() for op in found)
    assert time.perf_counter() - began < SECONDS


@settings(max_examples=400)
@given(st.binary(max_size=300))
def test_any_bytes_are_an_operation_or_an_error_of_the_users(body):
    read(body)


@settings(max_examples=400)
@given(JSON)
def test_any_json_is_an_operation_or_an_error_of_the_users(value):
    read(json.dumps(value).encode())


@st.composite
def almost(draw):
    """A request that is right but for some of its fields."""
    word = draw(st.sampled_from(sorted(ops.WORDS)))
    names = list(ops.WORDS[word].__dataclass_fields__)
    likely = st.sampled_from(["t", "1", '{"a": 1}', "unsafe", "done", 0, 1, True, None, [], ["a"], [["a", 1]], {}, {"calls": 1}])
    values = {name: draw(likely | JSON) for name in names if draw(st.integers(0, 9))}
    if not draw(st.integers(0, 9)):
        values[draw(st.sampled_from(FIELDS))] = draw(JSON)
    return [word, values]


@settings(max_examples=1000)
@given(st.lists(almost(), min_size=1, max_size=3))
def test_any_fields_are_an_operation_or_an_error_of_the_users(asked):
    read(json.dumps({"ops": asked}).encode())


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
def test_of_tenants_that_wait_none_is_ahead_of_another_by_more_than_one(wanted):
    fairness, line = Fairness(), (Target("s", "c", "a"), 0)
    queue = sorted((fairness.tag(line, tenant), n, tenant) for n, tenant in enumerate(wanted))
    served = dict.fromkeys(wanted, 0)
    left = {tenant: wanted.count(tenant) for tenant in wanted}
    for tag, _, tenant in queue:
        fairness.take(line, tag)
        served[tenant] += 1
        left[tenant] -= 1
        behind = [served[other] for other in served if left[other]]
        assert not behind or served[tenant] - min(behind) <= 1
