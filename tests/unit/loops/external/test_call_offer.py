"""Offers of browsers, and of those who are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt import InvalidArgument
from tlsrt.loops.external.call_offer import checked_offer_untrusted, has_pictures

PRINT = ":".join(["A7"] * 32)
OFFER = f"""v=0
o=- 1634118396611540947 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=candidate:1 1 udp 2122260223 192.0.2.7 5000 typ host
a=candidate:2 1 udp 2122260223 6f2c.local 5000 typ host
a=end-of-candidates
a=ice-ufrag:X3FL
a=ice-pwd:iNePIQ/Pnn1bvg+JUZL+crGl
a=fingerprint:sha-256 {PRINT}
a=setup:actpass
a=mid:0
a=sendrecv
a=rtcp-mux
a=rtpmap:111 opus/48000/2
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:X3FL
a=ice-pwd:iNePIQ/Pnn1bvg+JUZL+crGl
a=fingerprint:sha-256 {PRINT}
a=setup:actpass
a=mid:1
a=sctp-port:5000
"""
PICTURES = f"""m=video 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=fingerprint:sha-256 {PRINT}
a=setup:actpass
a=mid:2
a=recvonly
a=rtpmap:96 VP8/90000
"""


def test_pictures_may_be_asked_for_and_not_sent() -> None:
    assert has_pictures(checked_offer_untrusted(OFFER + PICTURES))
    assert not has_pictures(checked_offer_untrusted(OFFER))


def test_addresses_are_taken_out_and_nothing_else() -> None:
    checked = checked_offer_untrusted(OFFER)
    assert "192.0.2.7" not in checked and ".local" not in checked and "candidate" not in checked
    assert len(checked.splitlines()) == len(OFFER.splitlines()) - 3
    assert checked_offer_untrusted(OFFER.replace("\n", "\r\n")) == checked


@pytest.mark.parametrize(
    ("part", "instead", "words"),
    [
        ("s=-", "x" * 20_000, "at most 16384"),
        ("s=-", "a=x\n" * 600, "no SDP"),
        ("s=-", "s=\x00", "no SDP"),
        ("s=-", "a=" + "x" * 2000, "no SDP"),
        ("m=application", "m=text", "nothing else"),
        ("m=application", "m=video", "say recvonly"),
        ("a=sctp-port:5000\n", f"a=sctp-port:5000\n{PICTURES}{PICTURES}", "at most once"),
        ("a=sctp-port:5000\n", f"a=sctp-port:5000\n{PICTURES.replace('recvonly', 'sendrecv')}", "say recvonly"),
        ("a=sctp-port:5000\n", f"a=sctp-port:5000\n{PICTURES}a=sendonly\n", "say recvonly"),
        ("a=sctp-port:5000\n", f"a=sctp-port:5000\n{PICTURES.replace('VP8', 'H264')}", "without VP8"),
        ("m=application", "m=audio", "sound once"),
        ("a=group:BUNDLE 0 1\n", "", "bundle"),
        ("opus", "PCMU", "no Opus"),
        ("sha-256", "sha-1", "no fingerprint"),
        ("a=fingerprint", "a=nothing", "no fingerprint"),
        ("actpass", "active", "begins the handshake"),
        ("s=-", "s=-\na=ice-lite", "ice-lite"),
    ],
)  # fmt: skip
def test_what_is_no_offer_of_a_call_is_told(part: str, instead: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        checked_offer_untrusted(OFFER.replace(part, instead))


@given(st.text(max_size=400))
def test_any_text_is_refused_by_the_one_error(words: str) -> None:
    with pytest.raises(InvalidArgument):
        checked_offer_untrusted(words)


@given(st.lists(st.tuples(st.integers(0, len(OFFER.splitlines()) - 1), st.text(max_size=40)), max_size=4))
def test_an_offer_with_other_lines_passes_or_is_refused(changes: list[tuple[int, str]]) -> None:
    lines = OFFER.splitlines()
    for at, words in changes:
        lines[at] = words
    try:
        checked = checked_offer_untrusted("\n".join(lines))
    except InvalidArgument:
        return
    assert "candidate:" not in checked and len(checked) < 20_000
