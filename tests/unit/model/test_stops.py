"""The verdict of a proof, and its document."""

import pytest

from quarterdeck.model.stops import EXIT_CODES, Source, StopProof, verdict


def sources(*found):
    return tuple(Source("somewhere", "things", each, "looked") for each in found)


@pytest.mark.parametrize(
    ("found", "outcome", "code"),
    [
        ((0, 0, 0), "done", 0),
        ((0, 1, 0), "failed", 1),
        ((0, None, 0), "unknown", 5),
        ((None, 1, 0), "failed", 1),
        ((None, None), "unknown", 5),
    ],
)
def test_unknown_is_no_zero(found, outcome, code):
    assert verdict(sources(*found)) == outcome
    assert EXIT_CODES[outcome] == code


def test_the_document_says_unknown_in_words():
    document = StopProof("trio", "core", 1.0, 12.4, sources(0, None), ("change 1",)).to_json()
    assert [s["found"] for s in document["sources"]] == [0, "unknown"]
    assert (document["kind"], document["ms"], document["outcome"], document["kept"]) == ("StopProof", 12, "unknown", ["change 1"])
