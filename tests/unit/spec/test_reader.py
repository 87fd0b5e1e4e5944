from __future__ import annotations

import gc
import time

import pytest

from quarterdeck.spec.nodes import plain
from quarterdeck.spec.problems import Source
from quarterdeck.spec.reader import MOST_BYTES, MOST_PROBLEMS, read


def first(text):
    reading = read(text, Source.of(text, "f.yaml"))
    assert reading.problems, "nothing was refused"
    problem = reading.problems[0]
    return problem.message, (problem.line, problem.column)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "the file is empty", (1, 1)),
        ("# only words\n", "the file is empty", (1, 1)),
        ("- a\n", "a spec is a mapping (name: value)", (1, 1)),
        ("a: 1\nb: 2\na: 3\n", '"a" is written twice (first in line 1)', (3, 1)),
        ("a: !!python/object:os.system x\n", "tag tag:yaml.org,2002:python/object:os.system is not allowed", (1, 4)),
        ("a: !x y\n", "tag !x is not allowed", (1, 4)),
        ("1: a\n", "a name must be text", (1, 1)),
        ("? [a]\n: b\n", "a name must be text", (1, 3)),
        ("a: 1\n---\nb: 2\n", "a second document begins here; one file describes one system", (2, 1)),
        ("%YAML 1.1\n---\na: no\n", "directives are not allowed; a spec is YAML 1.2", (2, 1)),
        ("a: .nan\n", ".nan is not a finite number", (1, 4)),
        ("a: -.inf\n", "-.inf is not a finite number", (1, 4)),
        ("a: 1e999\n", "1e999 is not a finite number", (1, 4)),
        ("a: b\x07\n", "character U+0007 is not allowed in a spec", (1, 5)),
        ("x: 1\na: \ud800\n", "character U+D800 is not allowed in a spec", (2, 4)),
        ('a: "\\0"\n', "an escaped control character is not allowed in a spec", (1, 4)),
        ('a: "\\e[31m"\n', "an escaped control character is not allowed in a spec", (1, 4)),
        ("a: &x [*x]\n", "alias *x contains itself", (1, 8)),
        ("a: *x\n", "alias *x has no anchor before it", (1, 4)),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "merge keys (<<) are not part of YAML 1.2", (3, 3)),
        ("a: {b: c\n", "not YAML: expected ',' or '}', but got '<stream end>'", (2, 1)),
        ("a: b: c\n", "not YAML: mapping values are not allowed here", (1, 5)),
        ("a:\n\t- b\n", "not YAML: found character '\\t' that cannot start any token", (2, 1)),
        ('a: "\\U99999999"\n', "not YAML: ", (1, 1)),
    ],
)
def test_what_a_spec_may_not_contain_is_refused_where_it_stands(text, message, place):
    found, where = first(text)
    assert found.startswith(message)
    assert where == place


CORE = {"no": "no", "yes": "yes", "on": "on", "true": True, "False": False, "~": None, "": None, "0o17": 15, "017": 17, "0x1F": 31}
CORE |= {"1_000": "1_000", "1.5": 1.5, "1e3": 1000.0, ".5": 0.5, "12:30:45": "12:30:45", "2001-01-01": "2001-01-01"}


@pytest.mark.parametrize(("text", "value"), CORE.items())
def test_plain_scalars_follow_the_yaml_1_2_core_schema(text, value):
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_aliases_are_allowed_up_to_one_hundred():
    def text(n):
        return "a: &x {b: 1}\n" + "".join(f"c{i}: *x\n" for i in range(n))

    assert read(text(100), Source.of("", "f")).problems == ()
    assert first(text(101))[0] == "more than 100 aliases"


def test_depth_is_allowed_up_to_fifty():
    assert read("a: " + "[" * 49 + "]" * 49, Source.of("", "f")).problems == ()
    assert first("a: " + "[" * 50 + "]" * 50)[0] == "nested deeper than 50 levels"


def test_an_alias_cannot_smuggle_depth():
    levels = "".join(f"l{i}: &a{i} {'[' * 20}*a{i - 1}{']' * 20}\n" for i in range(1, 9))
    assert first("l0: &a0 [x]\n" + levels)[0] == "nested deeper than 50 levels"


def test_reading_ends_when_very_many_faults_were_found():
    text = "".join(f"k{n}: !t v\n" for n in range(1000))
    reading = read(text, Source.of(text, "f.yaml"))
    assert reading.root is None
    assert len(reading.problems) == MOST_PROBLEMS + 1


K = MOST_BYTES
HOSTILE = {
    "comments": "# aaaaaaaa bbbbbbbb\n" * (K // 21),
    "one plain scalar": "a: " + "b" * (K - 10),
    "plain words": "a: " + "b " * (K // 2 - 10),
    "plain lines": "a:\n" + "  b\n" * (K // 4 - 10),
    "literal": "a: |\n" + "  b\n" * (K // 4 - 10),
    "escapes": 'a: "' + "\\x41" * (K // 4 - 10) + '"',
    "folded quotes": 'a: "' + "\\\n" * (K // 2 - 10) + '"',
    "unclosed quote": 'a: "' + "\n" * (K - 10),
    "blank": " " * K,
    "blank lines": "\n" * K,
    "wide mapping": "".join(f"k{i}: v\n" for i in range(K // 11)),
    "wide nested": "spec:\n  clusters:\n" + "".join(f"    c{i}: 1\n" for i in range(K // 18)),
    "flow list": "a: [" + "b," * (K // 2 - 10),
    "open brackets": "[" * K,
    "open braces": "{a: " * (K // 4),
    "dashes": "- " * (K // 2),
    "questions": "? " * (K // 2),
    "deep blocks": "\n".join(" " * i + "a:" for i in range(600)),
    "alias bomb": "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "anchors": "".join(f"- &a{i} x\n" for i in range(K // 12)),
    "tags": "".join(f"k{i}: !t v\n" for i in range(K // 14)),
    "duplicates": "a: b\n" * (K // 5),
    "directives": "%A b\n" * (K // 5),
    "documents": "---\n" * (K // 4),
    "long number": "a: " + "9" * (K - 10),
    "long key": "a" * (K - 10) + ": b",
    "brackets and colons": "{a" + ":a" * (K // 2 - 10),
    "too large": "a" * (K * 8),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_within_one_second_of_cpu(look, name, slowness):
    look("a: b\n")  # the parser is imported
    gc.collect()
    gc.freeze()  # what hundreds of tests before left on the heap is not this text's cost
    start = time.process_time()
    loaded, problems = look(HOSTILE[name])
    spent = time.process_time() - start
    gc.unfreeze()
    assert loaded is None
    assert problems
    assert sum(len(str(problem)) for problem in problems) < 100_000
    assert spent <= 1.0 or spent <= slowness()
