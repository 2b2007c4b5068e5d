"""The cache of responses: what is kept, for whom, how long, and how much of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.http_cache import Response, ResponseCache

ME, OTHER, URL, NOW = "client/me", "client/other", "https://api.example.org/", 1_000_000.0


def response(*headers: tuple[str, str], status: int = 200, body: bytes = b"x") -> Response:
    return Response(status, headers, body)


def kept(*headers: tuple[str, str], status: int = 200, asked: tuple[tuple[str, str], ...] = ()) -> ResponseCache:
    cache = ResponseCache(1 << 20)
    cache.keep(ME, URL, asked, response(*headers, status=status), NOW)
    return cache


def test_a_response_is_fresh_for_its_caller_until_its_time() -> None:
    cache = kept(("cache-control", "max-age=60"), ("age", "10"))
    found, _ = cache.look(ME, URL, (), NOW + 49)
    assert found is not None and found.is_cached and found.age_s == 59
    assert cache.look(ME, URL, (), NOW + 50) == (None, [])
    assert cache.look(OTHER, URL, (), NOW) == (None, ())
    assert cache.look(ME, URL, [("cache-control", "no-cache")], NOW) == (None, ())
    assert cache.look(ME, URL, [("cache-control", "max-age=5")], NOW)[0] is None


@pytest.mark.parametrize(
    ("headers", "status", "asked"),
    [
        ((("cache-control", "no-store, max-age=60"),), 200, ()),
        ((("cache-control", "max-age=60"), ("vary", "*")), 200, ()),
        ((("cache-control", "max-age=60"),), 500, ()),
        ((("cache-control", "max-age=60"),), 206, ()),
        ((("cache-control", "max-age=60"),), 200, (("authorization", "me"),)),
        ((("cache-control", "max-age=60"),), 200, (("cookie", "me"),)),
        ((("cache-control", "max-age=60"),), 200, (("cache-control", "no-store"),)),
        ((("cache-control", "max-age=none"),), 200, ()),
        ((("expires", "0"),), 200, ()),
        ((), 200, ()),
    ],
)
def test_what_may_not_be_kept_is_not(
    headers: tuple[tuple[str, str], ...], status: int, asked: tuple[tuple[str, str], ...]
) -> None:
    assert kept(*headers, status=status, asked=asked).used == 0


def test_expires_counts_from_date() -> None:
    dates = ("date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("expires", "Sat, 31 Jan 1970 00:00:00 GMT")
    assert kept(*dates).look(ME, URL, (), NOW)[0] is not None
    assert kept(*dates).look(ME, URL, (), NOW + 30 * 86400)[0] is None


def test_a_stale_one_is_asked_about_and_renewed() -> None:
    cache = kept(("cache-control", "max-age=1"), ("etag", '"1"'))
    assert cache.look(ME, URL, (), NOW + 9) == (None, [("if-none-match", '"1"')])
    fresh = Response(304, (("etag", '"1"'), ("cache-control", "max-age=5"), ("content-length", "0")), b"")
    found = cache.renew(ME, URL, (), fresh, NOW + 9)
    assert found is not None and found.body == b"x" and found.first("cache-control") == "max-age=5"
    assert cache.look(ME, URL, (), NOW + 13)[0] is not None
    assert ResponseCache(1 << 20).renew(ME, URL, (), fresh, NOW) is None


def test_variants_are_told_apart_by_what_vary_names() -> None:
    cache = ResponseCache(1 << 20)
    for language in ("de", "fr"):
        headers = ("vary", "Accept-Language"), ("cache-control", "max-age=60")
        cache.keep(ME, URL, [("accept-language", language)], response(*headers, body=language.encode()), NOW)
    for language in ("de", "fr"):
        found, _ = cache.look(ME, URL, [("accept-language", language)], NOW)
        assert found is not None and found.body == language.encode()
    assert cache.look(ME, URL, (), NOW)[0] is None
    cache.forget(ME, URL)
    assert cache.used == 0


@given(st.lists(st.tuples(st.sampled_from([ME, OTHER]), st.integers(0, 9), st.integers(0, 9), st.integers(0, 20_000))))
def test_it_is_bounded_and_no_caller_has_more_than_half(steps: list[tuple[str, int, int, int]]) -> None:
    cache = ResponseCache(1 << 17)
    for caller, page, language, size in steps:
        headers = ("vary", "accept-language"), ("cache-control", "max-age=60")
        asked = [("accept-language", str(language))]
        cache.keep(caller, f"{URL}{page}", asked, response(*headers, body=bytes(size)), NOW)
        assert cache.used <= 1 << 17 and all(used <= 1 << 16 for used in cache._used.values())
        assert cache.used == sum(one.size for entries in cache._entries.values() for one in entries)


@given(st.text(), st.text(), st.text())
def test_any_header_is_kept_or_not(control: str, date: str, age: str) -> None:
    cache = kept(("cache-control", control), ("date", date), ("expires", age), ("age", age), ("etag", "x"))
    cache.look(ME, URL, (), NOW)
