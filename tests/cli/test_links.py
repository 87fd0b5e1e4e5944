"""`qd explain 'a->b'`, and `qd open` with a target or a cluster."""

import pytest

LINK = {
    "name": "collectors->analysts", "from": "collectors", "to": "analysts", "open": True, "timeout": 5.0, "attempts": 3,
    "breaker": {"failures": 5, "reset": 30.0, "probes": 1}, "evidence": "4 ms", "per_second": 1.5, "failed_per_second": 0.25, "sent": 12,
    "circuits": {"closed": 2, "half-open": 0, "open": 1},
}  # fmt: skip
CONDITIONS = [
    {"kind": "LinkCarries", "target": "collectors->analysts", "status": "true", "message": "4 ms"},
    {"kind": "LinkCarries", "target": "analysts->reporting", "status": "true", "message": "9 ms"},
]
PAGES = "http://127.0.0.1:7410"


@pytest.fixture
def link(fake, documents):
    fake.answers["GET", "/v1/links"] = documents.listed([LINK])
    fake.answers["GET", "/v1/conditions"] = documents.listed(CONDITIONS)
    record = {**documents.record(7), "target": LINK["name"]}
    step = {**record, "verb": "step.EnsureLink", "reason": "not open", "evidence": "open"}
    steps = documents.listed([{**step, "outcome": "begun"}, step])
    fake.answers["GET", "/v1/journal"] = lambda query, *_: steps if query.get("verb") == "step." else documents.listed([record])
    return fake


def test_a_link_tells_its_policy_its_breakers_what_goes_over_it_and_what_was_done(link, qd):
    ran = qd("explain", "collectors->analysts")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        "collectors->analysts: open, cut off for 1 replica by the breaker",
        "  Policy      timeout 5 s, at most 3 attempts",
        "  Breaker     opens after 5 failures, tries 1 message again after 30 s",
        "              closed at 2 replicas, open at 1 replica",
        "  Traffic     1.5 a second, of which 0.25 failed; 12 messages since the replicas that run now began",
        "  Carried out 2026-11-24 16:12:01.250 collectors->analysts not open: done (open)",
        "  Conditions  LinkCarries true: 4 ms",
        "  Journal     7 2026-11-24 16:12:01.250 uid:0 apply collectors->analysts done (first)",
    ]
    newest = {"target": "collectors->analysts", "limit": "5", "newest": "true"}
    assert [query for query, _ in link.asked("GET", "/v1/journal")] == [{**newest, "verb": "step."}, newest]
    document = qd("explain", "collectors->analysts", "-o", "json").json
    assert (document["kind"], document["link"], len(document["conditions"])) == ("Explanation", LINK, 1)


def test_a_link_that_is_closed_or_cannot_be_seen_says_so(link, qd, documents):
    shut = {**LINK, "open": False, "per_second": None, "failed_per_second": None, "sent": None, "circuits": {}}
    link.answers["GET", "/v1/links"] = documents.listed([shut])
    out = qd("explain", "triage:collectors->analysts").out
    assert out.startswith("collectors->analysts: closed: nothing passes from collectors to analysts")
    assert "  Traffic     cannot be seen now" in out
    assert link.asked("GET", "/v1/links")[0][0] == {"system": "triage"}


def test_a_link_that_is_not_there_is_not_found_with_the_nearest(link, qd):
    ran = qd("explain", "collectors->analyst")
    assert ran.code == 3
    assert "did you mean 'collectors->analysts'?" in ran.err


@pytest.mark.parametrize(
    ("target", "page"),
    [
        ("analysts/analyst", "/agents/analysts/analyst"),
        ("analysts/analyst-1", "/replicas/analysts/analyst-1"),
        ("analysts", "/clusters/analysts"),
        ("triage:analysts", "/clusters/analysts?system=triage"),
        ("collectors->analysts", "/links#collectors-%3Eanalysts"),
        ("triage:", "/?system=triage"),
        ("01M8HXFD25B4EETYEXX2273T60", "/tasks/01M8HXFD25B4EETYEXX2273T60"),
    ],
)
def test_open_asks_for_one_link_that_logs_in_and_leads_to_the_page_of_a_target(link, qd, target, page):
    link.answers["GET", "/v1/explain"] = lambda query, *_: {"target": query.get("target", "triage:")}
    link.answers["GET", "/v1/tasks/01M8HXFD25B4EETYEXX2273T60"] = {"id": "01M8HXFD25B4EETYEXX2273T60"}
    ran = qd("open", target)
    assert (ran.code, ran.out, ran.err) == (0, f"{PAGES}/login?once=x\n", "")
    assert link.asked("POST", "/v1/login")[-1][1] == {"role": "admin", "next": page}
    assert qd("open", target, "-o", "json").json["page"] == f"{PAGES}{page}"


def test_open_of_what_is_not_there_makes_no_link(link, qd, documents):
    link.answers["GET", "/v1/explain"] = documents.refused("NotFound", 404, 3, 'triage has no "nope"', hint="did you mean")
    assert qd("open", "nope").code == 3
    assert qd("open", "a->b").code == 3
    assert not link.asked("POST", "/v1/login")


def test_open_for_a_cluster_that_nobody_has_warns_as_a_token_does(fake, qd):
    link = fake.answers["POST", "/v1/login"]
    for place in ("nope", "other/analysts"):
        fake.answers["POST", "/v1/login"] = {**link, "warnings": [f"no system has a cluster {place} now"]}
        assert qd("open", "--cluster", place).err == f"warning: no system has a cluster {place} now\n"
    fake.answers["POST", "/v1/login"] = {**link, "warnings": []}
    assert qd("open", "--cluster", "analysts").err == ""
    assert qd("open", "--cluster", "triage/analysts").err == ""
