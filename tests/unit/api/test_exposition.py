"""The text that monitoring reads, as the format demands it."""

import shutil
import subprocess

import pytest

from quarterdeck.api.exposition import Family, text

ODD = 'a"b\\c\nd'


def families():
    gauge = Family("quarterdeck_things", "gauge", "Things\nthat are \\ there.")
    gauge.add(1, {"name": ODD})
    gauge.add(0.25, {"name": "b"})
    lone = Family("quarterdeck_on", "gauge", "Whether it is on.")
    lone.add(1)
    taken = Family("quarterdeck_seconds", "histogram", "How long it took.")
    taken.histogram({"kind": "x"}, [0.5, 1.0], [2, 0, 1], 7.5)
    return [gauge, lone, taken, Family("quarterdeck_none_total", "counter", "Nothing.")]


def test_each_family_has_one_help_and_type_and_one_without_series_is_left_out():
    assert text(families()) == (
        "# HELP quarterdeck_things Things\\nthat are \\\\ there.\n"
        "# TYPE quarterdeck_things gauge\n"
        'quarterdeck_things{name="a\\"b\\\\c\\nd"} 1\n'
        'quarterdeck_things{name="b"} 0.25\n'
        "# HELP quarterdeck_on Whether it is on.\n"
        "# TYPE quarterdeck_on gauge\n"
        "quarterdeck_on 1\n"
        "# HELP quarterdeck_seconds How long it took.\n"
        "# TYPE quarterdeck_seconds histogram\n"
        'quarterdeck_seconds_bucket{kind="x",le="0.5"} 2\n'
        'quarterdeck_seconds_bucket{kind="x",le="1"} 2\n'
        'quarterdeck_seconds_bucket{kind="x",le="+Inf"} 3\n'
        'quarterdeck_seconds_sum{kind="x"} 7.5\n'
        'quarterdeck_seconds_count{kind="x"} 3\n'
    )


def test_a_histogram_with_another_number_of_buckets_is_refused():
    with pytest.raises(ValueError, match="zip"):
        families()[2].histogram({}, [1.0], [1, 2, 3], 0)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus")
def test_prometheus_reads_it():
    done = subprocess.run(["promtool", "check", "metrics"], check=False, input=text(families()), capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr + done.stdout
