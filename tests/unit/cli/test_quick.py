"""The quick reading of a command line and Typer's agree, line by line; what is not plain is left to Typer."""

import functools

import pytest

from quarterdeck.cli import dispatch
from quarterdeck.cli.dispatch import load, root
from quarterdeck.cli.quick import read

PLAIN = """
status
status --watch
status -w -o json
-o json status
--home /tmp/x -s triage status -q
-s one status -s two
status --output=yaml
status --system=
up
up fleet.yaml --watch --progress plain
up --timeout 90s --index 41 --reason why --port 0
up --reason=a=b
plan - --detailed-exitcode
get replicas
get replicas collectors/collector-1 -o wide
scale analysts/analyst 5 --reason load --until 18:00
scale --reason load analysts/analyst 0
ask collectors/intake submit {"a":1} --timeout 3s
ask collectors/intake submit -
attach collectors/intake --timeout 3s --no-input
journal
journal -f --target a/b -n 5
journal head
journal -o json head
journal head -o json
journal export out.jsonl
journal verify --key ab
api openapi
rollback
rollback 3
rollback --revision 3
down --yes --purge
logs a/b-0 -f --since 10m -p -t
wait --for a/b=ready
completion bash
revert 12
""".strip().splitlines()
NOT_PLAIN = """
status --help
status --nonsense
status -wq
up --index many
up --reason -x
scale analysts/analyst
scale analysts/analyst -1
scale analysts/analyst 5 6 --reason x
scale analysts/analyst 5
journal -n 501
get
nothing
journal nothing
api
status --watch=yes
status -o nonsense
status -ojson
status --home
-- status
""".strip("\n").splitlines()


@pytest.mark.parametrize("line", PLAIN)
def test_both_read_the_same(monkeypatch, line):
    seen = []

    def spied(verb):
        function = load(verb)

        @functools.wraps(function)
        def spy(session, **given):
            seen.append((function, given, session))
            return 0

        return spy

    call = read(line.split())
    assert call is not None
    monkeypatch.setattr(dispatch, "load", spied)
    with pytest.raises(SystemExit) as ended:
        root()(line.split(), prog_name="qd")
    assert ended.value.code == 0
    ((function, given, session),) = seen
    assert (call.function, call.given) == (function, given)
    assert (call.choices.system, call.choices.quiet) == (session.system, session.quiet)
    assert (call.choices.output or "table") == session.output
    assert call.choices.home is None or call.choices.home == session.home.root


@pytest.mark.parametrize("line", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_typer(line):
    assert read(line.split()) is None
