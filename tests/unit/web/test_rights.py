"""Pages tell what their reader may not see from what is not there, offer nothing that would be refused, and are whole when they refuse."""

import re
from dataclasses import replace

import pytest

PAGE = {"accept": "text/html,*/*"}
SPEC = """\
apiVersion: quarterdeck.dev/v1alpha1
kind: System
metadata: {name: pair}
spec:
  clusters:
    one: {agents: {reader: {run: "agents:reader", replicas: 2}}}
    two: {agents: {reader: {run: "agents:reader"}}}
  links: [{from: one, to: two}]
"""


@pytest.fixture
def weak(make_control, monkeypatch):
    """A pair on a machine that lacks something."""
    with make_control(SPEC) as control:
        whole = type(control.engine).observe

        async def observe(self, system):
            return replace(await whole(self, system), weakenings=("cgroup v1",))

        monkeypatch.setattr(type(control.engine), "observe", observe)
        control.up()
        yield control


@pytest.fixture
def reader(weak):
    """Gives a page as somebody with a token gets it."""

    def get(path, role="viewer", cluster=None, *, status=200):
        asked = {"role": role, "ttl": 600, "note": "a reader", **({"cluster": cluster} if cluster else {})}
        secret = weak.post("/v1/tokens", asked).json["token"]
        answer = weak.stranger("GET", path, headers={"authorization": f"Bearer {secret}", **PAGE})
        assert answer.status == status, answer.text
        return answer

    return get


def places(page):
    return re.findall(r'data-key="." *(?:aria-current="page")?>([^<]*)', page.text)


def test_what_the_machine_lacks_is_told_to_everybody(reader):
    for cluster in (None, "one"):
        shown = reader("/settings", cluster=cluster).text
        assert "cgroup v1" in shown
        assert "at its full strength" not in shown
        assert "cgroup v1" in reader("/", cluster=cluster).text


def test_what_is_not_known_is_not_said_to_be_none(reader, weak):
    weak.post("/v1/down", {"system": "pair"})
    shown = reader("/settings", cluster="one").text
    assert "at its full strength" not in shown
    assert "Not known" in shown


def test_an_overview_of_one_cluster_says_that_it_is_one(reader):
    shown = reader("/", cluster="one").text
    assert "Nothing in one: of the rest your token tells nothing" in shown
    assert "A part only" in shown
    assert "clusters isolated" not in shown, "whether it holds is seen with other clusters only"
    assert "every replica answers" in shown
    assert "of 100" not in shown
    whole = reader("/").text
    assert "Every replica answers, every link is open" in whole
    assert "clusters isolated" in whole
    assert "of 100" in whole


def test_the_api_scores_what_a_token_may_see_and_nothing_else(reader):
    told = reader("/v1/status", cluster="one").json["readiness"]
    assert {"clusters isolated", "links carry messages"}.isdisjoint(p["name"] for p in told["points"])
    assert told["score"] == sum(p["earned"] for p in told["points"])


def test_nobody_is_led_where_he_is_refused(reader):
    assert "Deployments" in places(reader("/"))
    of_one = reader("/", cluster="one")
    assert "Deployments" not in places(of_one)
    assert "/deployments" not in of_one.text
    for role, cluster in (("viewer", None), ("viewer", "one"), ("operator", "one"), ("deployer", None), ("admin", None)):
        links = {"/docs/"}
        for path in ("/", "/clusters/one", "/agents/one/reader", "/replicas/one/reader-0", "/links", "/changes", "/journal", "/settings"):
            links |= set(re.findall(r'<a [^>]*href="(/[^"#]*)', reader(path, role, cluster).text))
        alike = sorted(link for link in links if link.startswith("/settings/tokens/"))[1:]  # one of each reader that came here
        for link in links - {"/docs/", *alike}:
            reader(link.replace("&amp;", "&"), role, cluster)


@pytest.mark.parametrize(
    ("role", "cluster", "path", "buttons"),
    [
        ("viewer", None, "/agents/one/reader", []),
        ("operator", "one", "/agents/one/reader", ["scale", "restart", "hold", "stop"]),
        ("viewer", "one", "/", []),
        ("operator", None, "/", []),
        ("admin", None, "/", ["stop"]),
        ("operator", None, "/deployments", ["validate"]),
    ],
)
def test_a_button_is_there_for_who_may_press_it(reader, role, cluster, path, buttons):
    assert re.findall(r'class="button" href="/act/(\w+)', reader(path, role, cluster).text) == buttons


def test_who_may_not_send_is_told_so(reader):
    assert "<button>Send</button>" not in reader("/agents/one/reader").text
    assert "<button>Send</button>" in reader("/agents/one/reader", "operator").text


@pytest.mark.parametrize(("path", "status"), [("/deployments", 403), ("/nonexistent", 404), ("/clusters/one/two/three", 404)])
def test_a_refusal_at_the_door_is_drawn_in_the_frame(reader, path, status):
    answer = reader(path, cluster="one", status=status)
    assert 'id="dialog"' in answer.text
    assert 'href="/journal"' in answer.text
    assert "quarterdeck.css" in answer.text


def test_who_is_nobody_gets_words_without_a_frame_and_programs_get_json(weak):
    stranger = weak.stranger("GET", "/deployments", headers=PAGE)
    assert stranger.status == 403
    assert "<nav" not in stranger.text
    assert "qd open" in stranger.text
    assert weak.get("/nonexistent").json["error"]["kind"] == "NotFound"


def test_the_icon_is_where_browsers_look_for_it(weak):
    found = weak.get("/favicon.ico")
    assert (found.status, found.headers["content-type"]) == (200, "image/svg+xml")


# the link that logs in


def log_in(control, **headers):
    link = control.post("/v1/login", {}).json["url"].partition("7410")[2]
    answer = control.stranger("GET", link, headers={**PAGE, **headers})
    assert answer.status == 303
    return link, answer.headers["set-cookie"].partition(";")[0]


def test_a_used_link_says_what_to_do(weak):
    link, _ = log_in(weak)
    again = weak.stranger("GET", link, headers=PAGE)
    assert again.status == 403
    assert again.headers["content-type"].startswith("text/html")
    assert "used already" in again.text
    assert "qd open" in again.text
    assert weak.stranger("GET", link).json["error"]["kind"] == "Forbidden"


def test_a_used_link_leads_on_whoever_it_has_logged_in(weak):
    link, cookie = log_in(weak)
    again = weak.stranger("GET", link, headers={**PAGE, "cookie": cookie})
    assert (again.status, again.headers["location"]) == (303, "/")
    assert "set-cookie" not in again.headers
    stale = weak.stranger("GET", link, headers={**PAGE, "cookie": cookie[:-3] + "xxx"})
    assert stale.status == 403
