"""One connection with a telephone: transactions and dialogs of RFC 3261 over TLS. Bytes and times in, bytes out.

A call lives and dies with the connection that began it, so that no request from another one can change or end it. Who
is at the other end is proven once, by a certificate or a digest; until then nothing is answered but that question.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tlsrt.loops.sip.call import Call, CallEvent, CallState
from tlsrt.loops.sip.description import SUITES, SrtpKey, read_untrusted, write_answer, write_offer
from tlsrt.loops.sip.digest import Authenticator
from tlsrt.loops.sip.framing import SipFraming
from tlsrt.loops.sip.line_owner import LineOwner
from tlsrt.loops.sip.media import Media
from tlsrt.loops.sip.message import SipError, SipMessage, parse_address_untrusted, respond, user_of
from tlsrt.loops.sip.requests import METHODS, cancel_of, contact_of, invite_of, refusal_heard, request_in

QUESTIONS = 8  # requests of who has not proven anything; then the connection ends
WRONG = 3  # wrong passwords
T1_S, T2_S, GIVEN_UP_S = 0.5, 4.0, 32.0  # RFC 3261, table 4
EXPIRES_S = 3600


class Line:
    """The SIP of one connection. `place` is our own HOST:PORT there, `rtp_port` where sound is taken."""

    def __init__(
        self, owner: LineOwner, authenticator: Authenticator, telephone: str, place: str, rtp_port: int, now_s: float
    ) -> None:
        self.telephone = telephone  # empty until it is proven
        self.calls: dict[str, Call] = {}
        self._owner = owner
        self._authenticator = authenticator
        self._place = place
        self._address = place.rsplit(":", 1)[0].strip("[]")
        self._rtp_port = rtp_port
        self._framing = SipFraming()
        self._questions = self._wrong = 0
        self._now_s = now_s
        self._partial_since_s: float | None = None
        self.began_s = now_s

    # What comes

    def feed_untrusted(self, data: bytes, now_s: float) -> None:
        """Take bytes. Cannot fail: what is no SIP ends the connection."""
        self._now_s = now_s
        try:
            self._framing.put(data)
            while (message := self._framing.next_untrusted()) is not None:
                if message.method:
                    self._request_untrusted(message)
                else:
                    self._response_untrusted(message)
        except SipError as error:
            self._owner.end(f"it has sent {error}")
        if not self._framing.waiting:
            self._partial_since_s = None
        elif self._partial_since_s is None:
            self._partial_since_s = now_s

    def tick(self, now_s: float, prove_s: float, message_s: float) -> None:
        """Do what is due; to be called some times a second."""
        self._now_s = now_s
        if not self.telephone and now_s - self.began_s > prove_s:
            self._owner.end(f"it has not said who it is within {prove_s:.0f} s")
        elif self._partial_since_s is not None and now_s - self._partial_since_s > message_s:
            self._owner.end(f"it has sent no whole message within {message_s:.0f} s")
        for call in list(self.calls.values()):
            if call.until_s and now_s >= call.until_s:
                self._time_is_up(call)
            elif call.state is CallState.ACCEPTED and now_s >= call.repeat_at_s:
                self._owner.write(call.last_answer)  # RFC 3261, 13.3.1.4: over TLS too
                call.pause_s = min(2 * call.pause_s, T2_S)
                call.repeat_at_s = now_s + call.pause_s

    def _time_is_up(self, call: Call) -> None:
        if call.state is CallState.CALLING:
            self.hang_up(call, "no answer")
        elif call.state is CallState.OFFERED:
            self.refuse(call, 480, "no one has answered")
        else:
            if call.state is CallState.ACCEPTED:
                self._send_in(call, "BYE")
            self._finish(call, CallEvent.LOST, "the telephone did not answer in time")

    def _request_untrusted(self, request: SipMessage) -> None:
        if request.method == "ACK":
            call = self._dialog(request)
            if call is not None and call.state is CallState.ACCEPTED and call.step(CallEvent.THEY_ACKNOWLEDGE):
                call.until_s = 0.0
            return
        if not self.telephone and request.method != "CANCEL" and not self._prove_untrusted(request):
            return
        if request.get("require") and request.method != "CANCEL":
            self._answer(request, 420, unsupported=request.get("require"))
        elif request.get("max-forwards") == "0":
            self._answer(request, 483)
        elif request.method == "INVITE":
            if request.recipient.tag:
                self._reinvite_untrusted(request)
            else:
                self._invite_untrusted(request)
        elif request.method == "BYE":
            call = self._dialog(request)
            if call is None or call.state in (CallState.OFFERED, CallState.CALLING) or not self._is_next(call, request):
                self._answer(request, 481)
            else:
                self._answer(request, 200)
                self._finish(call, CallEvent.THEY_HANG_UP, "the telephone hung up")
        elif request.method == "CANCEL":
            self._cancel_untrusted(request)
        elif request.method == "REGISTER":
            self._register_untrusted(request)
        elif request.method == "OPTIONS":
            self._answer(request, 200, allow=METHODS, accept="application/sdp")
        else:
            self._answer(request, 405, allow=METHODS)

    def _prove_untrusted(self, request: SipMessage) -> bool:
        """Return whether a request proves who sends it; else it was answered."""
        self._questions += 1
        given = request.get("authorization")
        verdict, user = "stale", ""
        if given:
            verdict, user = self._authenticator.judge_untrusted(given, request.method, request.uri, self._now_s)
        if verdict == "right":
            if not self._owner.proven(user):
                self._answer(request, 503, reason="Too many connections of this telephone", retry_after="10")
                self._owner.end("the telephone has too many connections")
                return False
            self.telephone = user
            return True
        if verdict == "wrong":
            self._wrong += 1
            self._owner.guessed(user)
        if self._wrong >= WRONG or self._questions >= QUESTIONS:
            self._answer(request, 403, reason="Wrong name or password")
            self._owner.end("it has not proven who it is")
            return False
        claimed, is_stale = user_of(request.sender.uri), bool(given) and verdict == "stale"
        self._answer(
            request, 401, www_authenticate=self._authenticator.challenge(claimed, self._now_s, is_stale=is_stale)
        )
        return False

    def _invite_untrusted(self, request: SipMessage) -> None:
        if any(call.call_id == request.call_id for call in self.calls.values()):
            self._answer(request, 482)
            return
        kind = request.get("content-type").split(";")[0].strip().lower()
        try:
            if kind != "application/sdp" or not request.body:
                raise SipError("this host takes an INVITE with an offer (application/sdp)", 415 if kind else 488)
            terms = read_untrusted(request.body)
            contact = parse_address_untrusted(request.get("contact"))
        except SipError as error:
            self._refuse_request(request, error.status, str(error))
            return
        ours = SrtpKey(terms.key.tag, terms.key.suite, self._owner.random(SUITES[terms.key.suite]))
        call = Call(
            request.call_id, self.telephone, request, self._owner.random(8).hex(), True, (ours,), self._now_s,
            their_tag=request.sender.tag, their_target=contact.uri, routes=tuple(request.all("record-route")),
            their_count=request.cseq[0], terms=terms, number=int.from_bytes(self._owner.random(4), "big"),
        )  # fmt: skip
        self._answer(request, 100)
        status, sentence = self._owner.offered(call)
        if status == 100:
            self.calls[call.our_tag] = call
        else:
            self._refuse_request(request, status, sentence, call.our_tag)

    def _reinvite_untrusted(self, request: SipMessage) -> None:
        """Take other terms of a call: hold, another address or key. What does not pass leaves the call as it is."""
        call = self._dialog(request)
        if call is None or call.media is None or call.state is not CallState.TALKING:
            self._answer(request, 481 if call is None else 491)
            return
        if not self._is_next(call, request):
            self._answer(request, 500)
            return
        try:
            terms = read_untrusted(request.body)
            if terms.key.suite != call.ours[0].suite or terms.law is not call.media.terms.law:
                raise SipError("a call keeps its suite of SRTP and its law of G.711", 488)
        except SipError as error:
            self._refuse_request(request, error.status, str(error))
            return
        call.terms, call.version = terms, call.version + 1
        call.media.change(terms)
        self._owner.changed(call)
        key = SrtpKey(terms.key.tag, terms.key.suite, call.ours[0].key)
        body = write_answer(self._address, self._rtp_port, call.number, call.version, terms, key)
        self._owner.write(self._accepting(request, call, body).write())

    def _cancel_untrusted(self, request: SipMessage) -> None:
        found = [call for call in self.calls.values() if call.is_incoming and call.invite.branch == request.branch]
        if not found or found[0].call_id != request.call_id:
            self._answer(request, 481)
            return
        self._answer(request, 200, tag=found[0].our_tag)
        if found[0].state is CallState.OFFERED:
            self._owner.write(respond(found[0].invite, 487, tag=found[0].our_tag).write())
            self._finish(found[0], CallEvent.THEY_CANCEL, "the telephone gave up")

    def _register_untrusted(self, request: SipMessage) -> None:
        contact = request.get("contact")
        try:
            address = parse_address_untrusted(contact) if contact and contact != "*" else None
            wanted = address.parameters.get("expires", "") if address else ""
            text = wanted or request.get("expires") or str(EXPIRES_S)
            if not re.fullmatch(r"[0-9]{1,10}", text):
                raise SipError("an Expires that is no number")
        except SipError as error:
            self._refuse_request(request, 400, str(error))
            return
        expires_s = min(int(text), EXPIRES_S)
        if contact == "*":
            self._owner.registered("", 0)
        elif address is not None:
            self._owner.registered(address.uri, expires_s)
        said = f"<{address.uri}>;expires={expires_s}" if address and expires_s else ""
        self._answer(request, 200, contact=said)

    def _response_untrusted(self, response: SipMessage) -> None:
        call = next(
            (one for one in self.calls.values() if not one.is_incoming and one.invite.branch == response.branch), None
        )
        if call is None or response.call_id != call.call_id or response.cseq != (call.invite.cseq[0], "INVITE"):
            return  # of a BYE or a CANCEL: there is nothing to do about it
        if response.status < 200:
            if response.status > 100 and call.state is CallState.CALLING:
                call.has_rung = True
                self._owner.rings(call)
        elif response.status < 300:
            self._accepted_untrusted(call, response)
        else:
            self._acknowledge(call, response)
            self._finish(call, CallEvent.THEY_REFUSE, f"{response.status} {response.reason[:80]}")

    def _accepted_untrusted(self, call: Call, response: SipMessage) -> None:
        if call.state is CallState.TALKING:
            self._owner.write(call.last_answer)
            return
        call.their_tag = response.recipient.tag
        call.routes = tuple(reversed(response.all("record-route")))
        try:
            call.their_target = parse_address_untrusted(response.get("contact")).uri
            terms = read_untrusted(response.body, call.ours)
        except SipError as error:
            call.their_target = call.their_target or call.invite.uri
            self._acknowledge(call, response)
            self._send_in(call, "BYE")
            self._finish(call, CallEvent.LOST, f"the telephone answered with {error}")
            return
        self._acknowledge(call, response)
        if call.state is CallState.CANCELLING:
            self._send_in(call, "BYE")
            self._finish(call, CallEvent.THEY_ACCEPT, call.why)
        elif call.step(CallEvent.THEY_ACCEPT):
            ours = next(one for one in call.ours if one.tag == terms.key.tag)
            call.ours, call.terms, call.until_s = (ours,), terms, 0.0
            call.media = self._media(call)
            self._owner.talks(call)

    # What is done

    def invite(self, target: str, to: str, name: str, ring_s: float) -> Call:
        """Ring the telephone at a URI: `to` is its address, and `name` who rings."""
        tag = self._owner.random(8).hex()
        keys = tuple(
            SrtpKey(at, suite, self._owner.random(length)) for at, (suite, length) in enumerate(SUITES.items(), 1)
        )
        number = int.from_bytes(self._owner.random(4), "big")
        body = write_offer(self._address, self._rtp_port, number, 0, keys)
        request = invite_of(self._place, target, to, name, tag, self._owner.random(28), body)
        call = Call(
            request.call_id, self.telephone, request, tag, False, keys, self._now_s, CallState.CALLING,
            their_target=target, our_count=1, number=number, until_s=self._now_s + ring_s,
        )  # fmt: skip
        self.calls[tag] = call
        self._owner.write(request.write())
        return call

    def ring(self, call: Call) -> None:
        """Say that it rings here."""
        if call.state is CallState.OFFERED and not call.has_rung:
            call.has_rung = True
            self._owner.write(respond(call.invite, 180, tag=call.our_tag, contact=contact_of(self._place)).write())

    def accept(self, call: Call) -> bool:
        """Answer a call; return whether it still was there."""
        if call.terms is None or not call.step(CallEvent.ACCEPT):
            return False
        call.media = self._media(call)
        body = write_answer(self._address, self._rtp_port, call.number, 0, call.terms, call.ours[0])
        call.last_answer = self._accepting(call.invite, call, body).write()
        call.repeat_at_s, call.until_s = self._now_s + T1_S, self._now_s + GIVEN_UP_S
        self._owner.write(call.last_answer)
        self._owner.talks(call)
        return True

    def refuse(self, call: Call, status: int, sentence: str) -> None:
        """Refuse a call that was not answered."""
        if call.state is CallState.OFFERED:
            self._refuse_request(call.invite, status, sentence, call.our_tag)
            self._finish(call, CallEvent.REFUSE, sentence)

    def hang_up(self, call: Call, why: str) -> None:
        """End a call, wherever it is: by BYE, CANCEL or a refusal."""
        call.why = call.why or why
        if call.state is CallState.OFFERED:
            self.refuse(call, 480, why)
        elif call.state is CallState.CALLING:
            self._owner.write(cancel_of(call.invite).write())
            call.step(CallEvent.HANG_UP)
            call.until_s = self._now_s + GIVEN_UP_S
        elif call.state in (CallState.ACCEPTED, CallState.TALKING):
            self._send_in(call, "BYE")
            self._finish(call, CallEvent.HANG_UP, why)

    def hang_up_all(self, why: str) -> None:
        """End all calls."""
        for call in list(self.calls.values()):
            self.hang_up(call, why)

    def lost(self, why: str) -> None:
        """Hear that the connection is gone: so are its calls."""
        for call in list(self.calls.values()):
            self._finish(call, CallEvent.LOST, why)

    def _media(self, call: Call) -> Media:
        assert call.terms is not None
        start = self._owner.random(10)
        numbers: Callable[[int, int], int] = lambda first, last: int.from_bytes(start[first:last], "big")  # noqa: E731
        return Media(call.terms, call.ours[0], numbers(0, 4), numbers(4, 6) >> 1, numbers(6, 10))

    def _accepting(self, request: SipMessage, call: Call, body: bytes) -> SipMessage:
        response = respond(
            request,
            200,
            tag=call.our_tag,
            contact=contact_of(self._place),
            allow=METHODS,
            content_type="application/sdp",
        )
        return SipMessage(response.headers, body, status=200, reason="OK")

    def _dialog(self, request: SipMessage) -> Call | None:
        """Return the call that a request is in: by Call-ID and both tags."""
        call = self.calls.get(request.recipient.tag)
        if call is None or call.call_id != request.call_id or call.their_tag != request.sender.tag:
            return None
        return call

    def _is_next(self, call: Call, request: SipMessage) -> bool:
        """Whether a request of a dialog is newer than those before."""
        if request.cseq[0] <= call.their_count:
            return False
        call.their_count = request.cseq[0]
        return True

    def _acknowledge(self, call: Call, response: SipMessage) -> None:
        if response.status < 300:
            call.last_answer = self._send_in(call, "ACK", call.invite.cseq[0])
            return
        self._owner.write(refusal_heard(call.invite, response).write())

    def _send_in(self, call: Call, method: str, count: int = 0) -> bytes:
        """Send a request in the dialog of a call, and return its bytes."""
        if not count:
            call.our_count += 1
        data = request_in(call, method, count or call.our_count, self._place, self._owner.random(12)).write()
        self._owner.write(data)
        return data

    def _finish(self, call: Call, event: CallEvent, why: str) -> None:
        if call.step(event):
            call.why = call.why or why
            self.calls.pop(call.our_tag, None)
            self._owner.ended(call)

    def _answer(self, request: SipMessage, status: int, *, tag: str = "", reason: str = "", **headers: str) -> None:
        tag = "" if status == 100 else tag or self._owner.random(8).hex()
        self._owner.write(respond(request, status, tag=tag, reason=reason, **headers).write())

    def _refuse_request(self, request: SipMessage, status: int, sentence: str, tag: str = "") -> None:
        """Refuse with a sentence, as the reason that telephones show and as a Warning (RFC 3261, 20.43)."""
        warning = f'399 tlsrt "{sentence}"' if sentence else ""
        self._answer(request, status, tag=tag, warning=warning)
