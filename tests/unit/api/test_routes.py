"""Which route answers is decided once for paths that name nothing, and the same way for all."""

import pytest
from fastapi import APIRouter

from quarterdeck.api import nouns
from quarterdeck.api.roles import Table
from quarterdeck.api.server import Api


def _table():
    app, router = Api(), APIRouter()
    for method, path in (("GET", "/tasks"), ("POST", "/tasks"), ("GET", "/tasks/counts"), ("GET", "/tasks/{task}")):
        router.add_api_route(path, lambda: None, methods=[method])
    app.include_router(router)
    return Table(app.routes)


def _found(table, method, path):
    found = table.find({"type": "http", "method": method, "path": path, "root_path": "", "headers": []})
    return found and (sorted(found[0].methods), found[0].path, dict(found[1]))


def test_the_second_time_the_same_route_is_found():
    table = _table()
    asked = [
        (method, path) for path in ("/tasks", "/tasks/counts", "/tasks/{task}", "/tasks/7", "/nothing") for method in ("GET", "POST", "PUT")
    ]
    first, again = ([_found(table, *one) for one in asked] for _ in range(2))
    assert first == again
    assert _found(table, "POST", "/tasks") == (["POST"], "/tasks", {})
    assert _found(table, "PUT", "/tasks") == (["GET"], "/tasks", {})


def test_strangers_cannot_fill_what_is_remembered():
    table = _table()
    for path in ("/tasks/{task}", "/tasks/7", "/nothing", "/tasks/"):
        _found(table, "GET", path)
    _found(table, "PUT", "/tasks")
    assert not table._known
    _found(table, "GET", "/tasks")
    assert list(table._known) == [("GET", "/tasks")]


@pytest.mark.parametrize(
    ("place", "inside", "outside"),
    [
        ("", ("one", "one/reader", "two->one"), ()),
        ("one", ("one", "one/reader", "one/reader-0", "one->two"), ("one-more", "one-more/reader", "two->one")),
        ("one/reader", ("one/reader", "one/reader-0", "one/reader-12"), ("one", "one/reader-x", "one/reader-x-0", "one/readers")),
    ],
)
def test_what_is_in_a_place_is_told_by_whole_names(place, inside, outside):
    assert [target for target in (*inside, *outside) if nouns._inside(target, place)] == list(inside)
