"""What the documents show is true: specs validate, code runs, verbs and files exist."""

import asyncio
import re
import sys
import textwrap
import types
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from quarterdeck.agents import testing
from quarterdeck.cli.dispatch import command
from quarterdeck.cli.main import main
from quarterdeck.cli.verbs import VERBS, find
from quarterdeck.signin.settings import read
from quarterdeck.spec.load import load

ROOT = Path(__file__).parents[2]
OF_A_PROJECT = ROOT / "src/quarterdeck/templates/triage.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "examples/triage/README.md", OF_A_PROJECT])
FENCE = re.compile(r"^```(\w*)[^`\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(\$|qd|make|pip|curl) ", re.MULTILINE)
OF_OTHERS = re.compile(r"^<!-- not run: .+ -->\n```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_OURS = re.compile(r"<!-- not run: .+ -->\n\Z")
PLACED = re.compile(r"# at: (spec(?:\.\w+)*)\n")
VARIABLES = {"PAGER_KEY": "x", "OTHER_NAME": "x"}
DAEMONS = {"serve", "node", "fork", "replica"}


def fenced(language):
    """Every fenced block of a language as (document:line, text)."""
    for path in DOCUMENTS:
        text = path.read_text()
        for found in FENCE.finditer(text):
            foreign = language == "yaml" and NOT_OURS.search(text[: found.start()])
            if found[1] == language and not foreign:
                yield f"{path.relative_to(ROOT)}:{text[: found.start()].count(chr(10)) + 1}", found[2]


def shown_commands():
    """Every command line of `qd` in the documents: in console blocks, and in code spans between words."""
    for where, text in fenced("console"):
        for line in text.splitlines():
            if line.startswith("$ ") and " qd " in f" {line[2:]} ":
                yield where, line[2:].split("   ")[0].split(" #")[0].split(" && ")[-1]
    for path in DOCUMENTS:
        for found in re.finditer(r"`(qd [a-z][^`]*)`", path.read_text()):
            yield str(path.relative_to(ROOT)), found[1]


SPECS = [(where, text) for where, text in fenced("yaml") if "kind: System" in text]


@pytest.mark.parametrize(("where", "text"), SPECS, ids=[where for where, _ in SPECS])
def test_every_whole_spec_in_the_documents_validates(where, text):
    assert load(text, filename=where, base=ROOT / "examples" / "triage", environ=VARIABLES, check_entries=False).system.name


def test_every_sign_in_file_in_the_documents_is_one(tmp_path):
    found = [text for _, text in fenced("yaml") if "kind: SignIn" in text]
    assert found
    (tmp_path / "oidc.secret").write_text("a secret")
    for text in found:
        (tmp_path / "signin.yaml").write_text(text)
        assert read(tmp_path / "signin.yaml", {}).sign_in.grants


def test_a_part_of_a_spec_says_where_it_belongs_and_is_valid_there(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/cert.pem").write_text("a certificate")
    parts = [(where, text) for where, text in fenced("yaml") if "apiVersion" not in text and "decisions" not in where]
    assert parts
    for where, text in parts:
        place = PLACED.match(text)
        assert place, f"{where}: begin with the line `# at: spec.clusters.<name>.agents`"
        whole = text[place.end() :]
        for depth in reversed(place[1].split(".")):
            whole = f"{depth}:\n" + textwrap.indent(whole, "  ")
        head = "apiVersion: quarterdeck.dev/v1alpha1\nkind: System\nmetadata: {name: part}\n"
        found = load(head + whole, filename=where, base=tmp_path, environ=VARIABLES, check_entries=False)
        assert found.system.name == "part"


def test_the_readme_shows_a_spec_and_it_is_the_examples():
    assert (ROOT / "examples/triage/quarterdeck.yaml").read_text() in [text for where, text in SPECS if where.startswith("README.md")]


def test_the_agent_of_the_readme_runs():
    code = next(text for where, text in fenced("python") if where.startswith("README.md"))
    module = types.ModuleType("readme_agent")
    sys.modules["readme_agent"] = module
    exec(compile(code, "README.md", "exec"), vars(module))  # noqa: S102 the example of our own README

    reporter = module.Agent()
    collected = []

    @reporter.on("collect")
    def collect(payload: dict) -> None:
        collected.append(payload)

    async def scenario():
        named = {"analysts/analyst": module.analyst, "reporting/reporter": reporter}
        async with testing.fleet(named) as fleet:
            score = await fleet.ask("analysts/analyst", "score", {"lines": ["ERROR x", "INFO y"]})
            await fleet.settled()
            return score

    assert asyncio.run(scenario()) == 0.5
    assert collected == [{"errors": 1}]


def test_the_readme_of_a_written_project_does_there_what_it_shows(documents):
    with documents.place() as shell:
        shell.run("qd init incidents --template triage && cd incidents")
        assert shell.code == 0
        assert (shell.folder / "README.md").read_text() == OF_A_PROJECT.read_text()
        assert {fence.kind for fence in documents.fences(OF_A_PROJECT)} == {"text", "console"}
        documents.follow(OF_A_PROJECT, shell)


def test_yaml_of_other_programs_is_yaml_too():
    foreign = [text for path in DOCUMENTS for text in OF_OTHERS.findall(path.read_text())]
    assert foreign
    for text in foreign:
        assert YAML(typ="safe", pure=True).load(text), text


def test_every_command_of_a_page_is_in_a_fence_that_is_carried_out(documents):
    """`console` shows commands behind `$ ` and is carried out; in a fence of another kind nothing would be."""
    found = [fence for path in DOCUMENTS for fence in documents.fences(path) if fence.kind != "console" and path.stem != "errors"]
    assert [fence.where for fence in found if fence.kind == "sh" or COMMAND.search(fence.text)] == []


def test_every_fence_of_the_example_has_a_language(documents):
    assert [fence.where for fence in documents.fences(ROOT / "examples/triage/README.md") if not fence.kind] == []


def test_python_blocks_are_python():
    for where, text in fenced("python"):
        compile(text, where, "exec", flags=0x2000)  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT


def test_every_command_in_the_documents_names_a_verb_that_exists():
    found = list(shown_commands())
    assert len(found) > 30
    named = {(where, line): re.search(r"\bqd ([a-z]+(?:-[a-z]+)*)", line) for where, line in found}
    assert {k: v[1] for k, v in named.items() if v and v[1] not in DAEMONS and find(v[1]) is None} == {}


def test_every_option_in_the_documents_exists():
    unknown = []
    for where, line in shown_commands():
        found = re.search(r"\bqd ([a-z]+(?:-[a-z]+)*)(.*)", line)
        verb = find(found[1]) if found else None
        if verb is not None:
            known = _options(verb).union(*map(_options, verb.parts))
            unknown += [(where, line, option) for option in re.findall(r"(?<!\S)--[a-z-]+", found[2]) if option not in known]
    assert unknown == []


@cache
def _options(verb):
    import typer  # noqa: PLC0415 for this alone

    made = typer.main.get_command(command(verb))
    inner = list(getattr(made, "commands", {}).values())
    return {o for c in (made, *inner) for p in c.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}


def test_every_verb_and_part_is_documented():
    text = (ROOT / "docs/reference/cli.md").read_text()
    for verb in VERBS:
        assert f"### `qd {verb.name}`\n" in text
        assert all(f"### `qd {verb.name} {part.name}`\n" in text for part in verb.parts)


def test_every_relative_link_leads_somewhere():
    links = [(path, to) for path in DOCUMENTS for to in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())]
    assert len(links) > 15
    assert [f"{path.relative_to(ROOT)}: {to}" for path, to in links if not (path.parent / to).exists()] == []


def test_the_two_commands_of_the_readme_are_targets_of_the_makefile():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    shown = {w for path in DOCUMENTS for w in re.findall(r"(?:\$ |`)make ([a-z]+)", path.read_text())}
    assert {"up", "test"} <= shown <= set(targets)


def test_the_readme_shows_all_seven_phases_of_a_real_run():
    text = (ROOT / "README.md").read_text()
    from quarterdeck.model.steps import PHASES  # noqa: PLC0415 for this alone

    assert all(f" ✔ {phase}" in text for phase in PHASES)
    assert "Ready in" in text


@pytest.mark.parametrize(("name", "most"), [("CONTRIBUTING.md", 80), ("docs/architecture.md", 100), ("docs/testing.md", 60)])
def test_short_documents_stay_short(name, most):
    assert len((ROOT / name).read_text().splitlines()) < most


def test_decisions_are_numbered_without_a_gap_and_say_what_was_rejected():
    records = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [int(p.name[:3]) for p in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text()
        assert text.index("```") < text.index("**Decision.**") < text.index("**Rejected.**")
        assert len(text.splitlines()) <= 30


def test_help_of_the_command_prints(capsys):
    assert main(["--help"]) == 0
    assert "Usage: qd VERB" in capsys.readouterr().out
