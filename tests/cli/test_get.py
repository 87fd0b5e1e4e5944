"""`qd get` against the fake: tables, documents, filters, and what is said of nothing."""

import pytest

from quarterdeck.cli.get import following


def test_get_is_a_table_in_a_pipe_without_colour_or_cuts(fake, qd):
    ran = qd("get", "replicas", "-o", "wide")
    first, *rows = ran.out.splitlines()
    assert first.split() == ["NAME", "STATE", "PID", "RESTARTS", "AGE", "REASON", "INCARNATION", "REVISION", "LAST", "EXIT"]
    assert rows[1].split()[:4] == ["analysts/analyst-1", "starting", "101", "1"]
    assert rows[1].endswith("signal 9")
    assert "\x1b" not in ran.out


def test_get_json_is_a_list_document(fake, qd, documents):
    assert qd("get", "replicas", "-o", "json").json == documents.listed(documents.replicas)


def test_get_one_by_singular_and_name(fake, qd):
    assert [item["pid"] for item in qd("get", "replica", "analysts/analyst-1", "-o", "json").json["items"]] == [101]
    assert qd("get", "replicas", "-o", "name").out == "analysts/analyst-0\nanalysts/analyst-1\n"


def test_an_empty_list_says_how_to_fill_it_on_stderr(fake, qd):
    ran = qd("get", "changes")
    assert (ran.code, ran.out) == (0, "")
    assert "qd scale makes one" in ran.err
    assert qd("get", "changes", "-o", "json").json["items"] == []


def message(n, **more):
    return {"kind": "Message", "id": f"{n:032x}", "state": "dead", "from": "a/b-0", "target": "c/d", "key": f"order-{n}", **more}


def test_messages_are_filtered_and_paged_as_tasks_are(fake, qd):
    pages = {None: ([message(2), message(1)], 1), "1": ([message(0)], None)}

    def answer(query, *_):
        items, following = pages[query.get("before")]
        return {"apiVersion": "quarterdeck.dev/v1alpha1", "kind": "List", "items": items, "next": following}

    fake.answers["GET", "/v1/messages"] = answer
    ran = qd("get", "messages", "--state", "dead", "--key", "order-", "--target", "c/d", "-o", "json")
    assert [item["key"] for item in ran.json["items"]] == ["order-2", "order-1", "order-0"]
    assert [query["before"] for _, path, query, *_ in fake.requests if path == "/v1/messages" and "before" in query] == ["1"]
    assert fake.requests[-1][2].items() >= {"state": "dead", "key": "order-", "target": "c/d"}.items()
    assert qd("message", "list", "--key", "order-", "--limit", "2", "-o", "name").out.splitlines() == [f"{2:032x}", f"{1:032x}"]


def test_one_message_is_found_by_its_id_however_many_there_are(fake, qd):
    fake.answers["GET", f"/v1/messages/{5:032x}"] = {"apiVersion": "quarterdeck.dev/v1alpha1", **message(5)}
    assert [item["key"] for item in qd("get", "message", f"{5:032x}", "-o", "json").json["items"]] == ["order-5"]


@pytest.mark.parametrize("arguments", [("replicas", "--state", "ready"), ("effects", "--key", "x"), ("budgets", "--target", "a/b")])
def test_a_filter_that_a_noun_does_not_have_is_a_usage_error(fake, qd, arguments):
    ran = qd("get", *arguments)
    assert ran.code == 2
    assert "--state, --target and --key are for tasks and messages" in ran.err


def test_what_is_recommended_below_a_list_works_with_what_is_in_it():
    ended, live = ({"id": n, "state": state} for n, state in ((9, "reverted"), (7, "live")))
    assert following("changes", [ended, live]) == "qd revert 7"
    assert "revert" not in following("changes", [ended])
    restarted = {**live, "id": 8, "patch": {"field": "restart_before", "value": 1.0}}
    assert following("changes", [restarted, live]) == "qd revert 7"
    assert "revert" not in following("changes", [restarted]), "it was done once"
    effect = {"task": "01M8", "key": "pay", "outcome": "unknown"}
    assert following("effects", [effect]).startswith("qd task resolve 01M8 pay ")
    assert "resolve" not in following("effects", [{**effect, "outcome": "done"}])
    assert "resume" in following("budgets", [{"name": "a", "tripped": None}, {"name": "b", "tripped": {"reason": "x"}}])
    assert "resume" not in following("budgets", [{"name": "a", "tripped": None}])


@pytest.mark.parametrize(
    ("path", "out"),
    [
        ("$.items[*].name", "analysts/analyst-0\nanalysts/analyst-1\n"),
        ("{.items[*].name}", "analysts/analyst-0\nanalysts/analyst-1\n"),
        (".items[1].pid", "101\n"),
        ("$.items[?@.state=='ready'].name", "analysts/analyst-0\n"),
        ("$.kind", "List\n"),
        ("$.items[0].nothing", ""),
    ],
)
def test_get_what_a_path_finds(fake, qd, path, out):
    ran = qd("get", "replicas", "-o", f"jsonpath={path}")
    assert (ran.code, ran.out) == (0, out), ran


def test_what_a_path_finds_rules_no_terminal(fake, qd, documents):
    fake.answers["GET", "/v1/replicas"] = documents.listed([{**documents.replicas[0], "reason": "\x1b[2Jgone\nnext"}])
    assert qd("get", "replicas", "-o", "jsonpath=$.items[0].reason").out.count("\n") == 1
    assert "\x1b" not in qd("get", "replicas", "-o", "jsonpath=$.items[0]").out


def test_a_path_that_is_none_stops_a_change_before_it_is_made(fake, qd):
    assert qd("scale", "analysts/analyst", "3", "-o", "jsonpath=$[").code == 2
    assert not fake.requests
