"""What a request asks for, and which are refused before anything is done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.http import request
from tlsrt.loops.http.query import Later
from tlsrt.loops.http.request import Act, HttpCall, accepts
from tlsrt.loops.http.response import Problem
from tlsrt.loops.http.site import ForeignRequest, HostNames

HOST = ("host", "kitchen.example:7443")
JSON = ("content-type", "application/json")
NAMES = HostNames(["Kitchen.example", "*.wild.example", "127.0.0.1", "0:0::1"])


def wish_untrusted(method: str, target: str, headers: list[tuple[str, str]]) -> HttpCall:
    return request.wish_untrusted(method, target, headers, NAMES)


def test_a_call() -> None:
    wish = wish_untrusted("POST", "/v1/call/secondary/store/get", [HOST, JSON])
    assert wish == HttpCall(Act.CALL, "secondary/store", "get")


def test_a_call_with_a_time_and_a_key() -> None:
    headers = [HOST, ("content-type", "Application/JSON; charset=utf-8"), ("idempotency-key", "k1")]
    wish = wish_untrusted("POST", "/v1/call/a/b/c?timeout_s=2.5", headers)
    assert (wish.timeout_s, wish.idempotency_key) == (2.5, "k1")


@pytest.mark.parametrize(
    ("query", "later"),
    [
        ("in=10m", Later("10m")),
        ("every=2h&jitter=5m&missed=skip&timeout_s=5", Later("every 2h", "skip", "5m")),
        ("at=30%206%20*%20*%20*", Later("30 6 * * *")),
        ("at=30+6+*+*+*&missed=1h", Later("30 6 * * *", "1h")),  # as a browser writes blanks
        ("at=2026-12-01T06:30:00+01:00", Later("2026-12-01T06:30:00+01:00")),
    ],
)
def test_a_call_for_later(query: str, later: Later) -> None:
    assert wish_untrusted("POST", f"/v1/call/a/b/c?{query}", [HOST, JSON]).later == later


def test_what_is_asked_about_jobs() -> None:
    def act(method: str, path: str) -> tuple[Act, str]:
        wish = wish_untrusted(method, f"/v1/jobs{path}", [HOST, JSON])
        return wish.act, wish.job

    assert act("GET", "") == (Act.JOBS, "")
    assert act("HEAD", "/b2f6f3d0a1c4e875") == (Act.SHOW_JOB, "b2f6f3d0a1c4e875")
    assert act("DELETE", "/b2f6") == (Act.REMOVE_JOB, "b2f6")
    assert act("POST", "/b2f6/pause") == (Act.PAUSE_JOB, "b2f6")
    assert act("POST", "/b2f6/resume") == (Act.RESUME_JOB, "b2f6")


def test_a_stream_and_a_subscription() -> None:
    stream = wish_untrusted("POST", "/v1/call/a/b/c", [HOST, JSON, ("accept", "text/event-stream")])
    assert (stream.act, stream.topic, stream.takes_result, stream.takes_stream) == (Act.CALL, None, False, True)
    events = wish_untrusted("GET", "/v1/events/third/io/notice", [HOST])
    assert (events.act, events.target, events.method, events.topic) == (
        Act.SUBSCRIBE,
        "third/io",
        "subscribe",
        "notice",
    )


def test_names_are_unquoted_once() -> None:
    assert wish_untrusted("POST", "/v1/call/a/b/%C3%BC", [HOST, JSON]).method == "ü"
    assert wish_untrusted("POST", "/v1/call/a/b/%2563", [HOST, JSON]).method == "%63"


@pytest.mark.parametrize("path", ["/v1", "/v1/"])
def test_what_there_is(path: str) -> None:
    assert wish_untrusted("GET", path, [HOST]).act is Act.TARGETS
    assert wish_untrusted("GET", "/v1/openapi.json", [HOST]).act is Act.OPENAPI


@pytest.mark.parametrize(
    ("method", "target", "headers", "status"),
    [
        ("GET", "/", [], 404),
        ("GET", "/v2/", [], 404),
        ("POST", "/v1/call/a/b", [JSON], 404),
        ("POST", "/v1/call/a/b/c/d", [JSON], 404),
        ("POST", "/v1/call/a//c", [JSON], 404),
        ("POST", "/v1/call/a/b/%2F", [JSON], 404),
        ("POST", "/v1/call/a/b/%00", [JSON], 404),
        ("POST", "/v1/call/a/b/%FF", [JSON], 404),
        ("POST", "/v1/call/a/b/" + "x" * 81, [JSON], 404),
        ("POST", "http://kitchen.example/v1/call/a/b/c", [JSON], 404),
        ("POST", "https://elsewhere.example/v1/call/a/b/c", [JSON], 421),
        ("HEAD", "/v1/call/a/b/c", [], 405),
        ("GET", "/v1/events/a/b/c", [("accept", "application/json")], 406),
        ("POST", "/v1/call/a/b/c", [JSON, ("content-encoding", "gzip")], 415),
        ("POST", "/v1/call/a/b/c", [JSON, ("expect", "200-ok")], 417),
        ("POST", "/v1/call/a/b/c?timeout_s=1_0", [JSON], 400),
        ("POST", "/v1/call/a/b/c?timeout_s=+1", [JSON], 400),
        ("POST", "/v1/call/a/b/c?timeout_s=.5", [JSON], 400),
        ("POST", "/v1/call/a/b/c?timeout_s=Infinity", [JSON], 400),
        ("POST", "/v1/call/a/b/c?timeout_s=1e-9", [JSON], 504),
        ("GET", "/v1/call/a/b/c", [], 405),
        ("OPTIONS", "/v1/call/a/b/c", [], 405),
        ("POST", "/v1/events/a/b/c", [], 405),
        ("POST", "/v1/call/a/b/c", [], 415),
        ("POST", "/v1/call/a/b/c", [("content-type", "text/plain")], 415),
        ("POST", "/v1/call/a/b/c", [("content-type", "application/x-www-form-urlencoded")], 415),
        ("POST", "/v1/call/a/b/c", [("content-type", "multipart/form-data; boundary=application/json")], 415),
        ("POST", "/v1/call/a/b/c", [JSON, JSON], 400),
        ("POST", "/v1/call/a/b/c", [JSON, ("idempotency-key", "")], 400),
        ("POST", "/v1/call/a/b/c", [JSON, ("idempotency-key", "x" * 129)], 400),
        ("POST", "/v1/call/a/b/c?timeout_s=0", [JSON], 400),
        ("POST", "/v1/call/a/b/c?timeout_s=301", [JSON], 400),
        ("POST", "/v1/call/a/b/c?timeout_s=nan", [JSON], 400),
        ("POST", "/v1/call/a/b/c?timeout=3", [JSON], 400),
        ("GET", "/v1/events/a/b/c?x=1", [], 400),
        ("POST", "/v1/call/a/b/c?in=10", [JSON], 400),
        ("POST", "/v1/call/a/b/c?in=", [JSON], 400),
        ("POST", "/v1/call/a/b/c?in=10m&in=10m", [JSON], 400),
        ("POST", "/v1/call/a/b/c?in=10m&every=10m", [JSON], 400),
        ("POST", "/v1/call/a/b/c?missed=skip", [JSON], 400),
        ("POST", "/v1/call/a/b/c?at=%FF", [JSON], 400),
        ("POST", "/v1/jobs", [JSON], 405),
        ("GET", "/v1/jobs/", [], 404),
        ("GET", "/v1/jobs?x=1", [], 400),
        ("GET", "/v1/jobs/b2f", [], 404),
        ("GET", "/v1/jobs/B2F6", [], 404),
        ("GET", "/v1/jobsx", [], 404),
        ("GET", "/v1/jobs/b2f6/start", [], 404),
        ("PUT", "/v1/jobs/b2f6", [JSON], 405),
        ("GET", "/v1/jobs/b2f6/pause", [], 405),
        ("POST", "/v1/jobs/b2f6/pause", [], 415),
        ("POST", "/v1/jobs/b2f6/pause/now", [JSON], 404),
        ("DELETE", "/v1/jobs/b2f6", [("sec-fetch-site", "cross-site")], 403),
        ("POST", "/v1/call/a/b/c", [JSON, ("origin", "https://elsewhere.example")], 403),
        ("POST", "/v1/call/a/b/c", [JSON, ("origin", "null")], 403),
        ("GET", "/v1/", [("sec-fetch-site", "cross-site")], 403),
        ("GET", "/v1/events/a/b/c", [("sec-fetch-site", "same-site")], 403),
    ],
)
def test_what_is_refused(method: str, target: str, headers: list[tuple[str, str]], status: int) -> None:
    with pytest.raises(Problem) as refused:
        wish_untrusted(method, target, [HOST, *headers])
    assert refused.value.status == status


def test_a_page_of_this_host_may_ask() -> None:
    headers = [HOST, JSON, ("origin", "https://kitchen.example:7443"), ("sec-fetch-site", "same-origin")]
    assert wish_untrusted("POST", "/v1/call/a/b/c", headers).act is Act.CALL


@pytest.mark.parametrize(
    "origin", ["https://kitchen.example", "https://kitchen.example:7444", "https://127.0.0.1:7443"]
)
def test_another_port_or_name_of_this_host_is_another_site(origin: str) -> None:
    with pytest.raises(ForeignRequest) as refused:
        wish_untrusted("POST", "/v1/call/a/b/c", [HOST, JSON, ("origin", origin)])
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "host",
    ["kitchen.example", "KITCHEN.example:1", "kitchen.example.:7443", "a.wild.example", "127.0.0.1:7443", "[::1]:7443",
     "[0:0:0:0:0:0:0:1]"],
)  # fmt: skip
def test_a_name_of_the_certificate_is_this_host(host: str) -> None:
    assert wish_untrusted("GET", "/v1/", [("host", host)]).authority


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example", 421), ("a.b.wild.example", 421), ("wild.example", 421), ("127.0.0.2", 421), ("a b", 400),
     ('a"b', 400), ("x" * 5000, 400), ("kitchen.example:99999", 400), ("kitchen.example:+1", 400), ("[::1", 400),
     ("::1", 400), ("user@kitchen.example", 400), ("kitchen.example/", 400)],
)  # fmt: skip
def test_a_request_for_another_host_is_refused_and_is_foreign(host: str, status: int) -> None:
    with pytest.raises(ForeignRequest) as refused:
        wish_untrusted("GET", "/v1/", [("host", host)])
    assert refused.value.status == status


def test_a_target_that_names_the_host_counts_before_the_header() -> None:
    wish = wish_untrusted("GET", "HTTPS://kitchen.example/v1/openapi.json", [("host", "evil.example")])
    assert (wish.act, wish.authority) == (Act.OPENAPI, "kitchen.example:443")


@pytest.mark.parametrize(
    ("accept", "is_taken"),
    [("", True), ("*/*", True), ("text/*", True), ("text/event-stream", True), ("Text/Event-Stream ; Q=0.5", True),
     ("application/json, text/event-stream", True), ("text/event-stream;charset=utf-8", True),
     ("text/event-stream-not", False), ("text/event-stream;q=0", False), ("*/*, text/event-stream;q=0.000", False),
     ("text/*;q=0, */*", False), ("text/*;q=0, text/event-stream", True), ("application/json", False),
     ("text/event-stream;q=2", False), ("text/event-stream;q=nan", False)],
)  # fmt: skip
def test_the_closest_media_range_decides(accept: str, is_taken: bool) -> None:
    assert accepts(accept, "text/event-stream") is is_taken


def test_several_lines_of_accept_are_one_list() -> None:
    wish = wish_untrusted(
        "POST", "/v1/call/a/b/c", [HOST, JSON, ("accept", "text/html"), ("accept", "text/event-stream")]
    )
    assert (wish.takes_result, wish.takes_stream) == (False, True)


@given(
    st.text(),
    st.text() | st.from_regex(r"/v1/(call|events)/a/b/(%[0-9A-F]{2}|[a-z]){1,4}", fullmatch=True),
    st.lists(st.tuples(st.sampled_from(["accept", "origin", "x"]), st.text())),
)
def test_any_head_is_a_wish_or_a_problem(method: str, target: str, headers: list[tuple[str, str]]) -> None:
    try:
        wish_untrusted(method, target, headers)
    except Problem:
        return
