"""URLs, headers and redirects: what a request may be, and where it may lead."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt import InvalidArgument
from tlsrt.loops.external.http_target import Hop, next_hop, target_of

HEADERS = [("authorization", "x"), ("x-key", "k"), ("accept", "a"), ("content-type", "t")]


@pytest.mark.parametrize(
    ("url", "shown", "host", "port"),
    [
        ("https://API.example.org", "https://api.example.org/", "api.example.org", 443),
        ("http://192.0.2.7:8080/a?b=c#d", "http://192.0.2.7:8080/a?b=c", "192.0.2.7", 8080),
        ("https://[2001:db8::7]/", "https://[2001:db8::7]/", "2001:db8::7", 443),
    ],
)
def test_a_url_is_taken_apart(url: str, shown: str, host: str, port: int) -> None:
    target = target_of(url)
    assert (str(target), target.host, target.port) == (shown, host, port)


@given(st.text(max_size=60).map(lambda text: f"http://{text}"))
def test_any_text_is_a_url_or_a_sentence(url: str) -> None:
    with contextlib.suppress(InvalidArgument):
        target = target_of(url)
        assert target_of(str(target)) == target


def hop(method: str = "GET", body: bytes = b"") -> Hop:
    return Hop(method, target_of("https://a.example/x"), HEADERS, body)


@pytest.mark.parametrize(
    ("status", "method", "after"),
    [(301, "POST", "GET"), (302, "POST", "GET"), (303, "PUT", "GET"), (303, "HEAD", "HEAD"), (307, "POST", "POST"),
     (308, "PUT", "PUT"), (302, "PUT", "PUT")],
)  # fmt: skip
def test_the_method_after_a_redirect(status: int, method: str, after: str) -> None:
    following = next_hop(hop(method, b"body"), status, "/y")
    assert following.method == after and bool(following.body) is (after not in ("GET", "HEAD") or method == "HEAD")
    assert ("content-type", "t") not in following.headers or following.body


@pytest.mark.parametrize("location", ["https://b.example/", "https://a.example:444/", "//b.example/"])
def test_another_origin_hears_nothing_of_the_caller(location: str) -> None:
    assert next_hop(hop(), 302, location).headers == [("accept", "a")]
    with pytest.raises(InvalidArgument, match="leads the body"):
        next_hop(hop("POST", b"x"), 307, location)
    assert next_hop(hop(), 302, "/y").headers == HEADERS


@given(st.text(max_size=60))
def test_any_location_is_followed_within_https_or_refused(location: str) -> None:
    with contextlib.suppress(InvalidArgument):
        assert next_hop(hop(), 302, location).target.scheme == "https"
