"""Attacked sentence: a call is begun, changed and ended on its own connection alone, by who has proven who it is.

Both ends of the SIP are played here without sockets; SRTP is real.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from tlsrt.loops.sip.call import Call, CallState
from tlsrt.loops.sip.description import SUITES, SrtpKey, read_untrusted, write_offer
from tlsrt.loops.sip.digest import Authenticator, fields_untrusted, response_of
from tlsrt.loops.sip.framing import SipFraming
from tlsrt.loops.sip.line import QUESTIONS, WRONG, Line
from tlsrt.loops.sip.media import Media
from tlsrt.loops.sip.message import SipMessage

PASSWORD = "a password of anna"
KEYS = tuple(SrtpKey(at, suite, bytes([64 + at]) * length) for at, (suite, length) in enumerate(SUITES.items(), 1))


class Owner:
    """Keeps what a line does."""

    def __init__(self) -> None:
        self.framing = SipFraming()
        self.sent: list[SipMessage] = []
        self.ends: list[str] = []
        self.calls: list[Call] = []
        self.over: list[Call] = []
        self.guesses = 0
        self.registrations: list[tuple[str, int]] = []
        self._numbers = itertools.count(1)

    def write(self, data: bytes) -> None:
        self.sent += self.framing.feed_untrusted(data)

    def end(self, why: str) -> None:
        self.ends.append(why)

    def random(self, count: int) -> bytes:
        return next(self._numbers).to_bytes(4, "big").rjust(count, b"\1")[:count] if count >= 4 else b"\1" * count

    def proven(self, telephone: str) -> bool:
        return True

    def guessed(self, telephone: str) -> None:
        self.guesses += 1

    def registered(self, target: str, expires_s: int) -> None:
        self.registrations.append((target, expires_s))

    def offered(self, call: Call) -> tuple[int, str]:
        self.calls.append(call)
        return (100, "") if len(self.calls) < 5 else (486, "too many")

    def rings(self, call: Call) -> None: ...

    def talks(self, call: Call) -> None: ...

    def changed(self, call: Call) -> None: ...

    def ended(self, call: Call) -> None:
        self.over.append(call)

    def statuses(self) -> list[int]:
        found = [message.status for message in self.sent]
        self.sent.clear()
        return found


def line(telephone: str = "anna") -> tuple[Line, Owner]:
    owner = Owner()
    authenticator = Authenticator("home", {"anna": PASSWORD}, frozenset(), owner.random)
    return Line(owner, authenticator, telephone, "127.0.0.1:5061", 5062, 0.0), owner


def request(
    method: str, *, call_id: str = "one", count: int = 1, to_tag: str = "", body: bytes = b"", **more: str
) -> bytes:
    headers = [
        ("via", f"SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bK{more.pop('branch', f'{call_id}{count}')}"),
        ("from", f"<sip:anna@h>;tag={more.pop('tag', 'theirs')}"),
        ("to", "<sip:third.door@h>" + (f";tag={to_tag}" if to_tag else "")), ("call-id", call_id),
        ("cseq", f"{count} {method}"), ("contact", "<sip:anna@127.0.0.1:9>"), ("max-forwards", "70"),
    ]  # fmt: skip
    headers += [("content-type", "application/sdp")] if body else []
    headers += [(key.replace("_", "-"), value) for key, value in more.items()]
    return SipMessage(tuple(headers), body, method, "sip:third.door@h").write()


OFFER = write_offer("127.0.0.1", 4000, 1, 0, KEYS)


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
