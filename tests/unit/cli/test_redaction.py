"""No secret survives, and what is not one does."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.cli.redaction import GONE, Redactor, known, written
from quarterdeck.model.home import Home

SEED = "SUAH7UVN2AZLMR5XZ5KIRFAQ6IPDEBG6E3PVMZ4AVUS5OYDGSL4MNXYYQA"


@given(st.text(min_size=3, max_size=40).filter(lambda s: len(s.strip()) > 2), st.text(max_size=20), st.text(max_size=20))
def test_a_known_value_is_gone_from_any_text_in_every_way_it_is_written(value, before, after):
    redactor = Redactor((value,))
    for form in written(value):
        assert form not in redactor.text(f"{before}|{form}|{after}").replace(GONE, "")


@pytest.mark.parametrize(
    "secret",
    [
        "qd_0b55d336_06SqPpyaZ6CTQlzZ68-ZXY73ecPkFCDyUvAkdARoN1g",
        "qdr_0b55d336_06SqPpyaZ6CTQlzZ68-ZXY73ecPkFCDyUvAkdARoN1g",
        SEED,
        "eyJhbGciOiJFZDI1NTE5In0.eyJqdGkiOiJYIn0.c2lnbmF0dXJl",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQ\n-----END PRIVATE KEY-----",
        "sk-" + "a1B2c3D4" * 4,
        "AKIAABCDEFGHIJKLMNOP",
        "ghp_" + "a1B2" * 9,
    ],
)
def test_what_has_the_shape_of_a_secret_is_gone(secret):
    assert Redactor().text(f"before {secret} after") == f"before {GONE} after"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("DB_PASSWORD=hunter2 next", f"DB_PASSWORD={GONE} next"),
        ('{"api_key": "abc", "n": 1}', f'{{"api_key": {GONE}, "n": 1}}'),
        ("Authorization: Bearer abcdefghijk", f"Authorization: {GONE}"),
        ("postgres://ada:hunter2@db/x", f"postgres://{GONE}@db/x"),
        ("secrets: [PAGER_KEY]", "secrets: [PAGER_KEY]"),
        ("secrets: {PAGER_TOKEN: env:PAGER_TOKEN}", "secrets: {PAGER_TOKEN: env:PAGER_TOKEN}"),
        ("replicas: 3 of 4 ready", "replicas: 3 of 4 ready"),
    ],
)
def test_values_beside_a_telling_name(line, left):
    assert Redactor().text(line) == left


def test_documents_lose_values_by_name_and_by_value_and_keep_their_shape():
    redactor = Redactor(("hunter2",))
    document = {"env": {"DB_PASSWORD": "x1", "WINDOW": "60s", "PAGER_KEY": "env:PAGER_KEY"}, "rows": [["hunter2", 1, None, True]]}
    made = redactor.document(document)
    assert made == {"env": {"DB_PASSWORD": GONE, "WINDOW": "60s", "PAGER_KEY": "env:PAGER_KEY"}, "rows": [[GONE, 1, None, True]]}
    assert redactor.count == 2


def test_values_are_found_in_the_home_and_in_the_environment(tmp_path):
    home = Home(tmp_path)
    home.secrets.mkdir()
    (home.secrets / "a1").write_text("first secret\n")
    home.keys.mkdir()
    (home.keys / "operator.seed").write_text(SEED)
    (home.keys / "journal.pub").write_text("public")
    found = known(home, {"CI_TOKEN": "tok-123456", "USE_TOKEN": "true", "PWD": "/home/ada", "EDITOR": "vi"})
    assert set(found) == {"first secret", SEED, "tok-123456"}


def test_a_value_in_base64_in_json_and_as_python_prints_it_is_found_too():
    value = "pass\"wo'rd\n2"
    text = f"{base64.b64encode(value.encode()).decode()} {json.dumps({'x': value})} {[value]}"
    assert Redactor((value,)).text(text) == f'{GONE} {{"x": "{GONE}"}} [\'{GONE}\']'
