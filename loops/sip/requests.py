"""The requests that this host sends: INVITE, and those about a call (RFC 3261, 12.2.1 and 17.1.1.3). Pure."""

from __future__ import annotations

from tlsrt.loops.sip.call import Call
from tlsrt.loops.sip.message import MAGIC, SipMessage

METHODS = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER"
_HOPS = ("max-forwards", "70")


def via_of(place: str, random: bytes) -> tuple[str, str]:
    """Return the Via of a new transaction; `place` is our own HOST:PORT."""
    return ("via", f"SIP/2.0/TLS {place};branch={MAGIC}{random.hex()};rport")


def contact_of(place: str) -> str:
    """Return where later requests of a call go: to our end of the same connection."""
    return f"<sip:tlsrt@{place};transport=tls>"


def invite_of(place: str, target: str, to: str, name: str, tag: str, random: bytes, body: bytes) -> SipMessage:
    """Return an INVITE to a URI. `to` is the address of record, and `name` who rings."""
    headers = (
        via_of(place, random[:12]), _HOPS, ("from", f'"{name}" <sip:{name.replace("/", ".")}@{place}>;tag={tag}'),
        ("to", f"<{to}>"), ("call-id", random[12:].hex()), ("cseq", "1 INVITE"), ("contact", contact_of(place)),
        ("allow", METHODS), ("content-type", "application/sdp"), ("content-length", "0"),
    )  # fmt: skip
    return SipMessage(headers, body, "INVITE", target)


def cancel_of(invite: SipMessage) -> SipMessage:
    """Return the CANCEL of our INVITE."""
    kept = [(key, value) for key, value in invite.headers if key in ("via", "from", "to", "call-id")]
    return SipMessage((*kept, _HOPS, ("cseq", f"{invite.cseq[0]} CANCEL")), method="CANCEL", uri=invite.uri)


def refusal_heard(invite: SipMessage, response: SipMessage) -> SipMessage:
    """Return the ACK of a response that refuses our INVITE; it is of the same transaction."""
    kept = [(key, value) for key, value in invite.headers if key in ("via", "from", "call-id")]
    headers = (*kept, ("to", response.get("to")), _HOPS, ("cseq", f"{invite.cseq[0]} ACK"))
    return SipMessage(headers, method="ACK", uri=invite.uri)


def request_in(call: Call, method: str, count: int, place: str, random: bytes) -> SipMessage:
    """Return a request in the dialog of a call."""
    ours, theirs = ("to", "from") if call.is_incoming else ("from", "to")
    own, other = call.invite.get(ours), call.invite.get(theirs)
    if call.is_incoming:
        own += f";tag={call.our_tag}"
    elif call.their_tag:
        other += f";tag={call.their_tag}"
    headers = [via_of(place, random), _HOPS, ("from", own), ("to", other), ("call-id", call.call_id)]
    headers += [("cseq", f"{count} {method}"), *(("route", route) for route in call.routes)]
    return SipMessage(tuple(headers), method=method, uri=call.their_target)
