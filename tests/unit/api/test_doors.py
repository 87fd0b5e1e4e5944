"""Who is refused, what is unknown, and what each of them is told to do."""

import asyncio
import os

import pytest

from quarterdeck.api.errors import turned_away
from quarterdeck.errors import Forbidden
from quarterdeck.model.grant import EVERYTHING
from quarterdeck.store import tokens


def told(answer):
    """(status, what to do)."""
    return answer.status, answer.json["error"]["hint"]


def test_every_stranger_is_told_the_way_in(control):
    owner = os.getuid()
    assert told(control.get("/v1/systems", client=(f"uid:{owner + 1}", 1))) == (403, f"run qd as uid {owner}, who started it")
    assert told(control.get("/v1/systems", client=(f"uid:{owner}", 666)))[0] == 403
    assert "ctx.ask" in control.get("/v1/systems", client=(f"uid:{owner}", 666)).json["error"]["hint"]
    assert told(control.stranger("GET", "/v1/systems")) == (403, "qd open prints a link that logs a browser in")
    foreign = control.stranger("GET", "/healthz", headers={"origin": "http://evil.example"})
    assert told(foreign) == (403, "open the dashboard at http://127.0.0.1:7410")
    assert told(control.post("/v1/apply", {}, **{"content-length": str(5 << 20)}))[0] == 413


def test_specs_and_login_links_come_through_the_socket_only(control):
    _, secret = control.store.write_sync(lambda tx: tokens.create(tx, EVERYTHING, 60.0, "test"))
    bearer = {"authorization": f"Bearer {secret}"}
    assert "on the machine" in told(control.stranger("POST", "/v1/apply", json=control.body, headers=bearer))[1]
    assert "on the machine" in told(control.stranger("POST", "/v1/login", headers=bearer))[1]
    assert "Bearer" in told(control.stranger("GET", f"/login?code={secret}"))[1]


@pytest.mark.parametrize("path", ["/v1/explain?target=one/raeder", "/v1/logs?target=one/raeder"])
def test_a_target_that_does_not_exist_is_refused_with_the_nearest_name(control, path):
    control.up()
    answer = control.get(path)
    assert (answer.status, answer.json["error"]["message"]) == (404, 'pair has no "one/raeder"')
    assert answer.json["error"]["hint"] == 'did you mean "one/reader"?'


def test_a_system_that_is_not_there_is_refused_with_those_that_are(control):
    assert told(control.get("/v1/status")) == (404, "qd up deploys ./quarterdeck.yaml")
    assert told(control.get("/v1/status?system=x")) == (404, "none is deployed; qd up deploys ./quarterdeck.yaml")
    control.up()
    assert told(control.get("/v1/status?system=x")) == (404, "deployed: pair")


def test_a_malformed_body_names_its_field_and_where_it_is_described(control):
    answer = control.post("/v1/changes", {"target": "one/reader", "field": "hold", "value": True, "reason": ""})
    assert answer.status == 422
    assert answer.json["error"]["message"].startswith("reason: ")
    assert answer.json["error"]["hint"] == "qd api openapi describes every field"


def test_a_change_ends_once(control):
    control.up()
    made = control.post("/v1/changes", {"target": "one/reader", "field": "hold", "value": True, "reason": "why"}).json
    assert (made["apiVersion"], made["kind"]) == ("quarterdeck.dev/v1alpha1", "Change")
    assert control.delete(f"/v1/changes/{made['id']}").json["state"] == "reverted"
    again = control.delete(f"/v1/changes/{made['id']}")
    assert (again.status, again.json["error"]["message"]) == (409, f"change {made['id']} has ended already")
    assert again.json["error"]["hint"]


def test_a_change_that_is_ended_by_two_at_once_harms_neither(control):
    control.up()
    until = control.engine.clock.now() + 5
    change = {"target": "one/reader", "field": "hold", "value": True, "reason": "why", "until": until}
    number = control.post("/v1/changes", change).json["id"]
    control.engine.clock.advance(10)

    async def both():
        await asyncio.gather(control.fleet.expire(), control.fleet.expire())

    asyncio.run(both())
    ended = {c["id"]: c["state"] for c in control.get("/v1/changes").json["items"]}
    assert ended[number] == "expired"


def test_every_answer_is_hardened_against_what_browsers_make_of_it(control):
    answers = [
        control.get("/healthz"),
        control.get("/v1/systems"),
        control.get("/nothing"),
        control.stranger("GET", "/v1/systems"),
        control.get("/"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert "access-control-allow-origin" not in answer.headers
    assert len(answers[0].headers.get_list("content-security-policy")) == 1


def test_somebody_who_opens_a_page_without_being_logged_in_reads_a_sentence(control):
    answer = control.stranger("GET", "/", headers={"accept": "text/html,*/*"})
    assert (answer.status, "text/html" in answer.headers["content-type"]) == (403, True)
    assert "qd open prints a link that logs a browser in" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    hostile = control.stranger("GET", "/", headers={"accept": "text/html", "host": "<script>x</script>:7410"})
    assert (hostile.status, "<script>" in hostile.text, "&lt;script&gt;" in hostile.text) == (403, False, True)


CAME_BY_A_LINK = {"accept": "text/html,*/*", "sec-fetch-site": "cross-site", "sec-fetch-dest": "document", "sec-fetch-mode": "navigate"}


def test_a_browser_that_comes_by_a_link_on_another_site_asks_once_more_from_a_page_of_ours(control):
    """Only from there does it bring its SameSite=Strict cookie."""
    answer = control.stranger("GET", '/clusters/a%22%3E%3Cb%5C?x=1&y="<', headers=CAME_BY_A_LINK)
    assert answer.status == 403
    assert '<meta http-equiv="refresh" content="0; url=/clusters/a%22%3E%3Cb%5C?x=1&amp;y=%22%3C">' in answer.text
    for other in ({"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}, {"sec-fetch-dest": "iframe"}):
        assert "refresh" not in control.stranger("GET", "/", headers={**CAME_BY_A_LINK, **other}).text, "it would go round"
    assert "refresh" not in control.stranger("POST", "/v1/login", headers=CAME_BY_A_LINK).text
    headers = [(name.encode(), value.encode()) for name, value in CAME_BY_A_LINK.items()]
    scope = {"type": "http", "method": "GET", "path": "//evil.example/", "query_string": b"", "headers": headers}
    assert b"refresh" not in turned_away(Forbidden("no"), scope).body, "it would lead elsewhere"
