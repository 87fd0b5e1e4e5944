"""Secrets by value: in no form do they stay, and what is none stays as it is."""

import asyncio
import base64
import json
import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.clock import VirtualClock
from quarterdeck.engines.local.node.logs import Logs
from quarterdeck.masks import OPEN, Mask, written

VALUES = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=6, max_size=40).filter(lambda value: len(value.strip()) > 5)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


@given(VALUES, TEXTS, TEXTS)
def test_no_form_of_a_value_stays_in_text_or_bytes(value, before, after):
    mask = Mask([("KEY", value)])
    for form in written(value):
        told = f"{before}|{form}|{after}"
        assert form not in mask.text(told).replace("[secret KEY]", "")
        assert mask.data(told.encode()).decode() == mask.text(told)


@given(VALUES.filter(lambda value: len(value.encode()) >= 9), st.binary(max_size=7), st.binary(max_size=7))
def test_in_base64_a_value_is_found_wherever_it_begins(value, before, after):
    mask = Mask([("KEY", value)])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert "[secret KEY]" in mask.text(encode(before + value.encode() + after).decode())


def test_the_ways_in_which_programs_write_it():
    value = 'pa"ss\\wörd/7'
    mask = Mask([("KEY", value), ("OTHER", "another one")])
    for form in (value, json.dumps(value), json.dumps(value, ensure_ascii=False), repr(value), quote(value, safe=""), value.encode().hex()):
        assert "[secret KEY]" in mask.text(f"x {form} y")
    assert mask.text("another one, and another") == "[secret OTHER], and another"


def test_a_key_of_several_lines_goes_line_by_line():
    mask = Mask([("CERT", "-----BEGIN-----\nMC4CAQAwBQYDK2\nab\n")])
    assert mask.data(b"MC4CAQAwBQYDK2\nab") == b"[secret CERT]\nab"


def test_what_cannot_be_told_from_words_stays():
    assert not Mask([("MODE", "prod"), ("EMPTY", "")])
    assert Mask([("MODE", "prod")]).text("product") == "product"
    assert OPEN.text("anything") == "anything"
    assert OPEN.longest == 0


def test_values_of_documents_and_not_their_keys():
    mask = Mask([("KEY", "hunter2")])
    told = {"hunter2": ["hunter2", 1, None, {"a": "b hunter2"}], "n": 2.5}
    assert mask.within(told) == {"hunter2": ["[secret KEY]", 1, None, {"a": "b [secret KEY]"}], "n": 2.5}
    assert OPEN.within(told) is told


@pytest.mark.parametrize("size", [997, 4096, 60_000])
@pytest.mark.parametrize("before", [0, 16_370, 16_384, 40_000])
def test_a_value_in_a_long_line_is_found_however_it_arrives(tmp_path, size, before):
    """A line is cut where it is too long, and read as it comes: neither cuts a secret in two unseen."""
    slipped = "hunter2-and-some-more"
    text = b"x" * before + slipped.encode() + b"y" * 20_000 + slipped.encode() + b"\nnext hunter2-and\n" + slipped.encode()

    async def body():
        pipe = Logs(tmp_path, VirtualClock()).reader("a", "out", Mask([("KEY", slipped)]))
        for at in range(0, len(text), size):
            os.write(pipe.write_end, text[at : at + size])
            pipe._read_once()
        pipe.started()
        pipe.finish()

    asyncio.run(body())
    lines = (tmp_path / "a.log").read_text().splitlines()
    whole = "".join(line.split(" ", 2)[2] for line in lines)
    assert slipped not in whole
    assert (whole.count("[secret KEY]"), whole.count("x"), whole.count("y")) == (3, before + len("x"), 20_000)
    assert max(len(line) for line in lines) < 17_000
