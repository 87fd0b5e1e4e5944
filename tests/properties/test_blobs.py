"""References to large bodies: what is one, and that no value can be taken for one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import UserError
from quarterdeck.model.blobs import MOST_BLOB, Get, Put, Ref, pack, told, unpack

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
REFS = st.builds(Ref, DIGESTS, st.integers(1, MOST_BLOB))
JSON = st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists, max_leaves=5)


@given(REFS)
def test_what_is_written_is_read_again(ref):
    assert Ref.read(str(ref)) == ref
    assert Ref.in_body(ref.body) == ref


@given(JSON | REFS.map(lambda ref: ref.body))
def test_no_value_is_a_reference(value):
    text = json.dumps(value)
    assert Ref.in_body(text) is None
    assert told(text) == [value]


@given(REFS)
def test_a_text_that_spells_a_reference_is_another_payload(ref):
    assert told(json.dumps(ref.body)) != told(ref.body)
    assert told(json.dumps(str(ref))) != told(ref.body)


@given(st.text(), REFS)
def test_nothing_else_names_a_blob(text, ref):
    for name in (text, f"{ref}{text}", f"{text}{ref}"):
        if name != str(ref):
            with pytest.raises(UserError, match="names no blob"):
                Ref.read(name)


@pytest.mark.parametrize("size", ["0", "01", "-1", "+1", "1_0", "1.0", "", "٣", "67108865", "99999999999", "1\n"])
def test_a_size_is_written_in_one_way(size):
    with pytest.raises(UserError, match="names no blob"):
        Ref.read(f"sha256:{'a' * 64}:{size}")


@given(REFS, st.data())
def test_requests_are_read_as_they_were_written(ref, data):
    at, piece = data.draw(st.integers(0, ref.size)), data.draw(st.binary(max_size=100))
    for asked in (Put(ref, at, piece), Get(ref, at)):
        assert unpack(pack(asked)) == asked


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_other_request_is_refused(body):
    with pytest.raises(UserError):
        unpack(body)
