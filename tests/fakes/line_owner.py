"""The other end of a `Line` of SIP: it keeps what the line sends and tells, and makes requests."""

from __future__ import annotations

import itertools

from tlsrt.loops.sip.call import Call
from tlsrt.loops.sip.description import SUITES, SrtpKey, write_offer
from tlsrt.loops.sip.digest import Authenticator
from tlsrt.loops.sip.framing import SipFraming
from tlsrt.loops.sip.line import Line
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
