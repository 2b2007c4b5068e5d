"""What a stanza of a message says, read from what a server sends; and the stanzas that are sent to people.

Who has sent a message is the `from` of the outermost stanza, which the own server vouches for, and nothing else. What
is wrapped is believed in one case alone: as the answer of the own archive to a question of this connection. (Clients
that believed wrapped messages of anyone are CVE-2017-5589 and its like.)
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement

from slixmpp.jid import JID, InvalidJID

from tlsrt.loops.external.xmpp_scram import XmppError

MESSAGE, BODY = "{jabber:client}message", "{jabber:client}body"
RECEIPTS, REPLY, SID = "urn:xmpp:receipts", "urn:xmpp:reply:0", "urn:xmpp:sid:0"
CARBONS, MAM, FORWARD, DELAY = "urn:xmpp:carbons:2", "urn:xmpp:mam:2", "urn:xmpp:forward:0", "urn:xmpp:delay"
_FALLBACK = "{urn:xmpp:fallback:0}"
_WRAPPED = tuple(f"{{{space}}}" for space in (CARBONS, MAM, FORWARD))
_UNIQUE = 16  # characters of an id that no counter has
_ID = 512  # characters of an id; a longer one is none
# What XML 1.0 cannot carry (section 2.2); a server would end the stream because of it.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Text:
    """A message that a person has written."""

    person: str  # bare JID
    device: str  # full JID
    id: str  # that its app has given; empty if none
    archive_id: str  # that the own server has given; empty if none
    text: str
    reply_to: str
    receipt_id: str  # by which its app wants a receipt; empty if it wants none
    is_unique: bool  # no other message has this id: as XEP-0359 has it, or long enough

    @property
    def peer_id(self) -> str:
        """What is the same whenever this message comes again."""
        return self.keys[1] if self.is_unique else self.keys[0] or self.keys[1] or secrets.token_hex(16)

    @property
    def keys(self) -> tuple[str, str]:
        """Names of this message: by the archive and by what it says; empty where it has none, or needs none.

        Apps send a message again, with its id, when they have lost the connection: that is the same message.
        """
        said = hashlib.sha256("\0".join((self.person, self.id, self.text)).encode("utf-8", "replace")).hexdigest()
        by_archive = f"archive {self.archive_id}" if self.archive_id and not self.is_unique else ""
        return (by_archive, f"said {said}" if self.id else "")


@dataclass(frozen=True)
class Receipt:
    """An app has a message that was sent to it."""

    person: str
    id: str


@dataclass(frozen=True)
class Bounce:
    """A message was not delivered; `is_passing` if it may be tried again."""

    person: str
    id: str
    reason: str
    is_passing: bool


@dataclass(frozen=True)
class Sealed:
    """A message that is encrypted for keys that are not here."""

    person: str
    device: str


@dataclass(frozen=True)
class Nothing:
    """A stanza without anything for this host; `why` is the name of a count."""

    why: str


Heard = Text | Receipt | Bounce | Sealed | Nothing


def bare_jid(text: str) -> str:
    """Return the normalized bare JID. Raises ValueError."""
    try:
        jid = JID(text)
    except InvalidJID as error:
        raise ValueError(f"{text[:80]!r} is no address of XMPP, as anna@example.org: {error}") from None
    if not jid.node or not jid.domain or jid.resource:
        raise ValueError(f"{text[:80]!r} is no address of XMPP: write it as anna@example.org")
    return str(jid.bare)


def read_untrusted(element: Element, own: str) -> Heard:
    """Read a stanza `message` that has come for the account `own`. Cannot fail."""
    try:
        sender = JID(element.get("from", ""))
        person = str(sender.bare)
    except InvalidJID:
        return Nothing("malformed")
    if not person or person == own:
        return Nothing("own")
    if any(child.tag.startswith(_WRAPPED) for child in element):
        return Nothing("wrapped")
    return _read(element, person, str(sender), _archive_id(element, own))


def read_archived_untrusted(element: Element, own: str, query: str) -> tuple[str, str, Heard] | None:
    """Return archive id, stamp and message of an answer of the archive to `query`; None if it is no such answer."""
    result = element.find(f"{{{MAM}}}result")
    if result is None or result.get("queryid") != query or element.get("from", own) != own:
        return None
    archive_id = result.get("id", "")
    inner = result.find(f"{{{FORWARD}}}forwarded/{MESSAGE}")
    delay = result.find(f"{{{FORWARD}}}forwarded/{{{DELAY}}}delay")
    stamp = delay.get("stamp", "") if delay is not None else ""
    if not 0 < len(archive_id) <= _ID or len(stamp) > 64:
        raise XmppError("its archive gives a message without an id")
    nothing = archive_id, stamp, Nothing("own")
    if inner is None:
        return nothing
    try:
        sender, to = JID(inner.get("from", "")), JID(inner.get("to", own))
    except InvalidJID:
        return nothing
    if not sender.bare or sender.bare == own or to.bare != own:
        return nothing
    return archive_id, stamp, _read(inner, str(sender.bare), str(sender), archive_id)


def _read(element: Element, person: str, device: str, archive_id: str) -> Heard:
    kind = element.get("type", "normal")
    id = _short(element.get("id", ""))
    if kind == "error":
        return _bounce(element, person, id)
    if kind not in ("chat", "normal"):
        return Nothing("other_kinds")
    receipt = element.find(f"{{{RECEIPTS}}}received")
    if receipt is not None:
        return Receipt(person, _short(receipt.get("id", "")))
    if any(child.tag.endswith("}encrypted") for child in element):
        return Sealed(person, device)
    body = element.find(BODY)
    if body is None or not body.text:
        return Nothing("empty")  # as "is writing"
    origin = element.find(f"{{{SID}}}origin-id")
    reply = element.find(f"{{{REPLY}}}reply")
    wants_receipt = element.find(f"{{{RECEIPTS}}}request") is not None
    origin_id = _short(origin.get("id", "")) if origin is not None else ""
    return Text(
        person=person, device=device, id=origin_id or id, archive_id=archive_id,
        text=_without_quotation(element, body.text), receipt_id=id if wants_receipt else "",
        reply_to=_short(reply.get("id", "")) if reply is not None else "",
        is_unique=bool(origin_id) or len(id) >= _UNIQUE,
    )  # fmt: skip


def _bounce(element: Element, person: str, id: str) -> Bounce:
    error = element.find("{jabber:client}error")
    if error is None:
        return Bounce(person, id, "no reason is given", is_passing=False)
    condition = next((child.tag.partition("}")[2] for child in error if not child.tag.endswith("}text")), "")
    is_passing = error.get("type") == "wait" or condition in ("remote-server-timeout", "resource-constraint")
    return Bounce(person, id, re.sub(r"[^a-z-]", "", condition)[:64] or "no reason is given", is_passing)


def _archive_id(element: Element, own: str) -> str:
    """Return the id that the own server has given it (XEP-0359); who else says so is not believed."""
    found = [one.get("id", "") for one in element.iterfind(f"{{{SID}}}stanza-id") if one.get("by") == own]
    return _short(found[0]) if len(found) == 1 else ""


def _without_quotation(element: Element, text: str) -> str:
    """Return a text without what an app has quoted at its beginning for apps that know no replies (XEP-0461)."""
    for fallback in element.iterfind(f"{_FALLBACK}fallback"):
        part = fallback.find(f"{_FALLBACK}body")
        if fallback.get("for") == REPLY and part is not None and part.get("start", "0") == "0":
            end = part.get("end", "")
            if re.fullmatch("[0-9]{1,6}", end) and int(end) < len(text):
                return text[int(end) :]
    return text


def _short(text: str) -> str:
    return text if len(text) <= _ID else ""


def chat(to: str, id: str, text: str, reply: tuple[str, str] | None, *, wants_receipt: bool) -> Element:
    """Return a message for a person; `reply` is the device and the id of what it answers."""
    element = Element(MESSAGE, {"to": to, "id": id, "type": "chat"})
    SubElement(element, BODY).text = _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
    SubElement(element, f"{{{SID}}}origin-id", {"id": id})
    if wants_receipt:
        SubElement(element, f"{{{RECEIPTS}}}request")
    if reply is not None:
        SubElement(element, f"{{{REPLY}}}reply", {"to": reply[0], "id": reply[1]})
    return element


def receipt(to: str, id: str) -> Element:
    """Return the receipt for a message."""
    element = Element(MESSAGE, {"to": to, "type": "chat"})
    SubElement(element, f"{{{RECEIPTS}}}received", {"id": id})
    SubElement(element, "{urn:xmpp:hints}store")
    return element
