from __future__ import annotations

import os

import pytest

from quarterdeck.errors import SpecError
from quarterdeck.spec.load import decode, load, load_file, reread
from quarterdeck.spec.quantities import Bytes, Duration


def messages(problems):
    return [problem.message for problem in problems]


def only(result):
    loaded, problems = result
    assert loaded is None
    assert len(problems) == 1, "\n".join(map(str, problems))
    return problems[0]


def test_the_example_of_the_product_page_loads(look, good):
    loaded, problems = look(good, check_entries=True)
    assert problems == ()
    assert loaded.warnings == ()
    spec = loaded.system.spec
    assert loaded.system.name == "triage"
    assert spec.clusters["collectors"].quota.memory == Bytes(512 * 2**20)
    assert spec.clusters["reporting"].quota.replicas == 20
    assert (spec.clusters["collectors"].agents["collector"].replicas.min, spec.clusters["collectors"].agents["collector"].replicas.max) == (
        3,
        6,
    )
    analyst = spec.clusters["analysts"].agents["analyst"]
    assert (analyst.replicas.min, analyst.replicas.max, analyst.replicas.fixed) == (4, 4, True)
    assert analyst.env == {"WINDOW": "60s", "PORT": "8080", "RATIO": "1.10"}
    assert analyst.secrets == {"PAGER_KEY": "env:PAGER_KEY"}
    assert spec.links[0].breaker.reset == Duration(30)
    assert spec.links[1].attempts == 3


def test_an_unknown_field_shows_place_excerpt_caret_and_the_nearest_name(look, good):
    problem = only(look(good.replace("replicas: 4,", "replica: 4,")))
    assert str(problem) == (
        'quarterdeck.yaml:17:42: unknown field "replica" [E1201]\n'
        '   17 |         analyst: {run: "agents:analyst", replica: 4, env: {WINDOW: 60s, PORT: 8080, RATIO: 1.10}, secrets: [PAGER_KEY]}\n'
        "      |                                          ^\n"
        '    did you mean "replicas"? allowed: run, replicas, env, secrets, memory, hang_after, rollout, restart'
    )


def test_all_problems_of_a_file_are_reported_at_once(look, good):
    text = good.replace("kind: System", "kind: Sistem").replace("replicas: 4,", "replica: 4,").replace("timeout: 5s", "timeout: 5")
    text = text.replace("to: reporting", "to: reportin").replace("entry: intake", "entry: intak").replace("[PAGER_KEY]", "[NO_KEY]")
    text = text.replace("agents:reporter", "agents:reporte")
    loaded, problems = look(text, check_entries=True)
    assert loaded is None
    assert [(problem.line, problem.suggestion) for problem in problems] == [
        (2, "System"),
        (7, "intake"),
        (17, "replicas"),
        (17, ""),
        (20, "reporter"),
        (22, ""),
        (23, "reporting"),
    ]


