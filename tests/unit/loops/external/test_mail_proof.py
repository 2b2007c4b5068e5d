"""What makes the sender of a mail believed, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.mail_parts import Field
from tlsrt.loops.external.mail_proof import has_token, is_vouched, results_untrusted, sender_of, token_of

OWN = "mail.example.org"


def fields(*lines: str) -> list[Field]:
    return [Field(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("anna@home.example", "anna@home.example"), ("Anna <Anna@Home.Example>", "anna@home.example"),
        ('"Anna, (home)" <anna@home.example>', "anna@home.example"), ("<anna@home.example>", "anna@home.example"),
        ("=?utf-8?q?=C3=84?= <anna@home.example>", "anna@home.example"),
        ("anna@home.example, eve@evil.example", None), ("anna@home.example <eve@evil.example>", None),
        ("<anna@home.example> <eve@evil.example>", None), ("eve@evil.example (anna@home.example)", None),
        ("anna@home.example\0", None), ("anna@home.example@evil.example", None), ("friends: anna@home.example;", None),
        ('"<anna@home.example>" <eve@evil.example>', "eve@evil.example"), ("", None), ("anna", None),
    ],
)  # fmt: skip
def test_the_sender_is_one_address_or_none(value: str, address: str | None) -> None:
    assert sender_of(fields(f"From: {value}")) == address


def test_two_from_fields_are_no_sender() -> None:
    assert sender_of(fields("From: anna@home.example", "From: eve@evil.example")) is None
    assert sender_of([]) is None


def vouched(*lines: str, above: int = 2) -> bool:
    return is_vouched(fields(*lines), OWN, above, "home.example")


@pytest.mark.parametrize(
    "line",
    [
        f"Authentication-Results: {OWN}; dkim=pass header.d=home.example",
        f"Authentication-Results: {OWN} 1; spf=fail smtp.mailfrom=x; dkim = pass (good) header.d = HOME.example",
        f"authentication-results: {OWN.upper()}; dmarc=pass (p=reject) header.from=home.example",
        f"Authentication-Results: {OWN}; dkim=fail header.d=home.example; dkim=pass header.d=home.example",
    ],
)
def test_the_own_server_says_that_a_domain_vouches(line: str) -> None:
    assert vouched("Received: by us", "Received: by us", line, "Received: by them", "From: anna@home.example")


@pytest.mark.parametrize(
    "line",
    [
        "Authentication-Results: evil.example; dkim=pass header.d=home.example",
        f"Authentication-Results: {OWN}.evil.example; dkim=pass header.d=home.example",
        f"Authentication-Results: {OWN} 2; dkim=pass header.d=home.example",
        f"Authentication-Results: {OWN}; dkim=fail header.d=home.example",
        f"Authentication-Results: {OWN}; dkim=pass header.d=evil.example",
        f"Authentication-Results: {OWN}; dkim=pass header.d=sub.home.example",
        f"Authentication-Results: {OWN}; dkim=pass header.d=evil.example header.d=home.example",
        f"Authentication-Results: {OWN}; dkim=fail (dkim=pass header.d=home.example) header.d=home.example",
        f"Authentication-Results: {OWN}; none (; dkim=pass header.d=home.example)",
        f'Authentication-Results: {OWN}; dkim=fail reason="; dkim=pass header.d=home.example"',
        f"Authentication-Results: {OWN}; spf=pass smtp.mailfrom=home.example",
        f"Authentication-Results: {OWN}; dkim=pass header.d=home.example (",
        f"Authentication-Results: ({OWN}); dkim=pass header.d=home.example",
        f"X-Authentication-Results: {OWN}; dkim=pass header.d=home.example",
        "From: anna@home.example",
    ],
)
def test_what_else_stands_there_proves_nothing(line: str) -> None:
    assert not vouched("Received: by us", line)


def test_only_the_first_of_the_own_server_counts_and_only_above_what_others_added() -> None:
    good = f"Authentication-Results: {OWN}; dkim=pass header.d=home.example"
    bad = f"Authentication-Results: {OWN}; dkim=none"
    assert not vouched("Received: by us", bad, good), "a forged one below the own one"
    assert vouched("Received: by us", "Authentication-Results: other.example; dkim=fail", good)
    assert not vouched("Received: by us", "Received: by us", "Received: by them", good), "a forged one further down"
    assert not vouched("Received: by us", good, above=0)


def test_a_word_in_the_address_is_of_one_person_and_one_key() -> None:
    own, token = "house@example.org", token_of(b"k" * 32, "anna")
    assert len(token) == 20 and token != token_of(b"k" * 32, "bob") and token != token_of(b"x" * 32, "anna")
    assert has_token(fields(f"Cc: x@y.example, House <HOUSE+{token}@Example.org>"), own, token)
    assert has_token(fields(f"Delivered-To: house+{token}@example.org"), own, token)
    for line in (
        f"To: house+{token[:-1]}@example.org", f"To: house+{token}@evil.example", "To: house@example.org",
        f"Subject: house+{token}@example.org", f"To: house-{token}@example.org",
    ):  # fmt: skip
        assert not has_token(fields(line), own, token)


_PIECES = [*'();"\\= ./', OWN, "dkim", "pass", "header.d"]


@given(st.text(max_size=300) | st.lists(st.sampled_from(_PIECES), max_size=60).map("".join))
def test_any_field_is_results_or_none(value: str) -> None:
    found = results_untrusted(value)
    assert found is None or (isinstance(found[0], str) and len(found[1]) <= 32)
