"""The journal's proofs over HTTP: what is kept elsewhere, and an export that the home's key has signed."""

from quarterdeck.store import keys
from quarterdeck.store.chain import Head
from quarterdeck.store.verify import verify


def test_the_head_carries_the_key_and_both_prove_an_export(control, tmp_path):
    control.up()
    head = control.get("/v1/journal/head").json
    assert head["key"] == keys.published(control.home.keys)
    path = tmp_path / "journal.jsonl"
    path.write_text(control.get("/v1/journal/export").text)
    verdict = verify(path, expected_head=Head(head["seq"], head["hash"], 0.0), key=head["key"])
    assert (verdict.ok, verdict.unproven, verdict.signed) == (True, (), verdict.head.seq)
    path.write_text(path.read_text().replace(f'"key":"{head["key"]}",', ""))
    assert "is not signed" in verify(path).problems[0]


def test_the_verdict_says_what_is_signed(control):
    control.up()
    verdict = control.get("/v1/journal/verify").json
    assert (verdict["ok"], verdict["signed"], verdict["unproven"]) == (True, 0, [])
