"""Asking an agent over the API."""

import pytest


@pytest.mark.parametrize("target", ["one/nobody", "nowhere/reader", "one/nobody-0"])
def test_an_agent_that_is_not_there_is_not_found_as_it_is_for_a_task(control, target):
    control.up()
    asked = control.post("/v1/ask", {"target": target, "verb": "read"})
    given = control.post("/v1/tasks", {"target": target})
    assert (asked.status, asked.json["error"]["exit_code"]) == (given.status, given.json["error"]["exit_code"]) == (404, 3)
    assert "one/reader" in asked.json["error"]["hint"]
