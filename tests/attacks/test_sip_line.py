"""Attacked sentence: a call is begun, changed and ended on its own connection alone, by who has proven who it is.

Both ends of the SIP are played here without sockets; SRTP is real.
"""

from __future__ import annotations

from dataclasses import replace

import pylibsrtp as srtp
import pytest
from fakes.line_owner import OFFER, PASSWORD, Owner, line, request

from tlsrt.loops.sip.call import Call, CallState
from tlsrt.loops.sip.description import SUITES, SrtpKey, read_untrusted, write_offer
from tlsrt.loops.sip.digest import fields_untrusted, response_of
from tlsrt.loops.sip.g711 import PCMU
from tlsrt.loops.sip.line import QUESTIONS, WRONG, Line
from tlsrt.loops.sip.media import FRAME, Media
from tlsrt.loops.sip.message import SipMessage
from tlsrt.loops.sip.rtp import RtpPacket


def talking() -> tuple[Line, Owner, Call]:
    """Return a line with one call, answered."""
    made, owner = line()
    made.feed_untrusted(request("INVITE", body=OFFER), 0)
    [call] = owner.calls
    assert made.accept(call)
    made.feed_untrusted(request("ACK", to_tag=call.our_tag), 0)
    assert call.state is CallState.TALKING and owner.statuses() == [100, 200]
    return made, owner, call


def test_a_request_of_another_connection_touches_no_call() -> None:
    _, victim, call = talking()
    for method in ("BYE", "INVITE", "CANCEL"):
        eve, owner = line("eve")
        body = OFFER if method == "INVITE" else b""
        branch = "one1" if method == "CANCEL" else "b"
        eve.feed_untrusted(request(method, to_tag=call.our_tag, count=9, body=body, branch=branch), 0)
        assert owner.statuses() == [481], method
    assert call.state is CallState.TALKING and not victim.over


@pytest.mark.parametrize("forged", [{"tag": "eve"}, {"call_id": "two"}, {"to_tag": "x"}, {"count": 1}])
def test_a_bye_that_fits_no_dialog_ends_none(forged: dict[str, str]) -> None:
    made, owner, call = talking()
    made.feed_untrusted(request("BYE", **{"to_tag": call.our_tag, "count": 2, **forged}), 0)  # type: ignore[arg-type]
    assert owner.statuses() == [481] and call.state is CallState.TALKING
    made.feed_untrusted(request("BYE", to_tag=call.our_tag, count=2), 0)
    assert owner.statuses() == [200] and owner.over == [call]


def test_a_cancel_ends_an_offered_call_alone() -> None:
    made, owner = line()
    made.feed_untrusted(request("INVITE", body=OFFER), 0)
    made.feed_untrusted(request("CANCEL", branch="other"), 0)
    assert owner.statuses() == [100, 481]
    made.feed_untrusted(request("CANCEL"), 0)
    assert owner.statuses() == [200, 487] and owner.over == owner.calls
    made, owner, call = talking()
    made.feed_untrusted(request("CANCEL"), 0)
    assert owner.statuses() == [200] and call.state is CallState.TALKING


def test_a_reinvite_moves_the_media_and_one_without_srtp_does_not() -> None:
    made, owner, call = talking()
    assert call.media is not None
    made.feed_untrusted(request("INVITE", to_tag=call.our_tag, count=2, body=OFFER.replace(b"SAVP", b"AVP")), 0)
    assert owner.statuses() == [488] and call.media.terms.port == 4000
    made.feed_untrusted(request("INVITE", to_tag=call.our_tag, count=3, body=OFFER.replace(b"4000", b"4002")), 0)
    assert owner.statuses() == [200] and call.media.terms.port == 4002
    made.feed_untrusted(request("INVITE", to_tag=call.our_tag, count=3, body=OFFER), 0)
    assert owner.statuses() == [500] and call.media.terms.port == 4002


def test_who_has_proven_nothing_gets_a_question_and_then_the_end() -> None:
    for method in ("INVITE", "REGISTER", "OPTIONS", "BYE", "MESSAGE"):
        made, owner = line("")
        for count in range(1, QUESTIONS + 1):
            made.feed_untrusted(request(method, count=count, body=OFFER if method == "INVITE" else b""), 0)
        assert owner.statuses() == [401] * (QUESTIONS - 1) + [403]
        assert not owner.calls and not owner.registrations and owner.ends


def digest(challenge: SipMessage, method: str, password: str) -> str:
    asked = fields_untrusted(challenge.get("www-authenticate"))
    uri = "sip:third.door@h"
    proof = response_of("SHA-256", "anna", "home", password, asked["nonce"], "00000001", "c", method, uri)
    return (
        f'Digest username="anna", realm="home", nonce="{asked["nonce"]}", uri="{uri}", algorithm=SHA-256, '
        f'qop=auth, nc=00000001, cnonce="c", response="{proof}"'
    )


def test_a_password_is_guessed_three_times_and_a_recorded_answer_opens_nothing() -> None:
    made, owner = line("")
    for count in range(1, WRONG + 1):
        made.feed_untrusted(request("REGISTER", count=2 * count), 0)
        wrong = digest(owner.sent[-1], "REGISTER", "a guess")
        made.feed_untrusted(request("REGISTER", count=2 * count + 1, authorization=wrong), 0)
    assert owner.guesses == WRONG and owner.ends and owner.statuses()[-1] == 403

    made, owner = line("")
    made.feed_untrusted(request("REGISTER"), 0)
    right = digest(owner.sent[-1], "REGISTER", PASSWORD)
    made.feed_untrusted(request("REGISTER", count=2, authorization=right), 0)
    assert made.telephone == "anna" and owner.registrations == [("sip:anna@127.0.0.1:9", 3600)]
    for target in (line("")[0],):
        target.feed_untrusted(request("REGISTER", count=2, authorization=right), 0)
        assert target.telephone == ""


