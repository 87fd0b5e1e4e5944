"""A console to an agent of a real fleet: on a pseudo-terminal, where somebody types while output arrives, and in a pipe."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.cli.office import Fleet
from tests.cli.typist import QD, FakeTerminal, Typist

COLOUR = re.compile(r"\x1b\[[\d;]*m")
PROMPT = "desk/clerk> "
WITHOUT_READLINE = "import sys; sys.modules['readline'] = None; from quarterdeck.cli.main import main; sys.exit(main())"


@pytest.fixture(scope="module")
def fleet():
    folder = Path(tempfile.mkdtemp(prefix="attach-"))
    fleet = Fleet(folder)
    up = fleet.qd("up")
    assert up.returncode == 0, up.stderr
    yield fleet
    fleet.qd("down", "--yes", "--purge")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def attached(fleet):
    started = []

    def start(*arguments, columns=100, height=30, prompt=PROMPT, program=QD, **environ):
        typist = Typist([*program, "attach", *(arguments or ["desk/clerk"])], columns, height, fleet.environ | environ)
        started.append(typist)
        if prompt:
            typist.line_is(prompt)
        return typist

    yield start
    for typist in started:
        typist.process.kill()
        typist.ends()
        os.close(typist.ours)


def test_what_is_typed_is_asked_and_what_is_printed_is_shown(attached):
    typist = attached()
    typist.sees(
        "attached to desk/clerk · 1 of 1 replicas ready",
        'take {"what": string, "many"?: integer}',
        "Ctrl-D leaves",
    )
    typist.type('take {"what": "pens"}\r')
    typist.sees(f'{PROMPT}take {{"what": "pens"}}', " desk/clerk-0 answered in ", ' {"taken": ', "desk/clerk-0 | took pens")
    typist.type('{"what": "ink"}\r')
    typist.sees("desk/clerk-0 | took ink")
    assert "\x1b[36mdesk/clerk-0\x1b[0m | took ink" in typist.raw
    typist.line_is(PROMPT)
    typist.type("\x04")
    assert typist.ends() == 0
    assert typist.terminal.text.endswith(f"{PROMPT.rstrip()}\nnext: qd logs desk/clerk · qd explain desk/clerk")


@pytest.mark.parametrize(("height", "text"), [(30, "arrived"), (5, "came"), (7, "much of it " * 20)])
def test_output_leaves_what_is_half_typed_as_it_is(attached, height, text):
    typist = attached(height=height)
    typist.type(f'say {{"after": 0.7, "text": "{text}"}}\r')
    typist.sees("null")
    typist.line_is(PROMPT)
    typist.type('take {"what": "half"}' + "\x1b[D" * 3)  # the cursor stands before the f
    typist.line_is(f'{PROMPT}take {{"what": "half"}}', column=len(PROMPT) + 18)
    typist.sees(f"desk/clerk-0 | {text[:40]}")
    assert typist.terminal.line == f'{PROMPT}take {{"what": "half"}}'
    assert typist.terminal.column == len(PROMPT) + 18
    assert f"clerk-0|{''.join(text.split())}desk/clerk>" in "".join(typist.terminal.text.split())
    typist.type("l")
    typist.line_is(f'{PROMPT}take {{"what": "hallf"}}')
    typist.type("\r")
    typist.sees("took hallf")


def test_a_line_longer_than_the_terminal_stays_too(attached):
    typist = attached(columns=40)
    typist.type('say {"after": 0.7, "text": "meanwhile"}\r')
    typist.sees("null")
    typist.line_is(PROMPT)
    long = "x" * 60
    typist.type(f'take {{"what": "{long}')
    typist.sees("clerk-0 | meanwhile")
    assert [line for line in typist.terminal.text.split("\n") if "xxx" in line] == [typist.terminal.line]
    typist.type('"}\r')
    typist.sees("took xxxxxx")
    typist.line_is(PROMPT)
    assert f"took {long}" in typist.terminal.text.replace("\n", "")


def test_hostile_text_steers_no_terminal(attached):
    typist = attached()
    typist.type(r'say {"after": 0, "text": "be\u001b[2Jfore \u001b]0;title\u0007after \u009b5A"}' + "\r")
    typist.sees("desk/clerk-0 | before after �5A")
    typist.type("?\r")
    typist.sees("Take an order.")
    typist.type("refuse\r")
    typist.sees("error: desk/clerk-0: Terminal: not like this", "hint: ")
    typist.line_is(PROMPT)
    assert "\x1b[2J" not in typist.raw
    assert "\x1b]" not in typist.raw
    assert "\x9b" not in typist.raw


def test_an_error_is_shown_and_nothing_ends(attached, fleet):
    typist = attached()
    before = fleet.taken()
    typist.type('{"what": "to whom?"}\r')
    typist.sees("error: there is no verb before that this could go to", "hint: begin with a verb: refuse, say, take")
    typist.type("nonsense 1\r")
    typist.sees("error: desk/clerk-0: 'nonsense' is no verb of this agent (its verbs: ", "hint: qd explain desk/clerk")
    typist.type("take pens\r")
    typist.sees("error: the payload is not JSON", "hint: text goes into quotes, fields into braces: take ")
    assert fleet.taken() == before
    typist.type('{"what": "after all"}\r')  # goes to the verb that was meant
    typist.sees("took after all")


def test_ctrl_c_takes_the_line_back_or_gives_up_waiting(attached, fleet):
    typist = attached()
    typist.type('take {"what": "regretted"}')
    typist.line_is(f'{PROMPT}take {{"what": "regretted"}}')
    typist.type("\x03")
    typist.line_is(PROMPT)
    typist.type("wait 30\r")
    typist.sees("wait 30", "| waiting 30")
    typist.type("\x03")
    typist.sees("gave up waiting")
    typist.type("taken\r")
    typist.sees(" answered in ")
    assert "regretted" not in fleet.taken()


def test_tab_completes_verbs_and_a_question_mark_shows_them(attached):
    typist = attached()
    typist.type("re\t")
    typist.line_is(f"{PROMPT}refuse")
    typist.type("\x15ta\t")
    typist.line_is(f"{PROMPT}take")
    typist.type("\x15help\r")
    typist.sees(" refuse\n", " say {…}\n", ' take {"what": string, "many"?: integer}  Take an', " wait number")
    typist.type('take {"what": \t\x15\x10\r')  # no names of files behind the verb; Ctrl-P is the line before
    typist.sees("wait number", "wait number")


def test_a_replica_that_is_killed_is_told_and_the_next_one_answers(attached, fleet):
    typist = attached()
    typist.type("taken")
    os.kill(fleet.pid("desk/clerk-0"), signal.SIGKILL)
    typist.sees("desk/clerk-0 exited: killed by SIGKILL", "desk/clerk-0 ready")
    typist.line_is(f"{PROMPT}taken")
    typist.type("\r")
    typist.sees("answered in ", " []")


def test_one_replica_alone(attached):
    typist = attached("office:desk/twin-1", prompt="desk/twin-1> ")
    typist.sees("attached to desk/twin-1 · ready")
    for number in range(1, 5):
        typist.type("hello\r")
        typist.sees(*["desk/twin-1 answered in"] * number)
    assert "twin-0" not in typist.terminal.text


def test_a_control_plane_that_comes_back_is_a_pause(attached, fleet):
    typist = attached()
    typist.type("ta")
    os.kill(json.loads(fleet.qd("version", "-o", "json").stdout)["server"]["pid"], signal.SIGKILL)
    assert fleet.qd("wait", "--for", "ready", "--timeout", "20s").returncode == 0
    typist.type('ke {"what": "before long"}\r')
    typist.sees("answered in ", "took before long")
    assert typist.terminal.text.count("took before long") == 1


def test_colours_and_escape_codes_are_for_terminals_that_have_them(attached):
    plain = attached(NO_COLOR="1")
    plain.type("refuse\r")
    plain.sees("error: ")
    assert not COLOUR.search(plain.raw)
    dumb = attached(TERM="dumb")
    dumb.type('say {"after": 0.7, "text": "in between"}\r')
    dumb.sees("null")
    dumb.type('take {"what": "dumb')
    dumb.sees("desk/clerk-0 | in between", f'{PROMPT}take {{"what": "dumb')
    dumb.type('"}\r')
    dumb.sees("took dumb")
    assert "\x1b" not in dumb.raw


def test_a_python_without_readline_will_do(attached):
    typist = attached(program=[sys.executable, "-c", WITHOUT_READLINE])
    typist.type('say {"after": 0.7, "text": "even so"}\r')
    typist.sees("null")
    typist.type('take {"what": "plain"')
    typist.sees("desk/clerk-0 | even so")
    typist.line_is(f'{PROMPT}take {{"what": "plain"')
    typist.type("}\r")
    typist.sees("took plain")


def test_without_input_it_only_shows(attached, fleet):
    typist = attached("desk/clerk", "--no-input", prompt="")
    typist.sees("desk/clerk-0 | ")
    typist.type("taken\r")
    fleet.qd("ask", "desk/clerk", "take", '{"what": "seen"}')
    typist.sees("took seen")
    assert PROMPT not in typist.terminal.text
    assert "answered" not in typist.terminal.text
    typist.type("\x03")
    assert typist.ends() == 130


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        ("desk/clrk", 3, 'did you mean "desk/clerk"?'),
        ("desk/clerk-7", 3, 'did you mean "desk/clerk"?'),
        ("ofice:desk/clerk", 3, "no system ofice"),
        ("desk", 2, "write cluster/agent"),
    ],
)
def test_what_is_not_there_is_refused_before_any_prompt(attached, target, code, said):
    typist = attached(target, prompt="")
    assert typist.ends() == code
    assert said in typist.terminal.text
    assert "> " not in typist.terminal.text


def test_lines_of_a_pipe_are_asked_in_order(fleet):
    ran = fleet.qd("attach", "desk/clerk", given='take {"what": "one"}\n\n{"what": "two"}\ntaken')
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.returncode == 0, ran.stderr
    assert answers[2][-2:] == ["one", "two"]
    assert answers[1]["taken"] == answers[0]["taken"] + 1
    assert re.search(r"attached to desk/clerk .*answered in .*desk/clerk-0 \| took two", ran.stderr, re.DOTALL)
    assert "> " not in ran.stdout + ran.stderr
    assert "took" not in fleet.qd("attach", "desk/clerk", given="taken").stderr  # what is over is for people


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("refuse", 1, "not like this"),
        ("take pens", 2, "not JSON"),
        ('take "pens"', 1, "expected object"),
        ("wait 3", 5, "within"),
        ("take \ud800", 2, "not UTF-8"),
        ("take " + "[" * 100_000, 2, "not JSON"),
    ],
)
def test_a_script_ends_with_its_first_error(fleet, line, code, said):
    before = fleet.taken()
    text = f'\ntake {{"what": "first"}}\n{line}\ntake {{"what": "too late"}}\n'
    ran = subprocess.run(
        [*QD, "attach", "desk/clerk", "--timeout", "500ms"],
        env=fleet.environ,
        input=text.encode(errors="surrogatepass"),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, len(ran.stdout.splitlines())) == (code, 1)
    assert said in ran.stderr.decode()
    assert "  at: line 3 of the input\n" in ran.stderr.decode()
    assert fleet.taken() == [*before, "first"]


def test_json_is_one_object_a_line_with_its_kind(fleet):
    ran = fleet.qd("attach", "desk/clerk", "-o", "json", given='take {"what": "json"}\n')
    found = {one["kind"]: one for one in map(json.loads, ran.stdout.splitlines())}
    assert (ran.returncode, ran.stderr) == (0, "")
    assert found["Answer"]["from"] == "desk/clerk-0"
    assert "taken" in found["Answer"]["reply"]
    assert (found["Output"]["text"], found["Output"]["stream"]) == ("took json", "out")
    assert fleet.qd("attach", "desk/clerk", "-o", "yaml").returncode == 2


def test_production_is_not_asked_anything_by_accident(fleet):
    fleet.qd("context", "add", "live", "--production")
    refused = fleet.qd("attach", "desk/clerk", "--context", "live", given="taken\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert fleet.qd("attach", "desk/clerk", "--context", "live", "--yes", given="taken\n").returncode == 0
    fleet.qd("context", "remove", "live")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no terminal here to compare with")
def test_the_fake_terminal_shows_what_a_real_one_does(attached, fleet, tmp_path):
    typist = attached(columns=60, height=8)
    typist.type(f'say {{"after": 0.7, "text": "{"much of it " * 12}"}}\r')
    typist.sees("null")
    typist.line_is(PROMPT)
    typist.type("re\t\x15ta\t\t\x1b[D\x1b[D")
    typist.sees("clerk-0 | much of it", f"{PROMPT}tak")
    (tmp_path / "written").write_bytes(written := typist.written)
    expected = "\n".join("".join(row).rstrip() for row in FakeTerminal(60, 8).show(written.decode()).rows).rstrip("\n")
    tmux = ["tmux", "-u", "-S", str(tmp_path / "socket"), "-f", os.devnull]
    command = f"stty -opost; cat {tmp_path / 'written'}; sleep 60"
    subprocess.run([*tmux, "new-session", "-d", "-x", "60", "-y", "8", command], check=True, env=fleet.environ)
    try:
        shown, deadline = "", time.monotonic() + 10
        while shown != expected and time.monotonic() < deadline:
            shown = subprocess.run([*tmux, "capture-pane", "-p"], check=True, capture_output=True, text=True).stdout.rstrip("\n")
            time.sleep(0.05)
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)
    assert shown == expected


def test_a_fleet_that_is_ordered_down_ends_it(attached, fleet):
    typist = attached()
    typist.type("half")
    script = subprocess.Popen([*QD, "attach", "desk/clerk"], env=fleet.environ, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    typist.line_is(f"{PROMPT}half")
    script.stderr.readline()
    fleet.qd("down", "--yes")
    try:
        assert typist.ends() == 0
        assert typist.terminal.text.endswith(f"{PROMPT}half\nthe fleet was ordered down; qd up starts it again")
        assert script.wait(15) == 5
        assert "before the end of the input" in script.stderr.read()
    finally:
        script.kill()
        script.stdin.close()
        script.stderr.close()
        assert fleet.qd("up").returncode == 0
