"""Commands that pages offer mean the system that the page is of."""

import re
from pathlib import Path

from quarterdeck.web import pages

OF_ALL = {"init", "up", "open", "doctor", "login", "token", "context", "journal verify", "status", "and"}
"""What a template may say as it is: verbs that are of no one system, `qd` itself, and `qd status`, which tells of all."""
PAGE = "/replicas/one/reader-0"


def test_a_command_names_the_system_where_several_run(fleet):
    text = fleet.spec.replace("name: pair", "name: other")
    assert "qd logs -f one/reader-0</code>" in fleet.get(PAGE).text
    fleet.post("/v1/apply", {**fleet.body, "text": text})
    fleet.converge()
    for path in (PAGE, "/agents/one/reader", "/changes", "/tasks", "/waiting", "/tasks/unknown", "/tasks/dead", "/"):
        page = fleet.get(f"{path}?system=other").text
        said = [re.sub(r"<[^>]*>", "", code) for code in re.findall(r"<code[^>]*>(qd .*?)</code>", page)]
        assert said, path
        assert [command for command in said if not command.endswith(" -s other")] == [], path


def test_no_template_spells_a_command_of_a_system_itself():
    for template in (Path(pages.__file__).parent / "templates").glob("*.html"):
        for words in re.findall(r"\bqd ((?:journal )?[a-z]+)", template.read_text()):
            assert words in OF_ALL, template.name


def test_what_a_page_to_come_says_is_done_today_names_the_system_too(fleet):
    fleet.post("/v1/apply", {**fleet.body, "text": fleet.spec.replace("name: pair", "name: other")})
    fleet.converge()
    for path in ("/scaling", "/drills", "/incidents", "/contacts", "/compliance"):
        page = fleet.get(f"{path}?system=other").text
        said = [re.sub(r"<[^>]*>", "", code) for code in re.findall(r"<code[^>]*>(qd .*?)</code>", page)]
        assert said
        for command in said:
            of_all = any(words in command for words in ("explain spec", "journal verify", "journal export"))
            assert command.count(" -s other") == (not of_all), command


def test_what_a_page_shows_of_all_systems_is_copied_without_one(fleet):
    fleet.post("/v1/apply", {**fleet.body, "text": fleet.spec.replace("name: pair", "name: other")})
    fleet.converge()
    for path in ("/journal/1", "/journal/verified", "/journal?of=all"):
        mark = "&" if "?" in path else "?"
        (copied,) = re.findall(r'<code id="as-command">(.*?)</code>', fleet.get(f"{path}{mark}system=other").text)
        assert " -s " not in copied, path
    assert " -s other" in re.findall(r'<code id="as-command">(.*?)</code>', fleet.get("/journal?system=other").text)[0]
