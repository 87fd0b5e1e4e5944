"""A line that is typed to an agent, what its verbs take in words, and rows of a terminal."""

import pytest

from quarterdeck.cli.console import rows
from quarterdeck.cli.typed import Typed, signature
from quarterdeck.cli.usage import UsageError

VERBS = {"submit": {}, "status": {}, "12": {}, "true": {}}


@pytest.mark.parametrize(
    ("line", "before", "verb", "payload"),
    [
        ("status", "", "status", None),
        ('submit {"a": [1, 2]}', "", "submit", {"a": [1, 2]}),
        ('submit \t "two  words"', "", "submit", "two  words"),
        ('{"a": 1}', "submit", "submit", {"a": 1}),
        ("-1.5", "submit", "submit", -1.5),
        ("false", "submit", "submit", False),
        ('"text alone"', "submit", "submit", "text alone"),
        ("12", "submit", "12", None),
        ("12 7", "submit", "12", 7),
        ("true", "submit", "true", None),
        ("unknown 3", "submit", "unknown", 3),
    ],
)
def test_a_line_is_a_verb_and_a_payload_or_a_payload_for_the_verb_before(line, before, verb, payload):
    typed = Typed.of(line, VERBS, before)
    assert (typed.verb, typed.payload(VERBS)) == (verb, payload)


def test_a_payload_without_a_verb_teaches_which_there_are():
    with pytest.raises(UsageError) as refused:
        Typed.of("[1]", VERBS, "")
    assert refused.value.hint == "begin with a verb: submit, status, 12, true"
    with pytest.raises(UsageError) as refused:
        Typed.of("[1]", {}, "")
    assert refused.value.hint == "begin with a verb: VERB PAYLOAD"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("submit hello", 'text goes into quotes, fields into braces: submit "hello" or submit {"name": "Ada"}'),
        ("submit -", 'text goes into quotes, fields into braces: submit "hello" or submit {"name": "Ada"}'),  # stdin is the console's
        ("hello world", "begin with a verb: submit, status, 12, true"),
        ("submit " + "[" * 100_000, 'text goes into quotes, fields into braces: submit "hello" or submit {"name": "Ada"}'),
    ],
)
def test_what_is_not_json_teaches_what_would_be(line, hint):
    with pytest.raises(UsageError) as refused:
        Typed.of(line, VERBS, "").payload(VERBS)
    assert refused.value.message.startswith("the payload is not JSON: ")
    assert refused.value.hint == hint


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (None, "v"),
        ({"type": "null"}, "v"),
        ({"type": "string"}, "v string"),
        ({}, "v JSON"),
        ({"type": "object"}, "v {…}"),
        ({"type": "array", "items": {"type": "number"}}, "v [number, …]"),
        ({"type": ["string", "null"]}, "v string | null"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "v integer | null"),
        ({"enum": ["a", 1, None]}, 'v "a" | 1 | null'),
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}, "required": ["a"]},
            'v {"a": string, "b"?: number}',
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "required": 7,
                "$defs": {"A": {"type": "object", "properties": {"b": {"$ref": "#/$defs/A"}}}},
            },
            'v {"a"?: {"b"?: {"b"?: {…}}}}',
        ),
        ({"$ref": "#/$defs/A"}, "v JSON"),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}, "v JSON"),
        ({"type": "object", "properties": {"\x1b[2J\n": {"type": "\x9b"}}}, 'v {"\\u001b[2J\\n"?: �}'),
    ],
)
def test_what_a_verb_takes_is_said_in_words(schema, text):
    assert signature("v", schema) == text


def test_a_schema_of_any_size_is_said_in_few():
    part = {"type": "string"}
    for _ in range(50):
        part = {"type": "object", "properties": {f"{n}{'x' * 100}": part for n in range(50)}}
    assert len(signature("v", part)) < 600
    many = signature("v", {"enum": list(range(1000))})
    assert many == "v " + " | ".join(map(str, range(12))) + " | …"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", [""]),
        ("abcd", ["abcd"]),
        ("abcdef", ["abcd", "ef"]),
        ("\x1b[36mab\x1b[0mcdef", ["\x1b[36mab\x1b[0mcd", "ef"]),
        ("日本語", ["日本", "語"]),
        ("a日本", ["a日", "本"]),
        ("e\u0301e\u0301e\u0301e\u0301e", ["e\u0301e\u0301e\u0301e\u0301", "e"]),
    ],
)
def test_rows_are_as_wide_as_the_terminal(text, shown):
    assert list(rows(text, 4)) == shown
