"""SIP messages: what is read and written, and that every byte string is a message or the one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.sip.framing import SipFraming
from tlsrt.loops.sip.message import MAX_HEAD, SipError, SipMessage, parse_address_untrusted, respond, user_of

# RFC 3261, 24.2, with the transport that is taken here
INVITE = (
    b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/TLS pc33.atlanta.example.com;branch=z9hG4bKnashds8;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b'To: "Bob, the \\"first\\"" <sip:bob@biloxi.example.com>\r\n'
    b"f: Alice <sip:alice@atlanta.example.com>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@pc33.atlanta.example.com;transport=tls>;expires=60\r\n"
    b"Content-Type: application/sdp\r\n"
    b"l: 4\r\n"
    b"\r\nv=0\n"
)


def one(data: bytes) -> SipMessage:
    [message] = SipFraming().feed_untrusted(data)
    return message


def test_the_example_of_the_rfc_is_read() -> None:
    message = one(INVITE)
    assert (message.method, message.uri, message.body) == ("INVITE", "sip:bob@biloxi.example.com", b"v=0\n")
    assert message.recipient.name == 'Bob, the "first"' and message.sender.tag == "1928301774"
    assert message.cseq == (314159, "INVITE") and message.branch == "z9hG4bKnashds8"
    contact = parse_address_untrusted(message.get("contact"))
    assert contact.uri == "sip:alice@pc33.atlanta.example.com;transport=tls" and contact.parameters == {"expires": "60"}


def test_what_is_written_is_read_as_the_same() -> None:
    message = one(INVITE)
    again = one(message.write())
    assert {*again.headers} == {*message.headers} and again.body == message.body
    response = one(respond(message, 200, tag="x", contact="<sip:a@b>").write())
    assert response.status == 200 and response.recipient.tag == "x" and response.branch == message.branch


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"l: 4\r\n", b"l: 4\r\nContent-Length: 4\r\n"),
        (b"l: 4\r\n", b""),
        (b"l: 4", b"l: -4"),
        (b"l: 4", b"l: 4 4"),
        (b"l: 4", "l: ٤".encode()),
        (b"l: 4", b"l: 99999999"),
        (b"314159 INVITE", b"314159 BYE"),
        (b"314159", b"9999999999"),
        (b"Call-ID: a84b4c76e66710", b"Call-ID: a\r\ni: b"),
        (b"Call-ID: a84b4c76e66710\r\n", b""),
        (b";branch=z9hG4bKnashds8", b";branch=nashds8"),
        (b";branch=z9hG4bKnashds8", b";branch=z9hG4bK1;branch=z9hG4bK2"),
        (b";tag=1928301774", b""),
        (b";tag=1928301774", b";tag=<1>"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\r\n 1"),
        (b"Max-Forwards: 70", b"Max-Forwards: 7\x000"),
        (b"Max-Forwards: 70", b"Max-Forwards: 70\nX: y"),
        (b"SIP/2.0\r\nVia", b"SIP/3.0\r\nVia"),
        (b"sip:bob@biloxi.example.com SIP", b"sip:bob @biloxi.example.com SIP"),
        (b"Max-Forwards", b"Max Forwards"),
        (b"Alice", b"\xff"),
        (b"Max-Forwards: 70\r\n", b"X: y\r\n" * 100),
        (b"Max-Forwards: 70", b"X: " + b"y" * 5000),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(old: bytes, new: bytes) -> None:
    assert old in INVITE
    framing = SipFraming()
    with pytest.raises(SipError):
        framing.feed_untrusted(INVITE.replace(old, new, 1))
    with pytest.raises(SipError, match="no SIP"):
        framing.feed_untrusted(INVITE)


def test_a_head_without_an_end_is_given_up() -> None:
    framing = SipFraming()
    for _ in range(MAX_HEAD // 100):
        assert framing.feed_untrusted(b"X: " + b"y" * 97) == []
    with pytest.raises(SipError, match="more than") as refused:
        framing.feed_untrusted(b"y" * 100)
    assert refused.value.status == 513 and framing.waiting == 0


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_the_one_error(data: bytes) -> None:
    try:
        SipFraming().feed_untrusted(data + b"\r\n\r\n")
    except SipError:
        pass


@given(st.integers(0, len(INVITE) - 1), st.binary(max_size=8), st.integers(0, 8))
def test_a_message_that_was_changed_is_a_message_or_the_one_error(at: int, put: bytes, without: int) -> None:
    data = INVITE[:at] + put + INVITE[at + without :]
    try:
        for message in SipFraming().feed_untrusted(data):
            assert message.branch and message.cseq and message.sender and message.recipient  # none fails later
            SipFraming().feed_untrusted(respond(message, 400).write())
    except SipError:
        pass


@given(st.lists(st.integers(1, 60), max_size=40))
def test_pieces_give_the_same_as_the_whole(sizes: list[int]) -> None:
    data = b"\r\n\r\n" + INVITE + INVITE
    framing, found, at = SipFraming(), [], 0
    for size in [*sizes, len(data)]:
        found += framing.feed_untrusted(data[at : at + size])
        at += size
    assert found == [one(INVITE)] * 2 and framing.waiting == 0


@pytest.mark.parametrize(
    ("uri", "user"),
    [("sip:third.door@host", "third.door"), ("sips:%31%32@h:5061;x=y", "12"), ("sip:host", ""), ("tel:12", ""),
     ("sip:a%00b@h", ""), ("sip:a:password@h", "a:password")],
)  # fmt: skip
def test_the_user_of_a_uri(uri: str, user: str) -> None:
    assert user_of(uri) == user
