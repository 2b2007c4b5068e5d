"""Which host a request is for, and whether a page of another site made it. Pure.

A browser sends the client certificate with every request, also with those that another site's page causes. It names
that site (Fetch Metadata, W3C; Origin, RFC 6454), and the host that it believes to talk to (Host). The names of this
host are those of its certificate: a request for another name was led here, and gets 421 (RFC 9110, 15.5.20).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping

from tlsrt.loops.http.response import Problem

HTTPS_PORT = "443"
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._~-]{1,255})(?::([0-9]{0,5}))?")


class ForeignRequest(Problem):
    """A request for another host, or from a page of another site. Its sender did not choose to make it."""


class HostNames:
    """The names and addresses of a certificate. Without any, every name is ours: there is none to compare with."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        given = [_canonical(name) for name in names]
        self._names = frozenset(name for name in given if not name.startswith("*."))
        self._domains = frozenset(name[1:] for name in given if name.startswith("*."))

    def has(self, host: str) -> bool:
        """Tell whether this is the host's name. A wildcard stands for one label (RFC 6125)."""
        if not self._names and not self._domains:
            return True
        name = _canonical(host)
        _, dot, domain = name.partition(".")
        return name in self._names or dot + domain in self._domains

    def knows(self, host: str) -> bool:
        """Tell the same, where a host without any name has none that a request could be for."""
        return bool(self._names or self._domains) and self.has(host)


def check_site_untrusted(authority: str, fields: Mapping[str, str], names: HostNames) -> str:
    """Return the authority that a request is for, in one form; raise ForeignRequest. `authority` may be empty."""
    ours = one_form_untrusted(authority) if authority else ""
    if ours is None:
        raise ForeignRequest(400, "invalid_argument", "Host is a name or address, with a port or without")
    if authority and not names.has(host_of(ours)):
        raise ForeignRequest(421, "denied", "this host has another name: use one that its certificate names")
    site, origin = fields.get("sec-fetch-site", "none"), fields.get("origin")
    scheme, _, of_origin = (origin or "").partition("://")
    is_own = origin is None or (scheme == "https" and bool(ours) and one_form_untrusted(of_origin) == ours)
    if site not in ("none", "same-origin") or not is_own:
        raise ForeignRequest(403, "denied", "requests that come from other sites are refused")
    return ours


def one_form_untrusted(authority: str) -> str | None:
    """Return an authority in lower case and with its port, or None if it is none."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None or int(match[2] or HTTPS_PORT) > 65535:
        return None
    if match[1].startswith("[") and not _is_address(match[1][1:-1]):
        return None
    return f"{match[1].lower()}:{match[2] or HTTPS_PORT}"


def host_of(authority: str) -> str:
    """Return the name or address in an authority of that form."""
    return authority.rpartition(":")[0].removeprefix("[").removesuffix("]")


def _canonical(name: str) -> str:
    """Return the one form of a name or address."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name.lower().removesuffix(".")


def _is_address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
