"""Role x route x method x cluster, made from the route table: a route that is added is tested here, one without a rule fails.

What is expected follows from what the route says it needs; the body of a refused request is never read.
"""

import json
from functools import partial

import pytest

from quarterdeck.api.csrf import SAFE, token_of
from quarterdeck.api.roles import need_of, needs
from quarterdeck.app import application
from quarterdeck.model.grant import EVERYTHING, ROLES, Grant
from quarterdeck.model.messages import Returned
from quarterdeck.model.work import Holder
from quarterdeck.store import outbox, tokens
from quarterdeck.store.fairness import Fairness
from quarterdeck.store.turn import Turn

SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    amber:
      agents:
        reader: {run: "agents:reader", replicas: 2}
    cobalt:
      agents:
        quill: {run: "agents:reader"}
    slate:
      agents:
        typist: {run: "agents:reader"}
  links:
    - {from: amber, to: slate}
"""
TABLE = application(None).routes
ROUTES = [(method, route) for route in TABLE for method in sorted(route.methods or ())]
NAMES = [f"{method} {route.path}" for method, route in ROUTES]
OURS = {
    "cluster": "amber",
    "agent": "reader",
    "replica": "reader-0",
    "number": "1",
    "seq": "1",
    "token": "00",
    "verb": "scale",
    "noun": "tasks",
    "task": "INC-amber",
    "message": "to-amber",
    "code": "BCDF-GHJK",
}
PLACES = {"unbound": "", "own": "amber", "with system": "pair/amber", "foreign": "cobalt"}
NONSENSE = b'{"no such field": 1}'
OPEN = {"/healthz", "/readyz", "/login", "/login/start", "/login/callback", "/login/page.css", "/v1/login/token"}
OPEN |= {"/v1/login/device", "/v1/login/device/token"}
every_route = pytest.mark.parametrize(("method", "route"), ROUTES, ids=NAMES)


def path_of(route):
    return route.path_format.format_map({**dict.fromkeys(route.param_convertors, "x"), **OURS})


class Body:
    """Says whether somebody read it."""

    def __init__(self):
        self.read = False

    async def __aiter__(self):
        self.read = True
        yield NONSENSE


def bury(tx, target):
    """A dead message for an agent."""
    cluster, agent = target.split("/")
    turn = Turn(tx, Fairness())
    outbox.bury(turn, Holder("pair", cluster, agent, 0, 1), Returned(f"to-{cluster}", f"{target}-0", "v", {}, f'"for {target}"', "x", 1))
    turn.close()


@pytest.fixture(scope="module")
def fleet(make_control):
    with make_control(SPEC) as control:
        control.up()
        for target in ("amber/reader", "cobalt/quill", "slate/typist"):
            control.post("/v1/changes", {"target": target, "field": "hold", "value": True, "reason": f"because of {target}"})
            control.post("/v1/tasks", {"target": target, "key": f"INC-{target.partition('/')[0]}", "payload": f"for {target}"})
            control.store.write_sync(partial(bury, target=target))
            log = control.home.logs / "pair" / f"{target}-0.log"
            log.parent.mkdir(parents=True)
            log.write_text(f"2026-11-28T16:00:00.000Z out a line of {target}\n")
        control.stopping.set()  # what follows forever ends at once
        yield control


@pytest.fixture(scope="module")
def secret(fleet):
    """The secret of a token with some role for some place; made once."""
    made = {}

    def of(role, place, *, fresh=False):
        if not fresh and (role, place) in made:
            return made[role, place]
        grant = Grant.at(role, place)
        found = fleet.store.write_sync(lambda tx: tokens.create(tx, grant, 30_000_000.0, "test"))[1]
        return found if fresh else made.setdefault((role, place), found)

    return of


def ask(fleet, method, path, *, body=None, **headers):
    """(answer, whether the body was read)."""
    sent = body or Body()
    if method not in SAFE:
        headers = {"content-type": "application/json", **headers}
    fleet.engine.clock.advance(1.0)  # nobody is in a hurry
    answer = fleet.stranger(method, path, headers=headers, content=sent if method not in SAFE else None)
    return answer, getattr(sent, "read", True)


def bearer(secret):
    return {"authorization": f"Bearer {secret}"}


def expected(need, role, place):
    """403 by rule, or None: the handler may answer what it likes, as long as it is no failure and no refusal."""
    refused = ROLES.index(role) < ROLES.index(need.role or "viewer")
    refused |= need.scope == "system" and place != "" and need.role is not None
    refused |= need.local
    return 403 if refused else None


def test_every_route_says_who_may_call_it():
    assert [route.path for route in TABLE if need_of(route) is None] == []
    assert len(TABLE) > 30


def test_only_health_readiness_and_login_are_open_to_anyone():
    assert {route.path for route in TABLE if need_of(route).role is None} == OPEN


def test_a_viewer_changes_nothing_but_leaves_and_lets_in_who_may_do_no_more():
    own = {"/logout", "/v1/login", "/login/device", "/v1/login/device/{code}"}
    assert {route.path for method, route in ROUTES if method not in SAFE and need_of(route).role == "viewer"} == own


@every_route
def test_each_role_in_each_place_gets_what_the_rule_says(fleet, secret, method, route):
    need = need_of(route)
    path, clusters, ends = path_of(route), "cluster" in route.param_convertors, (method, route.path) == ("DELETE", "/v1/login")
    for role in ROLES:
        for name, place in PLACES.items():
            answer, read = ask(fleet, method, path, **bearer(secret(role, place, fresh=ends)))
            wanted = expected(need, role, place)
            if name == "foreign" and clusters:
                wanted = 403
            where = f"{role} {name}: {answer.status} {answer.text[:300]}"
            assert answer.status < 500, where
            if wanted == 403:
                assert answer.status == 403, where
                assert not (read and method not in SAFE), where
            elif name != "foreign" and need.role is not None:
                assert answer.status != 403, where


@every_route
def test_nobody_without_a_token_gets_anything_unless_the_route_is_open(fleet, method, route):
    for headers in ({}, bearer("qd_00000000_guess"), {"cookie": "quarterdeck-7410=qd_00000000_guess"}, {"authorization": "Basic YTpi"}):
        answer, read = ask(fleet, method, path_of(route), **headers)
        fleet.engine.clock.advance(600)
        if need_of(route).role is None:
            assert answer.status in (200, 404, 422, 503)
        else:
            assert (answer.status, answer.json["error"]["message"]) == (403, "no valid token")
            assert not (read and method not in SAFE)


@every_route
def test_a_change_by_cookie_needs_our_origin_and_the_word_of_its_session(fleet, secret, method, route):
    need, path = need_of(route), path_of(route)
    if method in SAFE or need.role is None:
        return
    session = secret("admin", "", fresh=True)  # one of the routes ends it
    cookie = {"cookie": f"quarterdeck-7410={session}"}
    ours, word = {"origin": "http://127.0.0.1:7410"}, token_of(session)
    refused = [
        {},
        {"x-csrf-token": word},  # no Origin
        {**ours, "x-csrf-token": "0" * 64},
        {**ours, "x-csrf-token": token_of(secret("viewer", ""))},
        {"origin": "http://evil.example", "x-csrf-token": word},
        {"origin": "null", "x-csrf-token": word},
        {"origin": "https://127.0.0.1:7410", "x-csrf-token": word},
        {"origin": "http://127.0.0.1:7411", "x-csrf-token": word},
    ]
    for headers in refused:
        answer, read = ask(fleet, method, path, **cookie, **headers)
        assert (answer.status, read) == (403, False), headers
    kind = {"content-type": "application/x-www-form-urlencoded"}
    without, _ = ask(fleet, method, path, body=b"target=amber%2Freader", **cookie, **ours, **kind)
    assert without.status == 403
    shown, _ = ask(fleet, method, path, **cookie, **ours, **{"x-csrf-token": word})
    assert (shown.status == 403) == need.local
    if need.form:
        field, _ = ask(fleet, method, path, body=f"csrf={word}&target=amber%2Freader".encode(), **cookie, **ours, **kind)
        assert field.status != 403


QUERIES = ("", "?system=pair", "?target=amber", "?target=amber/reader", "?newest=true&limit=500", "?source=/v1/replicas")


@every_route
def test_a_token_of_one_cluster_sees_no_other(fleet, secret, method, route):
    need = need_of(route)
    if method not in SAFE or need.scope != "cluster" or route.path in ("/openapi.json", "/static/{name:path}"):
        return
    for query in QUERIES:
        for role in ("viewer", "admin"):
            text = ask(fleet, method, path_of(route) + query, **bearer(secret(role, "amber")))[0].text
            assert "cobalt" not in text, text
            assert "quill" not in text, text
            assert "typist" not in text, text  # it may know that it has a link to slate, and not what is in there


def test_what_it_sees_is_there(fleet, secret):
    """So that the test above cannot pass on empty answers."""
    own = bearer(secret("viewer", "amber"))
    for path in ("clusters", "agents", "replicas", "links", "changes", "conditions", "journal", "logs", "status", "systems"):
        whole, _ = ask(fleet, "GET", f"/v1/{path}", **bearer(secret("viewer", "")))
        mine, _ = ask(fleet, "GET", f"/v1/{path}", **own)
        assert (whole.status, mine.status) == (200, 200)
        assert path in ("status", "systems", "conditions") or "amber" in mine.text
        assert path in ("status", "systems", "conditions") or "cobalt" in whole.text or path == "links"
    assert json.loads(ask(fleet, "GET", "/v1/systems", **own)[0].text)["items"][0]["agents"]["desired"] == 2


FOREIGN = [
    "cobalt",
    "cobalt/quill",
    "cobalt/quill-0",
    "nowhere",
    "nowhere/nobody",
    "amber-more/reader",
    "*",
    "",
    "/",
    "amb",
    "../pair/cobalt",
]


@pytest.mark.parametrize("path", ["/v1/explain?target={}", "/v1/logs?target={}", "/v1/explain?target=pair:{}"])
def test_what_lies_outside_is_refused_in_the_same_words_whether_or_not_it_exists(fleet, secret, path):
    answers = {t: ask(fleet, "GET", path.format(t), **bearer(secret("admin", "amber")))[0] for t in FOREIGN if t or "explain" in path}
    assert {(a.status, json.dumps(a.json)) for a in answers.values()} == {(403, json.dumps(answers["cobalt"].json))}
    assert answers["cobalt"].json["error"]["message"] == "your token is for amber only"


def test_a_change_outside_is_refused_in_the_same_words_whether_or_not_it_exists(fleet, secret):
    operator = bearer(secret("operator", "cobalt"))
    before = fleet.journalled()
    theirs = next(r["id"] for r in fleet.get("/v1/changes").json["items"] if r["target"] == "amber/reader")
    refusals = set()
    for target in ("amber/reader", "amber", "nowhere/nobody", "pair:amber/reader", "cobalt-more/quill"):
        for dry in (True, False):
            wish = {"target": target, "field": "hold", "value": True, "reason": "mine now", "dry_run": dry}
            answer, _ = ask(fleet, "POST", "/v1/changes", body=json.dumps(wish).encode(), **operator)
            refusals.add((answer.status, answer.text))
            wish = {"target": target, "reason": "mine now", "dry_run": dry}
            answer, _ = ask(fleet, "POST", "/v1/changes/release", body=json.dumps(wish).encode(), **operator)
            refusals.add((answer.status, answer.text))
        question = {"target": target.removeprefix("pair:") if "/" in target else "amber/reader", "verb": "x"}
        answer, _ = ask(fleet, "POST", "/v1/ask", body=json.dumps(question).encode(), **operator)
        refusals.add((answer.status, answer.text))
    for number in (theirs, 999_999):
        for query in ("", "?dry_run=true"):
            answer, _ = ask(fleet, "DELETE", f"/v1/changes/{number}{query}", **operator)
            refusals.add((answer.status, answer.text))
    assert len(refusals) == 1
    assert refusals.pop()[0] == 403
    assert fleet.journalled() == before


def test_a_plan_for_one_cluster_shows_its_steps_alone(fleet, secret):
    wish = {"target": "amber/reader", "field": "replicas", "value": 3, "reason": "more", "dry_run": True}
    answer, _ = ask(fleet, "POST", "/v1/changes", body=json.dumps(wish).encode(), **bearer(secret("operator", "amber")))
    assert answer.status == 200
    assert {step["target"].partition("/")[0] for step in answer.json["steps"]} <= {"amber"}
    assert "amber/reader" in {step["target"] for step in answer.json["steps"]}


def test_a_system_that_is_not_meant_is_refused_like_one_that_does_not_exist(fleet, secret):
    other = bearer(secret("viewer", "elsewhere/amber"))
    answers = [
        ask(fleet, "GET", f"/v1/{noun}?system={name}", **other)[0] for noun in ("agents", "journal", "changes") for name in ("pair", "none")
    ]
    assert {(a.status, a.json["error"]["message"]) for a in answers} == {(403, "your token is for elsewhere/amber only")}
    assert ask(fleet, "GET", "/v1/systems", **other)[0].json["items"] == []


def test_the_owner_comes_through_the_socket_and_may_do_everything(fleet):
    for method, route in ROUTES:
        if method == "GET":
            assert fleet.get(path_of(route)).status != 403, route.path


def test_a_route_without_a_rule_answers_nobody(make_control):
    with make_control(SPEC) as control:

        @control.guard.app.get("/forgotten")
        async def forgotten():
            return {"secret": 1}

        _, admin = control.store.write_sync(lambda tx: tokens.create(tx, EVERYTHING, 60.0, "test"))
        for answer in (control.get("/forgotten"), control.stranger("GET", "/forgotten", headers=bearer(admin))):
            assert answer.status == 403
            assert "has no rule" in answer.json["error"]["message"]


def test_a_router_cannot_be_taken_in_under_another_prefix(make_control):
    with make_control(SPEC) as control, pytest.raises(TypeError, match="prefix"):
        control.guard.app.include_router(TABLE[0], prefix="/elsewhere")


def test_the_openapi_document_says_who_may_call_what(fleet):
    document = fleet.get("/openapi.json").json
    told = {(m.upper(), p): (op["x-role"], op["x-scope"]) for p, ops in document["paths"].items() for m, op in ops.items()}
    assert told["POST", "/v1/down"] == ("admin", "system")
    assert told["GET", "/v1/replicas"] == ("viewer", "cluster")
    assert needs("operator", scope="cluster")["openapi_extra"] == {"x-role": "operator", "x-scope": "cluster"}