def test_load_raises_with_every_problem_rendered(tree, good):
    with pytest.raises(SpecError) as caught:
        load(
            good.replace("kind: System", "kind: X").replace("5s", "5"),
            filename="f.yaml",
            base=tree,
            environ={"PAGER_KEY": ""},
            check_entries=False,
        )
    assert caught.value.message == "f.yaml: 2 problems, nothing applied"
    assert [text.split(": ")[0] for text in caught.value.problems] == ["f.yaml:2:7", "f.yaml:22:49"]
    assert caught.value.where == "f.yaml:2:7"


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("  owner:", "  model: x\n  owner:", "model"),
        ("  owner:", "  alerts: {}\n  owner:", "alerts"),
        ("replicas: 8}", "replicas: 8, tokens: 5}", "tokens"),
        ("to: reporting}", "to: reporting, weight: 3}", "weight"),
        ("to: reporting}", "to: reporting, via: x}", "via"),
        ("    reporting:\n", "    reporting:\n      standby: x\n", "standby"),
        ("    reporting:\n", "    reporting:\n      consensus: {}\n", "consensus"),
        ('run: "agents:reporter"', 'run: "agents:reporter", scale: {}', "scale"),
        ("{name: triage}", "{name: triage, labels: {}}", "labels"),
    ],
)
def test_a_field_of_a_later_version_is_refused_as_such(look, good, old, new, name):
    assert only(look(good.replace(old, new))).message == f'field "{name}" is not in this version'


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("{min: 3, max: 6}", "{min: 6, max: 3}", (12, 70), "max (3) is less than min (6)"),
        ("{min: 3, max: 6}", "many", (12, 56), "replicas must be a whole number, or bounds {min: 1, max: 4}"),
        ("{min: 3, max: 6}", "-1", (12, 56), "replicas must be at least 0"),
        ("{min: 3, max: 6}", "2.5", (12, 56), "replicas must be a whole number, or bounds {min: 1, max: 4}"),
        (
            "memory: 512Mi, replicas: 8",
            "memory: 512, replicas: 8",
            (10, 31),
            "memory must be a size with its unit (Ki, Mi, Gi, Ti, k, M, G, T), e.g. 512Mi",
        ),
        ("memory: 512Mi, replicas: 8", "memory: 1Mi, replicas: 8", (10, 31), "memory must be at least 16Mi"),
        ("replicas: 8", "replicas: 3", (10, 48), "the agents of collectors need at least 4 replicas, its quota allows 3"),
        ("to: reporting", "to: analysts", (23, 28), "a cluster needs no link to itself"),
        ("from: analysts, to: reporting", "from: collectors, to: analysts", (23, 7), "the link collectors -> analysts is written twice"),
        ("entry: intake", "entry: collectors/analyst", (7, 10), 'there is no agent "collectors/analyst"'),
        ("code: .", "code: src", (6, 9), "code: there is no folder src"),
        ("    analysts:\n", "    qd:\n", (14, 5), '"qd" cannot be a name here: the name qd belongs to the control plane'),
        ("[PAGER_KEY]", "{PAGER_KEY: plain}", (17, 121), "PAGER_KEY: a secret is a reference, e.g. env:PAGER_KEY or file:key.txt"),
        ("[PAGER_KEY]", "[NO_KEY]", (17, 110), "secret NO_KEY: the environment variable NO_KEY is not set"),
        ("[PAGER_KEY]", "{KEY: file:nowhere}", (17, 115), "secret KEY: nowhere cannot be read: No such file or directory"),
        ("[PAGER_KEY]", "{KEY: file:.}", (17, 115), "secret KEY: . cannot be read: Is a directory"),
        ("[PAGER_KEY]", "[PAGER_KEY, PAGER_KEY]", (17, 100), "secrets names a secret twice"),
        ("[PAGER_KEY]", "{WINDOW: env:PAGER_KEY}", (17, 110), "WINDOW is in env as well"),
        ('"agents:intake"', "agents.intake", (13, 23), 'run: an entry point is module:attribute, e.g. "agents:collector"'),
        (
            '"agents:intake"',
            '"agents:intake", rollout: {surge: 0}',
            (13, 40),
            "surge and max_unavailable are both 0: nothing could ever be replaced",
        ),
        (
            "    analysts:\n",
            "    analysts:\n      budgets: [{per: day, owner: a, money_per_minute: 1.0}]\n",
            (15, 38),
            "money_per_minute holds all tasks back, not those of one owner",
        ),
        ("PORT: 8080", "PORT: ~", (17, 80), "PORT has no value"),
        ("attempts: 3", "attempts: 0", (22, 63), "attempts must be at least 1"),
        ("timeout: 5s", "timeout: 2h", (22, 49), "timeout must be at most 1h"),
        ("intake: {run", "collector-1: {run", (13, 9), '"collector-1" reads as a replica of agent "collector"'),
    ],
)
def test_each_fault_has_its_place_and_its_words(look, good, old, new, place, message):  # noqa: PLR0917 one row of the table
    text = good.replace(old, new, 1)
    if "reads as" in message:
        text = text.replace("entry: intake", "entry: collector")
    if "qd belongs" in message:
        text = text.replace("to: analysts", "to: qd").replace("from: analysts", "from: qd")
    loaded, problems = look(text)
    assert loaded is None
    assert ((problems[0].line, problems[0].column), problems[0].message) == (place, message)
    assert len(problems) == 1, "\n".join(map(str, problems))


def test_a_link_to_a_cluster_with_faults_is_not_reported_as_well(look, good):
    assert only(look(good.replace("memory: 1Gi", "memory: lots"))).line == 15


