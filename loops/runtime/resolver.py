"""Settings of libraries in a loop that reaches hosts, where the supervisor connects sockets.

Nothing there may name an address while sending (sandbox/profiles/internet.yaml), so two habits go: asyncio sends
what waits with sendmsg(2) since Python 3.12, and the C library's resolver asks for both kinds of address in one
sendmmsg(2). Both have a switch. See resolv.conf(5) for the resolver's.
"""

from __future__ import annotations

import asyncio.selector_events
import os
from collections.abc import Iterable

from tlsrt.config.egress import EgressRule

DNS_PORT = 53


def resolver_options(rules: Iterable[EgressRule]) -> str:
    """Return RES_OPTIONS: one question at a time, and over TCP unless a rule allows UDP to a name server. Pure."""
    by_udp = any(rule.protocol == "udp" and rule.first_port <= DNS_PORT <= rule.last_port for rule in rules)
    return "single-request" if by_udp else "single-request use-vc"


def prepare_outbound(rules: Iterable[EgressRule]) -> None:
    """Set both switches, in a loop with sockets of its own and before anything resolves or connects."""
    os.environ["RES_OPTIONS"] = resolver_options(rules)
    if hasattr(asyncio.selector_events, "_HAS_SENDMSG"):  # read for each new transport
        asyncio.selector_events._HAS_SENDMSG = False
