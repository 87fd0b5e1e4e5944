"""Parsing: whatever the files hold, every row read is counted, and a file that cannot be read to its end says so."""

import csv
import gzip
import io
import json

import pytest
import stream
from hypothesis import given, settings
from hypothesis import strategies as st

LOG_COLUMNS = ["Timestamp", "TimeUnixNano", "Node", "PodName", "Container", "TraceID", "SpanID", "Log"]
SPAN_COLUMNS = ["TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "EndTimeUnixNano", "Duration"]
POD = "ts-basic-service-5dc8d4f9fd-46997"


def log_row(text, *, trace="t", span="s", pod=POD, at=10**18):
    return {"TimeUnixNano": str(at), "PodName": pod, "TraceID": trace, "SpanID": span, "Log": json.dumps({"log": text})}


def span_row(span, parent, took, *, pod=POD, operation="/op", trace="t"):
    return {
        "TraceID": trace,
        "SpanID": span,
        "ParentID": parent,
        "PodName": pod,
        "OperationName": operation,
        "StartTimeUnixNano": str(10**18),
        "Duration": str(took),
    }


def write(path, columns, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode()) if path.suffix == ".gz" else text.getvalue().encode())
    return path


@pytest.mark.parametrize(
    ("pod", "service"),
    [
        (POD, "ts-basic-service"),
        ("ts-travel2-service-5c66d57d58-6mp2b", "ts-travel2-service"),
        ("ts-ui-dashboard-5477b965f-2chkr", "ts-ui-dashboard"),
        ("mysql-0", "mysql-0"),
        ("", ""),
    ],
)
def test_a_service_is_the_pod_without_its_hashes(pod, service):
    assert stream.service_of(pod) == service


def test_a_line_is_named_by_level_and_place():
    text = "17:04:09.478 ERROR  f.m.s.BasicServiceImpl#415 TraceID: 08490e4f SpanID: 1eea [getRoutes][Get Route 77 By Ids Failed]\n"
    level, template, shown = stream.template_of(text)
    assert (level, template, shown) == ("ERROR", "ERROR f.m.s.BasicServiceImpl#415", "[getRoutes][Get Route # By Ids Failed]")


def test_two_requests_of_one_statement_have_one_template():
    line = "16:42:22.382 INFO  t.s.TravelServiceImpl#532 TraceID: a SpanID: b [Route id=f3d4d4ef-693b-4456-8eed-59c0d717dd0{}]\n"
    assert stream.template_of(line.format(1)) == stream.template_of(line.format(2))


def test_an_unavailable_service_is_named():
    text = (
        "17:04:17.567 ERROR o.x#175 TraceID: a SpanID: b IllegalStateException: No instances available for ts-payment-service] with root\n"
    )
    assert stream.template_of(text)[1] == "ERROR unavailable:ts-payment-service"


@pytest.mark.parametrize(
    "log", ["", "{", "null", "[1]", "7", '{"log": 3}', '{"other": 1}', "\ufffd" * 9, "[" * 100_000, '{"log": "no level here 12"}']
)
def test_a_hostile_line_is_a_line(log):
    line = stream.parse_line({"Log": log})
    assert line.level == "UNPARSED"
    assert stream.count([stream.Trace("t", [line])])["lines"] == 1


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(LOG_COLUMNS), st.none() | st.text(max_size=60)))
def test_no_row_breaks_the_parsers(row):
    line, span = stream.parse_line(row), stream.parse_span(row)
    assert stream.count([stream.Trace("t", [line], [span])])["lines"] == 1


def test_empty_files_give_nothing(tmp_path):
    (tmp_path / "log.csv").write_text("")
    header = write(tmp_path / "trace.csv.gz", SPAN_COLUMNS, [])
    assert stream.traces([tmp_path / "log.csv"], [header]) == []


def test_a_truncated_gz_is_refused_with_the_row(tmp_path):
    path = write(tmp_path / "log.csv.gz", LOG_COLUMNS, [log_row(f"line {n} {hash(str(n))}") for n in range(20_000)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"log\.csv\.gz cannot be read after row [1-9]\d+"):
        stream.traces([path], [])


def test_a_file_that_is_no_gz_is_refused(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="cannot be read after row 0"):
        list(stream.rows(path))


def test_rows_with_null_bytes_bad_utf8_and_too_many_fields_are_read(tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(b"TraceID,Log\nt\x00,x\nt,\xff\xfe\nt,a,b,c,d\nt\n")
    assert len(stream.traces([path], [])[0].lines) == 4


def test_lines_without_a_trace_are_counted(tmp_path):
    path = write(tmp_path / "log.csv", LOG_COLUMNS, [log_row("x", trace=""), log_row("y", trace="")])
    assert stream.count(stream.traces([path], []))["lines"] == 2


def test_own_time_is_without_callees_and_spans_of_one_pod_are_one_call():
    callee = "ts-route-service-b6c59fb57-zv8dt"
    rows = [span_row("a", "root", 100), span_row("b", "a", 90), span_row("c", "b", 64, pod=callee, operation="/r")]
    trace = stream.Trace("t", [stream.parse_line(log_row("x", span="b"))], [stream.parse_span(row) for row in rows])
    calls = stream.count([trace])["calls"]
    assert calls["ts-basic-service /op"]["n"] == 1
    assert calls["ts-basic-service /op"]["took"] == {str(stream.bucket(36)): 1}
    assert calls["ts-basic-service /op"]["callees"] == {"ts-route-service /r": 1}
    assert calls["ts-route-service /r"]["took"] == {str(stream.bucket(64)): 1}
    assert list(calls["ts-basic-service /op"]["marks"]) == ["UNPARSED x"]


def test_a_circle_of_parents_ends():
    rows = [span_row("a", "b", 10), span_row("b", "a", 10)]
    assert stream.count([stream.Trace("t", [], [stream.parse_span(row) for row in rows])])["spans"] == 2


def test_a_call_that_found_a_service_unavailable_is_not_judged():
    line = stream.parse_line(log_row("17:04:17.567 ERROR o.x#1 No instances available for ts-x-service", span="a"))
    call = stream.count([stream.Trace("t", [line], [stream.parse_span(span_row("a", "root", 5))])])["calls"]["ts-basic-service /op"]
    assert (call["n"], call["judged"], call["marks"]) == (1, 0, {})


def test_counts_by_service_add_up_to_the_whole():
    rows = [span_row("a", "root", 100), span_row("b", "a", 30)]
    trace = stream.Trace("t", [stream.parse_line(log_row("x", span="a"))], [stream.parse_span(row) for row in rows])
    whole, parts = stream.count([trace]), stream.by_service([trace])
    assert sum(part["lines"] for part in parts.values()) == whole["lines"] == 1
    assert sum(part["spans"] for part in parts.values()) == whole["spans"] == 2
    assert {name: call for part in parts.values() for name, call in part["calls"].items()} == whole["calls"]
    assert {mark for part in parts.values() for mark in part["texts"]} == set(whole["texts"])
    assert stream.by_service([]) == {}
