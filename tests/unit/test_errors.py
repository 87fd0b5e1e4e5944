"""An error is named by its kind, once."""

import pytest

from quarterdeck.errors import Terminal, UserError, named


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Terminal("no such order"), "Terminal: no such order"),
        (Terminal("Terminal: no such order"), "Terminal: no such order"),
        (UserError("Terminal: no such order"), "UserError: Terminal: no such order"),
        (ValueError(), "ValueError: ValueError"),
    ],
)
def test_an_error_is_named_once(error, told):
    assert named(error) == told
