"""Requests to the metrics process: nothing is read in two ways, and no other site's page reads metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.metrics.request import (
    HEAD_MAX,
    STATUS,
    Request,
    answer_head,
    head_end,
    parse_head_untrusted,
    prefers_openmetrics,
)


def head(*lines: str, first: str = "GET /metrics HTTP/1.1", host: str = "Host: 127.0.0.1:9464") -> bytes:
    return "\r\n".join([first, host, *lines]).encode()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:9464", "127.0.0.1", "127.8.9.1", "[::1]:80", "localhost:9464", "LocalHost"]
)
def test_names_of_this_host(host: str) -> None:
    assert parse_head_untrusted(head(host=f"Host: {host}"), is_tcp=True) == Request("/metrics")


@pytest.mark.parametrize(
    "host",
    ["evil.example", "192.0.2.1", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "::1", "1:2:3"],
)
def test_a_page_of_another_site_is_answered_nothing(host: str) -> None:
    with pytest.raises(PeerError, match="bad_host"):
        parse_head_untrusted(head(host=f"Host: {host}"), is_tcp=True)
    assert parse_head_untrusted(head(host=f"Host: {host}"), is_tcp=False).path == "/metrics"


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("bad_request", b"GET /metrics HTTP/1.1\nHost: localhost"),
        ("bad_request", b"GET  /metrics HTTP/1.1\r\nHost: localhost"),
        ("bad_request", b"GET /metrics HTTP/2.0\r\nHost: localhost"),
        ("bad_request", b"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost"),
        ("bad_request", head(" folded: yes")),
        ("bad_request", head("Name : value")),
        ("bad_request", head("X: a\nContent-Length: 3")),
        ("bad_request", head("X: a\rContent-Length: 3")),
        ("bad_request", head("X: a\0")),
        ("bad_request", head("Host: localhost")),
        ("bad_request", head("Content-Length: 0", "Content-Length: 3")),
        ("bad_request", head(*["X: a"] * 64)),
        ("has_body", head("Content-Length: 3")),
        ("has_body", head("Content-Length: 0x0")),
        ("has_body", head("Transfer-Encoding: chunked")),
        ("has_body", head("Content-Length: 0", "Transfer-Encoding: identity")),
        ("bad_method", head(first="POST /metrics HTTP/1.1")),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(reason: str, data: bytes) -> None:
    with pytest.raises(PeerError, match=reason):
        parse_head_untrusted(data, is_tcp=True)
    assert reason in STATUS


def test_the_rest_of_a_request() -> None:
    found = parse_head_untrusted(head("Content-Length: 0", first="HEAD /readyz?verbose HTTP/1.0"), is_tcp=True)
    assert found == Request("/readyz", is_head=True)
    head_ = answer_head("200 OK", "text/plain", 3)
    assert b"\r\nContent-Length: 3\r\n" in head_ and head_.endswith(b"Connection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3", True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("text/plain;version=0.0.4;q=1,application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=x", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_which_format_is_preferred(accept: str, is_openmetrics: bool) -> None:
    assert prefers_openmetrics(accept) is is_openmetrics


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: head() + b"\r\n" + tail))
def test_every_head_is_a_request_or_the_one_error(data: bytes) -> None:
    try:
        path = parse_head_untrusted(data, is_tcp=True).path
    except PeerError as error:
        path = "/" if error.reason in STATUS else error.reason
    assert path.startswith("/")


@given(st.integers(0, HEAD_MAX + 10))
def test_a_head_has_an_end_in_time_or_never(length: int) -> None:
    data = b"a" * length
    if length < HEAD_MAX:
        assert head_end(data) == -1 and head_end(data[:100] + b"\r\n\r\n") == min(length, 100)
    else:
        with pytest.raises(PeerError, match="too_long"):
            head_end(data)
