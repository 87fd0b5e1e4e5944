"""The repository is whole by itself: it names no machine it was written on, and no server it was installed from."""

import re

SEPARATOR = "/"
PLACES = [rf"(?<![\w.~$}}-]){SEPARATOR}{name}{SEPARATOR}" for name in ("work", "root", "farm")]
PLACES.append(rf"{SEPARATOR}tmp{SEPARATOR}(qd|y){SEPARATOR}")
HOSTS = [host.replace("_", ".") for host in ("pypi_org", "pythonhosted_org", "npmjs_org", "proxy_golang_org", "crates_io", "docker_io")]
INDEX_OPTIONS = ["--index" + "-url", "--extra-index" + "-url"]
FORBIDDEN = re.compile("|".join([*PLACES, *map(re.escape, HOSTS), *INDEX_OPTIONS]))
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
WANTED = {
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    ".ci/run",
    "docs/architecture.md",
    "docs/limits.md",
    "docs/testing.md",
}


def hits(everything, pattern):
    return [f"{name}: {found[0]}" for name, text in everything.items() if (found := pattern.search(text))]


def test_no_text_names_a_path_of_a_machine_or_the_host_of_a_registry(everything):
    assert len(everything) > 100
    assert hits(everything, FORBIDDEN) == []


def test_the_rule_about_places_finds_them():
    for text in ("see " + "/work" + "/main", "in /root" + "/.cache", "https://py" + "pi.org/simple"):
        assert FORBIDDEN.search(text)
    assert not FORBIDDEN.search("a/work/b, $HOME/work/x, repository/root")


def test_nothing_is_left_unfinished_in_code(everything):
    code = {
        name: text
        for name, text in everything.items()
        if name.startswith(("src/", "tools/", "examples/", "bench/")) and name.endswith(".py")
    }
    assert hits(code, UNFINISHED) == []


def test_what_a_reader_expects_at_the_top_is_there(everything):
    assert set(everything) >= WANTED


def test_every_locked_requirement_carries_a_hash(everything):
    lines = everything["requirements.lock"].splitlines()
    pinned = [n for n, line in enumerate(lines) if re.match(r"[a-z0-9].*==", line)]
    assert len(pinned) > 20
    assert all(lines[n + 1].strip().startswith("--hash=sha256:") for n in pinned)


def test_the_check_before_a_change_runs_the_checks_and_the_tests(everything):
    assert "make land" in everything[".ci/run"]
    assert re.search(r"^land: check .*\n\t@\$\(TESTS\)", everything["Makefile"], re.MULTILINE)
