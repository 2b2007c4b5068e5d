"""Session descriptions: SRTP or nothing, one stream of G.711, and any bytes are terms or the one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.sip.description import NO_LAW, NO_SRTP, SUITES, SrtpKey, read_untrusted, write_answer, write_offer
from tlsrt.loops.sip.message import SipError

KEYS = tuple(SrtpKey(at, suite, bytes([at]) * length) for at, (suite, length) in enumerate(SUITES.items(), 1))
OFFER = write_offer("192.0.2.7", 4000, 1, 0, KEYS)


def test_an_offer_is_answered_with_its_first_key_and_the_answer_is_read() -> None:
    terms = read_untrusted(OFFER)
    assert (terms.address, terms.port, terms.law.name, terms.event_type) == ("192.0.2.7", 4000, "PCMU", 101)
    assert terms.key == KEYS[0] and terms.has_rtcp_mux and terms.direction == "sendrecv"
    ours = SrtpKey(1, KEYS[0].suite, b"x" * len(KEYS[0].key))
    answer = read_untrusted(write_answer("192.0.2.8", 5000, 1, 0, terms, ours), KEYS)
    assert answer.key == ours and answer.port == 5000 and "x" * 8 not in repr(ours)


def test_other_streams_are_refused_in_the_answer() -> None:
    body = OFFER.replace(b"m=audio", b"m=video 4002 RTP/SAVP 96\r\nm=audio")
    answer = write_answer("192.0.2.8", 5000, 1, 0, read_untrusted(body), KEYS[0]).decode()
    assert "m=video 0 RTP/SAVP 96" in answer and answer.index("m=video") < answer.index("m=audio 5000")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("RTP/SAVP", "RTP/AVP", NO_SRTP),
        ("a=crypto", "a=x-crypto", NO_SRTP),
        ("inline:", "inline:AA", NO_SRTP),
        (" 0 8 101", " 9 18", NO_LAW),
        ("c=IN IP4 192.0.2.7", "c=IN IP4 home.example.org", "without an address"),
        ("m=audio 4000", "m=audio 99999", ""),
        ("m=audio", "m=text", "one stream"),
        ("v=0", "v=1", "none"),
    ],
)
def test_what_is_not_taken_is_told(old: str, new: str, words: str) -> None:
    body = OFFER.decode().replace(old, new)
    with pytest.raises(SipError) as refused:
        read_untrusted(body.encode())
    assert refused.value.status == 488 and words in str(refused.value)


def test_a_suite_that_is_not_known_is_passed_over() -> None:
    assert read_untrusted(OFFER.replace(b"AEAD_AES_256_GCM", b"NULL")).key.suite == "AEAD_AES_128_GCM"


def test_an_answer_takes_a_key_that_was_offered() -> None:
    forged = write_offer("192.0.2.7", 4000, 1, 0, (SrtpKey(9, "AES_CM_128_HMAC_SHA1_80", b"x" * 30),))
    with pytest.raises(SipError, match="SRTP"):
        read_untrusted(forged, KEYS)


@given(st.integers(0, len(OFFER) - 1), st.binary(max_size=8), st.integers(0, 8))
def test_a_description_that_was_changed_is_terms_or_the_one_error(at: int, put: bytes, without: int) -> None:
    try:
        terms = read_untrusted(OFFER[:at] + put + OFFER[at + without :])
        read_untrusted(write_answer("192.0.2.8", 5000, 1, 0, terms, terms.key))
    except SipError:
        pass
