"""The manual page: every verb and option is in it, and no text is taken for a request to roff."""

import re
import shutil
import subprocess

import pytest

from quarterdeck.cli.described import described
from quarterdeck.cli.man import _one, _whole, plain, roff
from quarterdeck.cli.screen import Screen
from quarterdeck.cli.verbs import SHARED, VERBS, find

REQUESTS = {".TH", ".nh", ".ad", ".SH", ".SS", ".PP", ".RS", ".RE", ".nf", ".fi", ".TP"}


def read(text):
    """What roff prints of the characters that are written in its way."""
    for mark, sign in (
        (r"\(aq", "'"),
        (r"\(ha", "^"),
        (r"\(ti", "~"),
        (r"\(ga", "`"),
        (r"\(dq", '"'),
        (r"\-", "-"),
        (r"\&", ""),
        (r"\e", "\\"),
    ):
        text = text.replace(mark, sign)
    return re.sub(r"\\\[u([0-9A-F]+)\]", lambda found: chr(int(found[1], 16)), text)


def test_the_page_has_every_verb_with_its_options_and_those_of_all():
    told = read(roff("qd", _whole()))
    for verb in VERBS:
        for one in described(verb):
            assert f'.SS "qd {one.name}' in told
            for option in one.options:
                assert f"\\fB{option.written}\\fR" in told
                assert option.meaning.split("\n")[0] in told
    assert all(text in told for _, text in SHARED)
    assert "interrupted" in told


def test_only_macros_of_man_7_begin_a_line_and_all_is_ascii():
    for text in (roff("qd", _whole()), *(roff(verb.name, _one(verb)) for verb in VERBS)):
        begun = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
        assert begun <= REQUESTS
        assert text.isascii()


def test_no_text_is_taken_for_a_request():
    text = roff("x", [("text", ".so /etc/passwd", ""), ("term", "'br", ".ab \\n(.x"), ("head", 'a "b" …', ""), ("code", ".de\n\\", "")])
    assert [line for line in text.splitlines() if line[0] in ".'" and line.split()[0] not in REQUESTS] == []
    assert r"\&.so /etc/passwd" in text
    assert r"\en(.x" in text
    assert r'.SH "A \(dqB\(dq \[u2026]"' in text


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff, which checks the page, is not installed")
def test_groff_has_nothing_against_it():
    for text in (roff("qd", _whole()), roff("qd-logs", _one(find("logs")))):
        ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=text.encode(), capture_output=True, check=True)
        assert ran.stderr == b""
        assert b"qd" in ran.stdout


def test_without_man_the_same_is_there_as_text():
    lines = list(plain(_one(find("logs")), Screen(None, width=60)))
    assert {"DESCRIPTION", "EXIT STATUS", "  qd logs [TARGET]", "    $ qd logs -f"} <= set(lines)
    assert max(len(line) for line in lines if not line.startswith("    $ ")) <= 60