def test_an_entry_agent_of_two_clusters_must_be_written_with_its_cluster(look, good):
    text = good.replace("reporter: {run", "intake: {run")
    assert only(look(text)).allowed == ("collectors/intake", "reporting/intake")
    assert look(text.replace("entry: intake", "entry: reporting/intake"))[1] == ()


def test_too_small_a_quota_for_the_surge_is_a_warning_and_an_error_only_where_the_file_insists(look, good):
    loaded, _ = look(good.replace("replicas: 8", "replicas: 4"))
    assert [warning.line for warning in loaded.warnings] == [12, 13]
    insists = good.replace("replicas: 8", "replicas: 4").replace(
        "agents:intake", 'agents:intake", rollout: {max_unavailable: 0}, memory: "64Mi'
    )
    assert only(look(insists)).message == "the quota of collectors leaves 0 replicas for the surge of 1 that intake wants"


def test_a_missing_required_field_is_shown_where_it_belongs(look, good):
    problem = only(look(good.replace('run: "agents:reporter"', "replicas: 1")))
    assert (problem.line, problem.message, problem.hint) == (20, 'required field "run" is missing', "e.g. run: agents:collector")


def test_secrets_by_file_are_relative_to_the_spec(look, good, tree):
    (tree / "pager").write_text("k\n")
    assert look(good.replace("[PAGER_KEY]", "{PAGER_KEY: file:pager}"))[1] == ()


def test_a_pipe_as_secret_file_does_not_block(look, good, tree):
    os.mkfifo(tree / "pipe")
    problem = only(look(good.replace("[PAGER_KEY]", "{PAGER_KEY: file:pipe}")))
    assert problem.message == "secret PAGER_KEY: pipe is not a regular file"


def test_the_value_of_a_secret_is_never_shown(look, good, tree):
    (tree / "key").write_bytes(b"topsecret\xff")
    assert "topsecret" not in str(only(look(good.replace("[PAGER_KEY]", "{PAGER_KEY: file:key}"))))


def test_bytes_that_are_not_utf8_are_refused_with_their_place():
    with pytest.raises(SpecError) as caught:
        decode(b"kind: System\nname: \xff\n", filename="f.yaml")
    assert caught.value.where == "f.yaml:2:7"


def test_a_file_that_is_not_there_is_a_spec_error_with_a_hint(tmp_path):
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_file(tmp_path / "x.yaml", environ={})


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_loads(tree, good):
    path = tree / "quarterdeck.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + good.replace("\n", "\r\n").encode())
    assert load_file(path, environ={"PAGER_KEY": "x"}).system.name == "triage"


def test_very_many_problems_are_cut_short(look, good):
    junk = "".join(f"    - {{from: x{n}, to: y{n}}}\n" for n in range(200))
    _, problems = look(good + junk)
    assert len(problems) == 51
    assert problems[-1].message == "there are more problems; the first 50 are shown"


def test_a_kept_spec_is_read_again_without_its_surroundings(look, good):
    assert reread(good) == look(good)[0].system


@pytest.mark.parametrize(
    "fault", [("kind: System", "kind: X"), ("owner:", "ownr:"), ("kind: System", "kind: System\nkind: System"), ("kind:", "{")]
)
def test_a_kept_spec_that_was_tampered_with_is_refused(good, fault):
    with pytest.raises(SpecError) as caught:
        reread(good.replace(*fault))
    assert caught.value.problems


def test_nothing_that_a_terminal_would_obey_is_printed(look, good):
    _, problems = look(good.replace("intake: {run", "in\ue000take: {run"))
    assert [problem.suggestion for problem in problems if problem.line == 7] == ["in\ue000take"]
    assert all(character.isprintable() or character == "\n" for problem in problems for character in str(problem))


@pytest.mark.parametrize("old", ["kind: System", "  owner:", "    reporting:", "WINDOW: 60s"])
def test_a_name_that_pydantic_uses_as_a_mark_is_a_name_like_any_other(look, good, old):
    indent = old[: len(old) - len(old.lstrip())]
    new = f"'[key]': 1, {old}" if old == "WINDOW: 60s" else f"{indent}'[key]': 1\n{old}"
    _, problems = look(good.replace(old, new))
    assert problems
    assert all("[key]" in problem.excerpt for problem in problems)
