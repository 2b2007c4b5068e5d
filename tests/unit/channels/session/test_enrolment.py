"""Join codes and the messages of `tlsrt-enrol/1`: pure. What must pass and fail byte by byte is in the vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.session.enrolment import (
    ANSWER_MAX,
    ANSWERING_MAX,
    ASKING_MAX,
    AUTHORITIES_MAX,
    CERTIFICATE_MAX,
    EnrolmentAnswer,
    JoinCode,
    check_answer_untrusted,
    encode_answer,
    encode_message,
    parse_answer_untrusted,
    parse_answering_untrusted,
    parse_asking_untrusted,
    parse_code,
    pin_of,
    pinned_authority,
)
from tlsrt.config import pki
from tlsrt.errors import InvalidArgument, PeerError

CODES = st.builds(
    JoinCode, st.binary(min_size=5, max_size=5), st.binary(min_size=16, max_size=16),
    st.binary(min_size=20, max_size=20),
)  # fmt: skip


@given(CODES)
def test_a_code_is_read_as_it_was_printed(code: JoinCode) -> None:
    assert parse_code(code.text()) == parse_code(f" {code.text().upper()}\n") == code
    assert code.secret.hex() not in repr(code)


@given(st.text(max_size=80) | CODES.map(lambda code: code.text()[:-1]) | CODES.map(lambda code: code.text() + "a"))
def test_what_is_no_code_is_one_sentence(text: str) -> None:
    with pytest.raises(InvalidArgument, match="this is no join code"):
        parse_code(text)


def test_bits_that_do_not_count_are_zero() -> None:
    text = JoinCode(bytes(5), bytes(16), bytes(20)).text()
    code_id, secret, pin = text.split("-")
    with pytest.raises(InvalidArgument):
        parse_code(f"{code_id}-{secret[:-1]}b-{pin}")


@given(st.binary(max_size=200))
def test_every_byte_string_parses_or_raises_peer_error(data: bytes) -> None:
    for parse in (parse_asking_untrusted, parse_answering_untrusted, parse_answer_untrusted):
        try:
            parse(data)
        except PeerError:
            continue


@given(st.data())
def test_a_changed_message_is_another_one_or_refused(data: st.DataObject) -> None:
    good = bytearray(encode_message("enrol", bytes(5), b"r" * 40, b"m" * 32))
    place = data.draw(st.integers(0, len(good) - 1))
    good[place] ^= data.draw(st.integers(1, 255))
    try:
        code_id, request, mac = parse_asking_untrusted(bytes(good))
    except PeerError:
        return
    assert (code_id, request, mac) != (bytes(5), b"r" * 40, b"m" * 32)


@given(CODES, st.binary(min_size=1, max_size=60), st.binary(min_size=32, max_size=32))
def test_no_other_mac_is_taken(code: JoinCode, request: bytes, mac: bytes) -> None:
    answer = encode_answer(EnrolmentAnswer(bytes(16), "a", b"c", bytes(32), 1, b"ca"))
    with pytest.raises(PeerError, match="enrol_mac"):
        check_answer_untrusted(code, request, answer, mac)


def test_the_largest_messages_fit_their_bounds() -> None:
    certificate = bytes(CERTIFICATE_MAX)
    answer = encode_answer(EnrolmentAnswer(bytes(16), "a" * 31, certificate, bytes(32), 1, certificate))
    assert len(answer) <= ANSWER_MAX
    said = encode_message("enrolled", answer, bytes(32))
    assert len(said) <= ANSWERING_MAX and parse_answering_untrusted(said) == ("enrolled", [answer, bytes(32)])
    said = encode_message("authorities", [certificate] * AUTHORITIES_MAX)
    assert len(said) <= ANSWERING_MAX and parse_answering_untrusted(said)[0] == "authorities"
    assert len(encode_message("enrol", bytes(5), bytes(2048), bytes(32))) <= ASKING_MAX


NOT_SAID: list[tuple[str, object]] = [
    ("authorities", [b""]), ("authorities", ["x"]), ("authorities", b"x"), ("authorities", [b"x"] * 9),
    ("refused", ""), ("refused", b"x"), ("other", 1), ("enrolled", b"x"),
]  # fmt: skip


@pytest.mark.parametrize("items", NOT_SAID)
def test_what_a_server_may_not_say(items: tuple[str, object]) -> None:
    with pytest.raises(PeerError):
        parse_answering_untrusted(encode_message(*items))


def test_the_pin_picks_its_ca_and_no_other() -> None:
    code = JoinCode(bytes(5), bytes(16), pin_of(b"one"))
    assert pinned_authority(code, [b"two", b"one"]) == b"one"
    with pytest.raises(PeerError, match="enrol_pin"):
        pinned_authority(code, [b"two"])


@given(st.binary(max_size=300))
def test_any_signing_request_has_a_key_or_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        pki.key_of_request_untrusted(data)


@given(st.data())
def test_a_changed_signing_request_is_refused(data: st.DataObject) -> None:
    """Its signature is over all of it: who changes it does not have the key."""
    request = bytearray(REQUEST)
    request[data.draw(st.integers(0, len(request) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(PeerError):
        pki.key_of_request_untrusted(bytes(request))


REQUEST = pki.make_request()[0]
