"""Who a mail is from, and what makes that believed. Pure.

A From field is text that anyone writes. Two things make it believed, and the options say which a person needs:

`domain`: the own mail server has found that the domain of the From field vouches for the mail (DKIM or DMARC), and says
so in an Authentication-Results field (RFC 8601). Anyone may have written such a field further down, so one alone
counts: the first of the own server's name, and only above what other servers have added. An own server removes those
with its name that come from outside (RFC 8601 section 5), or adds one to each mail, so that the first is its own.

`token`: the mail was sent to an address with a word in it that only that person was told.
"""

from __future__ import annotations

import base64
import hmac
import re

from tlsrt.loops.external.mail_parts import Field, values_of

ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}")
_NAMED = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^"<>@,;:()\\]*)\s*<([^<>\s]{3,330})>')
_TO = ("to", "cc", "delivered-to", "x-original-to", "envelope-to")
_TOKEN = 20  # letters: 100 bits
_RESULT = re.compile(r"([a-z0-9-]+)(?:\s*/\s*[0-9]+)?\s*=\s*([a-z]+)")
_PROPERTY = re.compile(r'([a-z0-9-]+)\s*\.\s*([a-z0-9_-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s"]+)')


def sender_of(fields: list[Field]) -> str | None:
    """Return the one address of the one From field in small letters; None if there is another number of either."""
    values = values_of(fields, "from")
    if len(values) != 1:
        return None
    value = values[0].strip()
    named = _NAMED.fullmatch(value)
    address = named.group(1) if named else value
    return address.lower() if ADDRESS.fullmatch(address) else None


def token_of(key: bytes, person: str) -> str:
    """Return the word in the address that a person writes to."""
    digest = hmac.digest(key, b"tlsrt mail address 1\0" + person.encode(), "sha256")
    return base64.b32encode(digest).decode().lower()[:_TOKEN]


def has_token(fields: list[Field], own: str, token: str) -> bool:
    """Tell whether a mail is addressed to `own` with a token behind a plus."""
    local, _, domain = own.lower().partition("@")
    pattern = re.compile(rf"{re.escape(local)}\+([a-z2-7]{{{_TOKEN}}})@{re.escape(domain)}")
    values = [value.lower() for name in _TO for value in values_of(fields, name)[:8]]
    return any(hmac.compare_digest(found, token) for value in values for found in pattern.findall(value)[:64])


def is_vouched(fields: list[Field], server: str, above: int, domain: str) -> bool:
    """Tell whether the own server `server` says that `domain` vouches for a mail.

    `above` is how many Received fields the own servers may have put above what it says.
    """
    received = 0
    for name, value in fields:
        if name == "received":
            received += 1
            if received > above:
                return False
        elif name == "authentication-results":
            results = results_untrusted(value)
            if results is not None and results[0] == server.lower():
                return any(_is_pass(method, result, of, domain) for method, result, of in results[1])
    return False


def _is_pass(method: str, result: str, of: dict[str, str], domain: str) -> bool:
    if result != "pass":
        return False
    if method == "dmarc":
        return of.get("header.from", "").rpartition("@")[2] == domain
    return method == "dkim" and of.get("header.d", "") == domain


def results_untrusted(value: str) -> tuple[str, list[tuple[str, str, dict[str, str]]]] | None:
    """Return server and results of an Authentication-Results field (RFC 8601 section 2.2), None for what is none.

    Method, result and properties are in small letters. A property that is there twice counts for nothing.
    """
    pieces = _pieces(value.lower())
    if pieces is None:
        return None
    words = pieces[0].split()
    if not words or len(words) > 2 or (len(words) == 2 and words[1] != "1"):
        return None
    found = []
    for piece in pieces[1:33]:
        text = piece.strip()
        head = _RESULT.match(text)
        if head is None:
            continue  # `none`, and what is no result
        of: dict[str, str] = {}
        for kind, name, written in _PROPERTY.findall(text[head.end() :]):
            key = f"{kind}.{name}"
            of[key] = "" if key in of else written.strip('"')
        found.append((head.group(1), head.group(2), of))
    return words[0].strip('"'), found


def _pieces(value: str) -> list[str] | None:
    """Cut a field at its semicolons, without comments; None if a comment or quotation has no end."""
    pieces, piece, depth, is_quoted, at = [], [], 0, False, 0
    while at < len(value):
        each = value[at]
        if each == "\\" and (depth or is_quoted):
            at += 2
            continue
        at += 1
        if is_quoted:
            is_quoted = each != '"'
            piece.append(each)
        elif each == "(":
            depth += 1
        elif depth:
            depth -= each == ")"
        elif each == ")":
            return None
        elif each == ";":
            pieces.append("".join(piece))
            piece = []
        else:
            is_quoted = each == '"'
            piece.append(each)
    if depth or is_quoted:
        return None
    return [*pieces, "".join(piece)]
