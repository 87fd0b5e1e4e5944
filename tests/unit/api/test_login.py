"""A login link leads to a page of this dashboard, and nowhere else whoever has written on it."""

from urllib.parse import parse_qs, quote, urlsplit

import pytest

from quarterdeck.api.login import LONGEST

PAGE = {"accept": "text/html,*/*"}
PAGES = (
    "/",
    "/clusters/one",
    "/agents/one/reader?system=pair",
    "/replicas/one/reader-0",
    "/links?system=pair#one-%3Etwo",
    "/tasks/01M8HXFD25B4EETYEXX2273T60",
    "/docs/",
    "/agents/one/reader?verb=x&as=json#try",
)
ELSEWHERE = (
    "//evil.example",
    "///evil.example",
    "//evil.example/agents/one/reader",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/clusters/one\\..\\x",
    "https://evil.example",
    "https:/evil.example",
    "http:evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.example",
    "clusters/one",
    "",
    " /clusters/one",
    "/clusters/one ",
    "\t//evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/clusters/one\r\nSet-Cookie: a=b",
    "/clusters/one\x00",
    "/clusters/one\x7f",
    "/clusters/\u2028one",
    "/clusters/öne",
    "/..//evil.example",
    "/.//evil.example",
    "/%2e%2e//evil.example",
    "/docs/../../evil",
    "/@evil.example/../",
    "/<script>",
    '/"onload=x',
    "/nowhere/at/all",
    "/logout",
    "/login?code=other",
    "/v1/replicas",
    "/v1/revisions/1/diff",
    "/healthz",
    "/" + "x" * LONGEST,
)


def link(control, **body):
    return control.post("/v1/login", body)


def relative(url):
    return url.removeprefix("http://127.0.0.1:7410")


@pytest.mark.parametrize("page", PAGES)
def test_one_link_logs_in_and_lands_on_the_page(control, page):
    control.up()
    answer = link(control, next=page)
    assert answer.status == 200, answer.text
    url = answer.json["url"]
    assert parse_qs(urlsplit(url).query).get("next", ["/"]) == [page]
    landed = control.stranger("GET", relative(url), headers=PAGE)
    assert (landed.status, landed.headers["location"]) == (303, page)
    cookie = {"cookie": landed.headers["set-cookie"].partition(";")[0], **PAGE}
    again = control.stranger("GET", relative(url), headers=cookie)
    assert (again.status, again.headers["location"]) == (303, page), "a second click by whoever it has logged in"


def test_without_a_page_it_is_the_link_that_it_was(control):
    url = link(control).json["url"]
    assert urlsplit(url).query.startswith("code=qd_")
    assert "next" not in url
    assert control.stranger("GET", relative(url)).headers["location"] == "/"


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_no_link_is_made_that_leads_elsewhere(control, elsewhere):
    before = control.journalled()
    answer = link(control, next=elsewhere)
    assert answer.status in (400, 422), answer.text
    assert control.journalled() == before, "nor a code"


@pytest.mark.parametrize("elsewhere", ELSEWHERE)
def test_whatever_is_written_on_a_link_it_leads_nowhere_else(control, elsewhere):
    for _ in range(2):  # also on a second click, by whoever is logged in
        url = relative(link(control).json["url"])
        landed = control.stranger("GET", f"{url}&next={quote(elsewhere, safe='')}", headers=PAGE)
        if landed.status == 422:
            assert len(elsewhere) > LONGEST
            continue
        assert (landed.status, landed.headers["location"]) == (303, "/")
        cookie = {"cookie": landed.headers["set-cookie"].partition(";")[0], **PAGE}
        again = control.stranger("GET", f"{url}&next={quote(elsewhere, safe='')}", headers=cookie)
        assert (again.status, again.headers["location"]) == (303, "/")


def test_a_wrong_code_goes_nowhere_whatever_page_it_names(control):
    answer = control.stranger("GET", "/login?code=qd_00000000_guess&next=/clusters/one", headers=PAGE)
    assert answer.status == 403
    assert "location" not in answer.headers


def test_the_page_of_a_login_is_shown_with_the_rights_of_the_link_alone(control):
    control.up()
    url = link(control, next="/settings", role="viewer", cluster="one").json["url"]
    landed = control.stranger("GET", relative(url), headers=PAGE)
    cookie = {"cookie": landed.headers["set-cookie"].partition(";")[0], **PAGE}
    assert "Only an administrator" in control.stranger("GET", landed.headers["location"], headers=cookie).text
