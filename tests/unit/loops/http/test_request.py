"""What a request asks for, and which are refused before anything is done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.http.request import Act, HttpCall, wish_untrusted
from tlsrt.loops.http.response import Problem

HOST = ("host", "kitchen.example:7443")
JSON = ("content-type", "application/json")


def test_a_call() -> None:
    wish = wish_untrusted("POST", "/v1/call/secondary/store/get", [HOST, JSON])
    assert wish == HttpCall(Act.CALL, "secondary/store", "get")


def test_a_call_with_a_time_and_a_key() -> None:
    headers = [HOST, ("content-type", "Application/JSON; charset=utf-8"), ("idempotency-key", "k1")]
    wish = wish_untrusted("POST", "/v1/call/a/b/c?timeout_s=2.5", headers)
    assert (wish.timeout_s, wish.idempotency_key) == (2.5, "k1")


def test_a_stream_and_a_subscription() -> None:
    stream = wish_untrusted("POST", "/v1/call/a/b/c", [HOST, JSON, ("accept", "text/event-stream")])
    assert (stream.act, stream.topic) == (Act.STREAM, None)
    events = wish_untrusted("GET", "/v1/events/third/io/notice", [HOST])
    assert (events.act, events.target, events.method, events.topic) == (Act.STREAM, "third/io", "subscribe", "notice")


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
        ("POST", "https://kitchen.example/v1/call/a/b/c", [JSON], 404),
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
