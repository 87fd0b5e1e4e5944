from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from quarterdeck.spec.quantities import Bytes, Cores, Duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5), ("250ms", 0.25), ("2m", 120), ("1h30m", 5400), ("7d", 604800), ("1.5s", 1.5), ("0s", 0)]
)
def test_durations_are_seconds(text, seconds):
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("512Mi", 2**29), ("1Gi", 2**30), ("500M", 500_000_000), ("1.5Gi", 3 * 2**29), ("4Ki", 4096)])
def test_sizes_are_bytes(text, size):
    assert Bytes.parse(text) == size


@pytest.mark.parametrize(("value", "cores"), [(1, 1), (0.5, 0.5), ("500m", 0.5)])
def test_cores_are_numbers_or_thousandths(value, cores):
    assert Cores.parse(value) == cores


@pytest.mark.parametrize("kind", [Duration, Bytes])
@pytest.mark.parametrize("value", [5, 5.0, True, None, "", "5", "s", "-5s", "5 s", "5S", "5MB", "1e3s", "9" * 100 + "s", "٣s", "5s\n"])
def test_anything_without_a_known_unit_is_refused(kind, value):
    with pytest.raises(PydanticCustomError):
        kind.parse(value)


@pytest.mark.parametrize("text", ["250ms", "5s", "2m", "90s", "1h", "7d", "0s"])
def test_a_duration_is_written_as_people_write_it(text):
    assert Duration.parse(str(Duration.parse(text))) == Duration.parse(text)


@pytest.mark.parametrize(("text", "written"), [("512Mi", "512Mi"), ("1024Mi", "1Gi"), ("500M", "500M"), ("1.5Gi", "1536Mi")])
def test_a_size_is_written_in_its_largest_whole_unit(text, written):
    assert str(Bytes.parse(text)) == written
