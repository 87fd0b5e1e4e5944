"""Where a command line leads, and what a contexts file may say."""

from pathlib import Path

import pytest

from quarterdeck.client.contexts import Contexts, chosen, location, made
from quarterdeck.client.doors import Remote, checked, read_token
from quarterdeck.errors import Forbidden, NotFound, UserError
from quarterdeck.model.home import Home

FILE = Path("/etc/contexts.yaml")
TEXT = """
current: staging
contexts:
  staging: {home: /srv/staging}
  prod: {url: "https://fleet.example.com:7410/", token_file: /srv/token, ca: /srv/ca.pem, production: true}
"""
CONTEXTS = Contexts.parse(FILE, TEXT)
HERE = {"HOME": "/home/ada"}


@pytest.mark.parametrize(
    ("home", "name", "environ", "leads"),
    [
        (None, None, HERE, "staging"),
        (None, "prod", HERE, "prod"),
        (None, None, {**HERE, "QUARTERDECK_CONTEXT": "prod"}, "prod"),
        (None, None, {**HERE, "QUARTERDECK_HOME": "/srv/other"}, "/srv/other"),
        (None, "prod", {**HERE, "QUARTERDECK_HOME": "/srv/other"}, "prod"),
        (None, None, {**HERE, "QUARTERDECK_HOME": "/srv/other", "QUARTERDECK_CONTEXT": "prod"}, "prod"),
        (Path("/srv/given"), None, {**HERE, "QUARTERDECK_CONTEXT": "prod"}, "/srv/given"),
    ],
)
def test_first_come_first_served(home, name, environ, leads):
    place, context = chosen(CONTEXTS, home, name, environ)
    assert (context.name if context else str(place.root)) == leads


def test_a_home_is_production_by_whatever_way_it_was_named():
    contexts = Contexts.parse(FILE, "contexts: {a: {home: /srv/live}, live: {home: /srv/live, production: true}}")
    for home, environ in ((Path("/srv/live"), HERE), (None, {**HERE, "QUARTERDECK_HOME": "/srv/live"})):
        _, context = chosen(contexts, home, None, environ)
        assert context.production


def test_two_places_are_refused():
    with pytest.raises(UserError, match="two places"):
        chosen(CONTEXTS, Path("/srv/a"), "prod", HERE)


def test_no_file_is_the_usual_home(tmp_path):
    contexts = Contexts.read({"XDG_CONFIG_HOME": str(tmp_path)})
    assert chosen(contexts, None, None, HERE) == (Home(Path("/home/ada/.local/state/quarterdeck")), None)


def test_an_unknown_name_is_refused_with_the_nearest_and_the_known_ones():
    with pytest.raises(NotFound, match="did you mean 'staging'") as error:
        CONTEXTS.named("stagin")
    assert error.value.hint == "one of prod, staging"


def test_a_current_context_that_is_gone_says_which_line_to_mend():
    with pytest.raises(UserError, match="'gone' is not among") as error:
        chosen(Contexts.parse(FILE, "current: gone"), None, None, HERE)
    assert str(FILE) in error.value.hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("contexts: [", "cannot be understood"),
        ("contexts: {a: 1}", "cannot be understood"),
        ("- 1", "cannot be understood"),
        ("contexts: {a: {home: /a, hom: /b}}", "no field 'hom'"),
        ("contexts: {a: {}}", "either a home, or a URL"),
        ("contexts: {a: {url: 'https://x:1'}}", "either a home, or a URL"),
        ("contexts: {a: {home: /a, url: 'https://x:1', token_file: /t}}", "either a home, or a URL"),
        ("contexts: {'a b': {home: /a}}", "no name for a context"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(text, words):
    with pytest.raises(UserError, match=words):
        Contexts.parse(FILE, text)


def test_what_is_written_is_read_again(tmp_path):
    path = location({"XDG_CONFIG_HOME": str(tmp_path)})
    Contexts(path, "prod", CONTEXTS.known).write()
    again = Contexts.read({"XDG_CONFIG_HOME": str(tmp_path)})
    assert again == Contexts(path, "prod", CONTEXTS.known)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("url", ["http://fleet.example.com:7410", "ftp://x", "fleet", "https://", "https://u@x", "https://x/?a=1"])
def test_a_token_never_travels_in_the_clear_and_a_url_is_one(url):
    with pytest.raises(UserError):
        checked(url)


@pytest.mark.parametrize("url", ["https://fleet.example.com/qd/", "http://127.0.0.1:7410", "http://localhost:1", "http://[::1]:7410"])
def test_https_and_loopback_are_accepted(url):
    assert checked(url) == url.rstrip("/")


def test_a_token_file_is_for_its_owner_alone(tmp_path):
    file = tmp_path / "token"
    file.write_text("qd_x\n")
    file.chmod(0o640)
    with pytest.raises(Forbidden, match="other users"):
        read_token(file)
    file.chmod(0o600)
    assert read_token(file) == "qd_x"
    with pytest.raises(NotFound, match="cannot be read"):
        read_token(tmp_path / "none")


def test_a_path_in_front_of_the_api_is_kept(tmp_path):
    place = made("a", None, "https://x/qd/", tmp_path, None, production=False).place
    assert isinstance(place, Remote)
    assert place.prefix == "/qd"
