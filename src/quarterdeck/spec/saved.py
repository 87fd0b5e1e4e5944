"""What the file of a kept plan begins with. It lies in the folder of the code as often as not, and is neither a spec nor code."""

from __future__ import annotations

import re
from typing import Final

KIND: Final = "SavedPlan"
HEAD_BYTES: Final = 256
"""As much of a file as has to be read to know it."""
_HEAD: Final = re.compile(rb'\s{0,64}\{\s{0,16}"apiVersion":\s{0,16}"quarterdeck\.dev/[a-z0-9]{1,32}",\s{0,16}"kind":\s{0,16}"SavedPlan"')


def is_plan(begin: bytes) -> bool:
    """Whether a file that begins so is a kept plan, whole or not."""
    return _HEAD.match(begin) is not None
