"""`qd init`: a project that is right from its first line, and nothing overwritten."""

import json
import re

import pytest

from quarterdeck.cli.init import MODELINE, SCHEMA, STORIES, Template, source
from quarterdeck.spec.load import load


@pytest.mark.parametrize("template", list(Template))
def test_a_project_has_a_spec_that_an_editor_completes_and_that_loads(home, qd, tmp_path, template):
    ran = qd("init", "fleet", "--template", template.value)
    assert ran.code == 0
    assert ran.err.startswith(("next: cd fleet && qd up · qd ask ", "next: cd fleet && qd up · qd task submit "))
    folder = tmp_path / "fleet"
    text = (folder / "quarterdeck.yaml").read_text()
    assert text.startswith(MODELINE)
    assert text.count("yaml-language-server") == 1
    assert json.loads((folder / SCHEMA).read_text())["title"] == "Quarterdeck system"
    load(text, filename="quarterdeck.yaml", base=folder, environ={})
    assert (folder / "README.md").exists()
    assert not list(folder.rglob("__pycache__"))


def test_the_readme_of_the_plain_template_is_ten_lines_and_names_commands(home):
    lines = (source(Template.plain) / "README.md").read_text().splitlines()
    assert len(lines) <= 10
    assert "qd up" in "\n".join(lines)


def test_nothing_is_overwritten_and_nothing_half_written(home, qd, tmp_path):
    folder = tmp_path / "fleet"
    folder.mkdir()
    (folder / "agents.py").write_text("mine\n")
    ran = qd("init", "fleet")
    assert ran.code == 1
    assert "already has agents.py; nothing was written" in ran.err
    assert [path.name for path in folder.iterdir()] == ["agents.py"]
    assert (folder / "agents.py").read_text() == "mine\n"


def test_a_dangling_link_is_not_written_through(home, qd, tmp_path):
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "agents.py").symlink_to(tmp_path / "elsewhere")
    assert qd("init", "fleet").code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_other_files_may_be_there(home, qd, tmp_path):
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "notes.txt").touch()
    assert qd("init", "fleet").code == 0


def test_templates_are_listed_with_what_to_try(home, qd):
    ran = qd("init", "--list", "-o", "json")
    assert [item["name"] for item in ran.json["items"]] == [template.value for template in STORIES]
    assert qd("init", "--list", "-o", "name").out == "plain\ntriage\n"
    assert "qd init DIR --template NAME" in qd("init", "--list").err


def test_a_place_that_cannot_be_written_is_said(home, qd, tmp_path):
    (tmp_path / "file").touch()
    ran = qd("init", "file/fleet")
    assert ran.code == 1
    assert "cannot be written" in ran.err


def test_a_name_that_no_folder_can_have_is_said_and_not_spread_over_the_screen(home, qd):
    ran = qd("init", "a" * 300)
    assert ran.code == 1
    assert "cannot be written: File name too long" in ran.err
    assert len(ran.err) < 300
    assert "nothing" not in qd("init", "").out
    assert qd("init", "").code == 2


def test_the_command_after_it_works_for_a_folder_with_a_space(home, qd):
    assert qd("init", "my fleet").err.startswith("next: cd 'my fleet' && qd up · qd ask ")


def test_the_readme_of_the_triage_template_speaks_of_the_project_alone(home, qd, tmp_path):
    qd("init", "fleet", "--template", "triage")
    folder = tmp_path / "fleet"
    text = (folder / "README.md").read_text()
    for elsewhere in ("make up", "examples/triage", "bench/", "up.py", "prove.py", "tools/"):
        assert elsewhere not in text
    named = re.findall(r"`([\w./]+\.(?:py|json|yaml))`", text)
    assert named
    assert [name for name in named if not (folder / name).exists()] == []
    assert (folder / "data/README.md").exists()
    assert not (folder / "prove.py").exists()
