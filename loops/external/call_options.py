"""Options of external/calls: who can be rung under which name, by whom, and where sound arrives."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Annotated

from tlsrt import Length, Range
from tlsrt.loops.external.call_relays import check_server

Number = Annotated[str, Length(63, 1), "A name under `numbers` in the options."]
Says = Annotated[str, Length(200), "What is shown to who is rung, and is not checked."]
Offer = Annotated[str, Length(65_536), "The `sdp` of the browser's offer."]
Id = Annotated[str, Length(16, 16), "The id of a call."]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ADDRESS = re.compile(r"(?:client|primary|secondary|third|forth|external)/[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True, kw_only=True)
class NumberOptions:
    """Who is rung at once under one name; the first to answer has the call."""

    rings: Annotated[list[str], Length(8, 1), "client/NAME, or LOOP/NAME of a component with take_call."]
    by: Annotated[list[str], Length(64, 1), "Who may ring it: addresses, `client/*`, or `*`."] = field(
        default_factory=lambda: ["*"]
    )
    for_s: Annotated[float, Range(5, 120), "How long it rings, seconds."] = 30.0

    def __post_init__(self) -> None:
        for address in self.rings:
            if not _ADDRESS.fullmatch(address):
                raise ValueError(f"rings: {address!r} is neither client/NAME nor the address of a component")
        for address in self.by:
            if address not in ("*", "client/*") and not _ADDRESS.fullmatch(address):
                raise ValueError(f"by: {address!r} is none of: client/NAME, LOOP/NAME, client/*, *")

    def is_for(self, caller: str) -> bool:
        return caller in self.by or "*" in self.by or ("client/*" in self.by and caller.startswith("client/"))


@dataclass(frozen=True)
class CallsOptions:
    """Options: who can be rung, and where sound arrives."""

    numbers: Annotated[dict[str, NumberOptions], Length(64), "By name."] = field(
        default_factory=dict[str, NumberOptions]
    )
    addresses: Annotated[list[str], Length(4), "By which browsers reach the port; empty for that of `listen`."] = field(
        default_factory=list[str]
    )
    servers: Annotated[list[str], Length(8), "STUN and TURN servers of browsers: stun:HOST, turns:HOST:443."] = field(
        default_factory=list[str]
    )
    calls: Annotated[int, Range(1, 8), "How many at once."] = 4

    def __post_init__(self) -> None:
        for name in self.numbers:
            if not _NAME.fullmatch(name):
                raise ValueError(f"numbers: {name!r} is no name: write a-z, 0-9, _ and -")
        for address in self.addresses:
            ipaddress.ip_address(address)
        for uri in self.servers:
            check_server(uri)
