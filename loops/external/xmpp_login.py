"""The beginning of a connection to an XMPP server: TLS, login, and stream management.

No password, and nothing but the question for TLS, goes out before the certificate was verified, which is that of the
domain of the account (RFC 6120, section 13.7.2).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import ssl
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from slixmpp.util.sasl.client import saslprep
from slixmpp.util.stringprep_profiles import StringPrepError

from tlsrt.loops.external.xmpp_scram import MECHANISMS, Scram, XmppError
from tlsrt.loops.external.xmpp_stanza import bare_jid
from tlsrt.loops.external.xmpp_stream import STREAMS, XmppStream

IQ = "{jabber:client}iq"
SM = "urn:xmpp:sm:3"
_TLS, _SASL = "urn:ietf:params:xml:ns:xmpp-tls", "urn:ietf:params:xml:ns:xmpp-sasl"
_BIND = "urn:ietf:params:xml:ns:xmpp-bind"


@dataclass(frozen=True)
class Account:
    """Where and as whom to log in."""

    jid: str  # bare
    host: str
    port: int
    is_direct_tls: bool
    mechanisms: tuple[str, ...]


async def log_in(stream: XmppStream, account: Account, context: ssl.SSLContext, password: str) -> None:
    """Connect and log in, until stanzas may go. Raises XmppError, OSError (also ssl.SSLError)."""
    domain = account.jid.partition("@")[2]
    loop = asyncio.get_running_loop()
    await loop.create_connection(
        lambda: stream, account.host, account.port, ssl=context if account.is_direct_tls else None,
        server_hostname=domain if account.is_direct_tls else None,
    )  # fmt: skip
    features = await _features(stream)
    if not account.is_direct_tls:
        await _start_tls(stream, features, context, domain)
        features = await _features(stream)
    await _authenticate(stream, account, features, password)
    features = await _features(stream)
    if features.find(f"{{{SM}}}sm") is None:
        raise XmppError("it has no stream management (XEP-0198), without which messages could be lost")
    await _bind(stream, account)


async def _features(stream: XmppStream) -> Element:
    element = await stream.next()
    if element.tag != f"{{{STREAMS}}}features":
        raise XmppError("it begins with " + _what(element))
    return element


async def _start_tls(stream: XmppStream, features: Element, context: ssl.SSLContext, domain: str) -> None:
    if features.find(f"{{{_TLS}}}starttls") is None:
        raise XmppError("it offers no encryption (STARTTLS), so nothing is sent there")
    stream.write(Element(f"{{{_TLS}}}starttls"))
    answer = await stream.next()
    if answer.tag != f"{{{_TLS}}}proceed" or stream.transport is None:
        raise XmppError("it refuses encryption, so nothing is sent there")
    transport = await asyncio.get_running_loop().start_tls(stream.transport, stream, context, server_hostname=domain)
    if transport is None:
        raise XmppError("it closed the connection")
    stream.connection_made(transport)


async def _authenticate(stream: XmppStream, account: Account, features: Element, password: str) -> None:
    user = account.jid.partition("@")[0]
    assert stream.transport is not None and stream.transport.get_extra_info("ssl_object") is not None
    offered = {one.text for one in features.iterfind(f"{{{_SASL}}}mechanisms/{{{_SASL}}}mechanism")}
    mechanism = next((one for one in (*MECHANISMS, "PLAIN") if one in offered and one in account.mechanisms), "")
    if not mechanism:
        known = ", ".join(sorted(filter(None, offered)))[:120] or "none"
        raise XmppError(f"it offers the logins {known}; the option `mechanisms` allows {', '.join(account.mechanisms)}")
    try:
        password = saslprep(password)
    except StringPrepError:
        raise XmppError("the password has characters that no login can carry") from None
    auth = Element(f"{{{_SASL}}}auth", {"mechanism": mechanism})
    scram = None
    if mechanism == "PLAIN":
        auth.text = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
    else:
        scram = Scram(mechanism, user, password, secrets.token_hex(16))
        auth.text = base64.b64encode(scram.first()).decode()
    stream.write(auth)
    is_verified = scram is None
    for step in range(3):
        answer = await stream.next()
        if answer.tag == f"{{{_SASL}}}failure":
            reason = next((one.tag.partition("}")[2] for one in answer), "no reason")
            raise XmppError(f"it refuses the login of {account.jid}: {reason[:64]}")
        data = _base64_untrusted(answer)
        if answer.tag == f"{{{_SASL}}}challenge" and scram is not None and step < 2:
            response = Element(f"{{{_SASL}}}response")
            if step == 0:
                response.text = base64.b64encode(scram.final(data)).decode()
            else:
                scram.verify(data)
                is_verified = True
            stream.write(response)
            continue
        if answer.tag == f"{{{_SASL}}}success":
            if scram is not None and not is_verified:
                scram.verify(data)
            stream.begin()
            return
        break
    raise XmppError("it does not answer the login as RFC 6120 has it")


async def _bind(stream: XmppStream, account: Account) -> None:
    asked = question("set", Element(f"{{{_BIND}}}bind"))
    asked.set("id", "bind")
    stream.write(asked)
    answer = await stream.next()
    jid = answer.findtext(f"{{{_BIND}}}bind/{{{_BIND}}}jid", "")
    try:
        is_own = bare_jid(jid.partition("/")[0]) == account.jid
    except ValueError:
        is_own = False
    if answer.tag != IQ or answer.get("type") != "result" or not is_own:
        raise XmppError(f"it does not let {account.jid} in: " + _what(answer))
    stream.write(Element(f"{{{SM}}}enable"))
    answer = await stream.next()
    if answer.tag != f"{{{SM}}}enabled":
        raise XmppError("it refuses stream management")


def question(kind: str, content: Element, to: str = "") -> Element:
    """Return a question to the server (iq), `get` or `set`, without an id."""
    made = Element(IQ, {"type": kind, **({"to": to} if to else {})})
    made.append(content)
    return made


def _base64_untrusted(element: Element) -> bytes:
    text = element.text or ""
    try:
        return b"" if text == "=" else base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise XmppError("its answer to the login is no base64") from None


def _what(element: Element) -> str:
    """Return the name of an element for people."""
    for child in element.iter():
        if child.tag.startswith(("{urn:ietf:params:xml:ns:xmpp-stanzas}", "{urn:ietf:params:xml:ns:xmpp-streams}")):
            return child.tag.partition("}")[2][:64]
    return f"<{element.tag.partition('}')[2][:64]}>"