def test_a_slow_message_and_a_silent_stranger_are_given_up() -> None:
    made, owner = line("")
    made.tick(11, 10, 10)
    assert "has not said who it is" in owner.ends[0]
    made, owner = line()
    data = request("OPTIONS")
    for at in range(20):
        made.feed_untrusted(data[at : at + 1], at)
        made.tick(at, 10, 10)
    assert "no whole message" in owner.ends[0]


def test_a_call_that_is_not_acknowledged_ends() -> None:
    made, owner = line()
    made.feed_untrusted(request("INVITE", body=OFFER), 0)
    made.accept(owner.calls[0])
    for tenth in range(330):
        made.tick(tenth / 10, 10, 10)
    sent = [message.status or message.method for message in owner.sent]
    assert 5 <= sent.count(200) <= 12 and sent[-1] == "BYE" and owner.over


def test_responses_that_no_one_asked_for_change_nothing() -> None:
    made, owner = line()
    call = made.invite("sip:anna@127.0.0.1:9", "sip:anna@h", "third/door", 30)
    [invite] = owner.sent
    answer = SipMessage(
        tuple((key, value + (";tag=t" if key == "to" else "")) for key, value in invite.headers if key != "contact"),
        status=200, reason="OK",
    )  # fmt: skip
    for old, new in (
        ("call-id", "x"),
        ("cseq", "2 INVITE"),
        ("cseq", "1 BYE"),
        ("via", "SIP/2.0/TLS h;branch=z9hG4bKx"),
    ):
        forged = tuple((key, new if key == old else value) for key, value in answer.headers)
        made.feed_untrusted(replace(answer, headers=forged).write(), 0)
        assert call.state is CallState.CALLING
    made.feed_untrusted(answer.write(), 0)  # without a description: taken up, and hung up
    assert call.is_over and [one.method for one in owner.sent[1:]] == ["ACK", "BYE"]


def test_a_key_that_was_not_offered_is_no_answer() -> None:
    made, owner = line()
    call = made.invite("sip:anna@127.0.0.1:9", "sip:anna@h", "third/door", 30)
    headers = tuple((key, value + (";tag=t" if key == "to" else "")) for key, value in owner.sent[0].headers)
    body = write_offer("127.0.0.1", 4000, 1, 0, (SrtpKey(9, "AES_CM_128_HMAC_SHA1_80", b"x" * 30),))
    made.feed_untrusted(SipMessage(headers, body, status=200, reason="OK").write(), 0)
    assert call.is_over and call.media is None and "SRTP" in call.why


def sides(suite: str) -> tuple[Media, Media]:
    mine, theirs = (SrtpKey(1, suite, letter * SUITES[suite]) for letter in (b"m", b"t"))
    terms = read_untrusted(write_offer("127.0.0.1", 4000, 1, 0, (theirs,)))
    here = Media(terms, mine, 1, 1, 1)
    there = Media(replace(terms, key=mine), theirs, 2, 65530, 1)
    there.is_proven = True
    return here, there


@pytest.mark.parametrize("suite", SUITES)
def test_sound_of_another_key_a_replay_and_a_changed_packet_are_refused(suite: str) -> None:
    here, there = sides(suite)
    packets = [there.next_packet() for _ in range(20)]
    assert here.next_packet() is None  # nothing goes where nothing has come from
    assert all(here.take_untrusted(packet) for packet in packets if packet)
    assert here.next_packet() is not None
    eve = Media(replace(here.terms, key=SrtpKey(1, suite, b"e" * SUITES[suite])), here.terms.key, 1, 1, 1)
    for packet in packets:
        assert packet is not None
        assert not here.take_untrusted(packet)
        assert not eve.take_untrusted(packet)
    packet = there.next_packet()
    assert packet is not None
    for at in range(len(packet)):
        assert not here.take_untrusted(packet[:at] + bytes([packet[at] ^ 1]) + packet[at + 1 :])
        assert not here.take_untrusted(packet[:at])
    assert here.take_untrusted(packet)
    assert here.figures.received == 21 and there.figures.sent == 21


@pytest.mark.parametrize("piece", [80, 160, 240])
def test_packets_of_another_length_are_heard_in_frames(piece: int) -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    here, _ = sides(suite)
    key = here.terms.key
    policy = srtp.Policy(key=key.key, ssrc_type=srtp.Policy.SSRC_ANY_OUTBOUND)
    sender = srtp.Session(policy)
    codes = bytes(at % 251 for at in range(4800))
    heard = b""
    for number in range(0, 4800, piece):
        packet = RtpPacket(0, number // piece, number, 7, codes[number : number + piece]).write()
        assert here.take_untrusted(sender.protect(packet))
        if number % FRAME == 0 or piece == 240:
            heard += here.next_frame() or b""
    for _ in range(30):
        heard += here.next_frame() or b""
    assert len(heard) >= 9000 and PCMU.decode(codes).startswith(heard[:9000])


def test_sources_of_one_key_are_bounded() -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    here, there = sides(suite)
    key = here.terms.key
    taken = 0
    for number in range(100):
        source = Media(there.terms, key, 1000 + number, 1, 1)
        source.is_proven = True
        packet = source.next_packet()
        assert packet is not None
        taken += here.take_untrusted(packet)
    assert taken == 16
