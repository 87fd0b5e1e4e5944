"""Every kind of fault that pydantic finds, in words that name no input, pattern or parser."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import quarterdeck
from quarterdeck.model.wording import nearest, wrong

LETTERS = "small letters, digits, - and _, with a letter or digit at both ends"
NAME = r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"
RIGHT = {"verb": "x", "many": 1, "share": 0.5, "text": "x", "word": "a", "items": [1], "yes": True, "target": "a/b"}


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    verb: str = Field(pattern=NAME)
    many: int = Field(ge=1, le=100)
    share: float = Field(gt=0, lt=1)
    text: str = Field(min_length=1, max_length=1000)
    word: Literal["a", "b"]
    items: Annotated[list[int], Field(min_length=1, max_length=2)]
    yes: bool
    target: str = Field(pattern=r"^[a-z0-9_-]+/[a-z0-9_-]+$")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("verb", "Two Words", f"'Two Words' is not written as this must be: {LETTERS}"),
        ("target", "a", "'a' is not written as this must be: cluster/agent, in small letters, digits, - and _"),
        ("many", "x", "'x' is no whole number"),
        ("many", 0, "0 is too small: at least 1"),
        ("many", 101, "101 is too large: at most 100"),
        ("share", 0, "0 is too small: more than 0"),
        ("share", 1.5, "1.5 is too large: less than 1"),
        ("share", "y", "'y' is no number"),
        ("text", "", "this is empty"),
        ("text", "x" * 1001, "at most 1,000 characters, this has 1001"),
        ("text", 5, "5 is no text"),
        ("word", "c", "'c' is none of 'a' or 'b'"),
        ("items", [], "at least 1 item, this has 0"),
        ("items", 5, "this must be a list"),
        ("yes", "perhaps", "'perhaps' is neither true nor false"),
        ("other", 1, "there is no such field"),
        ("verb", None, "this is no text"),
    ],
)
def test_a_fault_is_told_in_words(field, value, told):
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({**RIGHT, field: value})
    assert wrong(caught.value.errors()[0]) == told


def test_what_is_missing_and_what_is_very_long():
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({name: value for name, value in RIGHT.items() if name != "verb"})
    assert wrong(caught.value.errors()[0]) == "this is needed, and was not given"
    with pytest.raises(ValidationError) as caught:
        Body.model_validate({**RIGHT, "verb": "X" * 500})
    assert len(wrong(caught.value.errors()[0])) < 250


@pytest.mark.parametrize(
    ("given", "allowed", "alike", "meant"),
    [
        ("analists", ("collectors", "analysts"), 0.6, "analysts"),
        ("bogus", ("logs",), 0.7, ""),
        ("statu", ("status",), 0.7, "status"),
        ("", ("a",), 0.6, ""),
        ("x" * 101, ("x" * 101,), 0.6, ""),
        ("b", {"bb": 1}, 0.6, "bb"),
    ],
)
def test_the_nearest_name_is_what_was_meant_and_long_input_is_not_looked_at(given, allowed, alike, meant):
    assert nearest(given, allowed, alike) == meant


def test_one_helper_looks_for_near_names():
    """Only the client, which is light by itself, has its own."""
    sources = Path(quarterdeck.__file__).parent
    found = {str(path.relative_to(sources)) for path in sources.rglob("*.py") if "get_close_matches" in path.read_text()}
    assert found == {"model/wording.py", "client/contexts.py"}
