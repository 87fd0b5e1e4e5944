"""What a proposed command needs to reach the same control plane and the same system, and what it must not be given."""

import pytest

from quarterdeck.cli.aim import Aim, reach
from quarterdeck.cli.verbs import VERBS

TASK = "01M8HXFD25B4EETYEXX2273T60"
THERE = Aim(("--context", "a"), "other", several=True)
LOST = Aim(several=True)


@pytest.mark.parametrize(
    ("command", "aimed"),
    [
        ("qd status", "qd --context a -s other status"),
        ("qd logs -f front/greeter", "qd --context a -s other logs -f front/greeter"),
        ("qd get tasks --state dead", "qd --context a -s other get tasks --state dead"),
        ("qd get systems", "qd --context a get systems"),
        ("qd get tokens", "qd --context a get tokens"),
        ("qd status -s hello", "qd --context a status -s hello"),
        ("qd restart other:back/counter --reason x", "qd --context a restart other:back/counter --reason x"),
        ("qd revert 4", "qd --context a revert 4"),
        ("qd down --purge", "qd --context a down --purge"),
        ("qd stop fleet", "qd --context a -s other stop fleet"),
        ("qd journal -f", "qd --context a -s other journal -f"),
        ("qd journal verify", "qd --context a journal verify"),
        (f"qd task get {TASK} --tree", f"qd --context a task get {TASK} --tree"),
        ("qd task get INC-4711", "qd --context a -s other task get INC-4711"),
        (f"qd explain {TASK}", f"qd --context a explain {TASK}"),
        ("qd explain spec.clusters", "qd explain spec.clusters"),
        ("qd explain E1201", "qd explain E1201"),
        ("qd open docs", "qd --context a open docs"),
        ("qd --home /x apply plan.json", "qd --home /x apply plan.json"),
        ("qd init DIR", "qd init DIR"),
        ("qd context use b", "qd context use b"),
        ("qd task submit --help", "qd task submit --help"),
        ("cd /x && qd up · qd status", "cd /x && qd --context a up · qd --context a -s other status"),
        (
            "qd scale back/counter 3 --reason 'as qd status says'",
            "qd --context a -s other scale back/counter 3 --reason 'as qd status says'",
        ),
        ("journalctl -u qd", "journalctl -u qd"),
    ],
)
def test_a_command_is_given_what_it_needs_and_nothing_else(command, aimed):
    assert THERE.commands(command) == aimed


def test_nothing_is_added_where_nothing_is_needed():
    listed = "qd status · qd logs -f front/greeter · qd task list"
    assert Aim().commands(listed) == listed
    assert Aim().text("start it again with qd up; qd status tells more") == "start it again with qd up; qd status tells more"


def test_commands_in_a_sentence_are_completed_where_they_begin():
    said = "qd get agents lists what there is; it's started with qd up"
    assert THERE.text(said) == "qd --context a -s other get agents lists what there is; it's started with qd --context a up"


def test_what_is_to_be_said_on_another_machine_is_said_there_as_it_is():
    assert THERE.text("make one on that machine with qd token create") == "make one on that machine with qd token create"
    assert THERE.text("start it on its machine with qd up, or choose: qd context list").startswith("start it on its machine with qd up,")


def test_what_needs_a_system_that_nobody_named_gives_way_to_the_list_of_them():
    assert LOST.commands("qd status · qd logs -f · qd get changes") == "qd get systems · qd get changes"
    assert LOST.commands("qd status -s hello · qd explain other:back") == "qd status -s hello · qd explain other:back"


def test_a_path_with_a_space_stays_one_word():
    assert Aim(("--home", "/my home")).commands("qd up") == "qd --home '/my home' up"


def test_every_verb_says_what_it_is_about():
    """Those that are about no control plane are few, and none of them reaches one."""
    nothing = {verb.name for verb in VERBS if verb.reach == "nothing"}
    assert nothing == {"api", "schema", "init", "completion", "man", "context", "login"}
    assert reach(["bogus"]) == "nothing"
    assert reach([]) == "nothing"
