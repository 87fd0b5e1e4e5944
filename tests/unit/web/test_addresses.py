"""Whatever address a browser comes to it gets a page of ours: of a form the page that it stands on, of nonsense what is wrong with it."""

import pytest

PAGE = {"accept": "text/html,application/xhtml+xml"}
INTERNAL = ("Input should", "Field required", "unable to parse", '{"error"')


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ("/tasks/{task}/resolve", "/tasks/{task}"),
        ("/tasks/{task}/answer", "/tasks/{task}"),
        ("/tasks/{task}/retry", "/tasks/{task}"),
        ("/tasks/{task}/cancel", "/tasks/{task}"),
        ("/messages/01/retry", "/messages/01"),
        ("/budgets/resume", "/budgets"),
        ("/settings/tokens", "/settings#tokens"),
    ],
)
def test_the_address_that_a_form_was_sent_to_leads_to_the_form(control, path, to):
    control.up()
    task = control.post("/v1/tasks", {"target": "one/reader", "payload": 1}).json["id"]
    answer = control.get(path.format(task=task), **PAGE)
    assert (answer.status, answer.headers["location"]) == (303, to.format(task=task))


@pytest.mark.parametrize(
    "path",
    ["/journal/abc", "/journal/0", "/journal/-1", "/deployments/abc", "/deployments/-1", "/tasks?before=x", "/tasks?before=0",
     "/messages?before=x", "/journal?before=-1", "/yaml", "/logout", "/tasks/01/dance", "/budgets?day=yesterday", "/nowhere"],
)  # fmt: skip
@pytest.mark.parametrize("deployed", [True, False])
def test_nonsense_in_an_address_is_answered_by_a_page_in_plain_words(control, path, deployed):
    if deployed:
        control.up()
    answer = control.get(path, **PAGE)
    assert answer.status < 500
    assert answer.text.startswith(("\n<!doctype html>", "<!doctype html>")), answer.text[:200]
    assert "quarterdeck.css" in answer.text
    assert not [words for words in INTERNAL if words in answer.text]


def test_programs_get_the_shape_of_every_refusal_wherever_they_ask(control):
    control.up()
    for path, status in (("/journal/abc", 422), ("/logout", 405), ("/v1/revisions/abc", 422)):
        answer = control.get(path)
        assert (answer.status, "error" in answer.json) == (status, True), path
    assert "error" in control.get("/v1/revisions/abc", **PAGE).json


def test_the_end_of_a_session_is_told_as_what_it_is(control):
    control.up()
    link = control.post("/v1/login", {}).json["url"].partition("7410")[2]
    cookie = control.stranger("GET", link).headers["set-cookie"].partition(";")[0]
    assert control.stranger("GET", "/login", headers={"cookie": cookie, **PAGE}).headers["location"] == "/"
    left = control.stranger("GET", "/login", headers=PAGE)
    assert (left.status, "You are logged out" in left.text, "qd open" in left.text) == (200, True, True)
    assert control.stranger("GET", "/login").status == 422
    assert control.stranger("GET", "/login").json["error"]["message"].startswith("code: ")


def test_before_anything_is_deployed_every_place_says_so(control):
    for path in ("/", "/clusters", "/links", "/replicas", "/deployments", "/messages", "/budgets"):
        answer = control.get(path, **PAGE)
        assert (answer.status, "Nothing is deployed yet" in answer.text) == (200, True), path


def test_what_is_no_document_is_no_yaml(control):
    control.up()
    answer = control.get("/yaml?source=/v1/logs")
    assert answer.status == 400
    assert "it is a stream" in answer.text
