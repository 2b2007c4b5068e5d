"""Digest authentication: the example of RFC 7616, and what opens nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.sip.digest import LIFE_S, NONCES, Authenticator, fields_untrusted, response_of
from tlsrt.loops.sip.message import SipError

URI, PASSWORD = "sip:host", "a password of anna"


def authenticator(*by_md5: str) -> Authenticator:
    numbers = itertools.count()
    return Authenticator("home", {"anna": PASSWORD}, frozenset(by_md5), lambda count: bytes([next(numbers)]) * count)


def answer(challenge: str, *, user: str = "anna", password: str = PASSWORD, count: int = 1, **more: str) -> str:
    asked = fields_untrusted(challenge)
    algorithm, number = more.get("algorithm", asked["algorithm"]), f"{count:08x}"
    proof = response_of(
        algorithm, user, asked["realm"], password, asked["nonce"], number, "c", "REGISTER", more.get("uri", URI)
    )
    fields = {
        "username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": URI, "cnonce": "c", "nc": number,
        "qop": "auth", "algorithm": algorithm, "response": proof, **more,
    }  # fmt: skip
    return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


def test_the_examples_of_the_rfc() -> None:
    """RFC 7616, 3.9.1."""
    rest = ("Mufasa", "http-auth@example.org", "Circle of Life", "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            "00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "GET", "/dir/index.html")  # fmt: skip
    assert response_of("MD5", *rest) == "8ca523f5e9506fed4657c9700eebdbec"
    assert response_of("SHA-256", *rest) == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"


def test_who_knows_the_password_is_let_in_and_each_count_once() -> None:
    door = authenticator()
    challenge = door.challenge("anna", 0)
    first = answer(challenge)
    assert door.judge_untrusted(first, "REGISTER", URI, 1) == ("right", "anna")
    assert door.judge_untrusted(first, "REGISTER", URI, 1)[0] == "stale"
    assert door.judge_untrusted(answer(challenge, count=3), "REGISTER", URI, 1)[0] == "right"
    assert door.judge_untrusted(answer(challenge, count=2), "REGISTER", URI, 1)[0] == "stale"
    assert door.judge_untrusted(answer(challenge, count=4), "REGISTER", URI, LIFE_S + 2)[0] == "stale"


def test_an_answer_opens_no_other_connection() -> None:
    door, other = authenticator(), authenticator()
    given = answer(door.challenge("anna", 0))
    other.challenge("anna", 0)
    other.challenge("anna", 0)
    assert (
        Authenticator("home", {"anna": PASSWORD}, frozenset(), bytes).judge_untrusted(given, "REGISTER", URI, 1)[0]
        == "stale"
    )
    for _ in range(NONCES):
        door.challenge("anna", 0)
    assert door.judge_untrusted(given, "REGISTER", URI, 1)[0] == "stale"


@pytest.mark.parametrize(
    "changed",
    [{"password": "another one here"}, {"user": "eve"}, {"uri": "sip:other"}, {"nc": "1"}, {"qop": "auth-int"},
     {"realm": "x"}, {"cnonce": ""}, {"response": ""}, {"algorithm": "MD5"}],
)  # fmt: skip
def test_what_is_not_right_is_wrong(changed: dict[str, str]) -> None:
    door = authenticator()
    assert door.judge_untrusted(answer(door.challenge("anna", 0), **changed), "REGISTER", URI, 1)[0] == "wrong"  # type: ignore[arg-type]
    assert door.judge_untrusted(answer(door.challenge("anna", 0)), "INVITE", URI, 1)[0] == "wrong"


def test_md5_is_for_those_alone_who_have_it_in_their_options() -> None:
    door = authenticator("anna")
    assert "algorithm=MD5" in door.challenge("anna", 0) and "algorithm=SHA-256" in door.challenge("eve", 0)
    assert door.judge_untrusted(answer(door.challenge("anna", 0)), "REGISTER", URI, 1)[0] == "right"


@given(st.text(max_size=200))
def test_any_authorization_is_judged_or_the_one_error(text: str) -> None:
    door = authenticator()
    door.challenge("anna", 0)
    try:
        assert door.judge_untrusted(f"Digest {text}", "REGISTER", URI, 1)[0] != "right"
    except SipError:
        pass
