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
By = Annotated[str, Length(130, 3), "Who rings, of the host that asks: client/NAME or LOOP/NAME."]
_ADDRESS = re.compile(r"(?:client|primary|secondary|third|forth|external)/[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
_RUNG = re.compile(rf"{_ADDRESS.pattern}|(?!client/){_ADDRESS.pattern}/{_NAME.pattern}")
_HOST = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def check_address(address: str) -> None:
    """Raise ValueError for what is no address of a client or component of one host."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"{address[:130]!r} is neither client/NAME nor the address of a component")


def rung_component(address: str, number: str) -> tuple[str, str]:
    """Return the component that an entry of `rings` names, and the number that it is told: that of LOOP/NAME/NUMBER."""
    loop, name, *own = address.split("/")
    return f"{loop}/{name}", own[0] if own else number


@dataclass(frozen=True, kw_only=True)
class CallHostOptions:
    """Another host: by what it is known here, and the way to it."""

    client: Annotated[str, Length(130), "The client of this host that it is here, such as client/attic."] = ""
    secret: Annotated[str, Length(40), "The secret that is the bundle of a client of that host; empty: no way."] = ""

    def __post_init__(self) -> None:
        if self.client and not (self.client.startswith("client/") and _ADDRESS.fullmatch(self.client)):
            raise ValueError("client: write client/NAME, as `tlsrt-supervisor client list` has it")


@dataclass(frozen=True, kw_only=True)
class NumberOptions:
    """Who is rung at once under one name; the first to answer has the call."""

    rings: Annotated[list[str], Length(8, 1), "client/NAME, LOOP/NAME or LOOP/NAME/NUMBER, or NUMBER@HOST."]
    by: Annotated[list[str], Length(64, 1), "Who may ring it: addresses, `client/*`, `*`, ADDRESS@HOST, `*@HOST`."] = (
        field(default_factory=lambda: ["*"])
    )
    for_s: Annotated[float, Range(5, 120), "How long it rings, seconds."] = 30.0
    then: Annotated[str, Length(130), "The component that is rung if no one takes it: external/voicemail."] = ""
    camera: Annotated[str, Length(130), "What people of a call see: third/camera/SOURCE; empty for nothing."] = ""

    def __post_init__(self) -> None:
        for address in self.rings:
            number, at, _ = address.partition("@")
            if not (_NAME.fullmatch(number) if at else _RUNG.fullmatch(address)):
                raise ValueError(
                    f"rings: {address!r} is none of: client/NAME, LOOP/NAME, LOOP/NAME/NUMBER, NUMBER@HOST"
                )
        if self.then and (self.then.startswith("client/") or not _RUNG.fullmatch(self.then)):
            raise ValueError(
                f"then: {self.then!r} is no component: write external/voicemail, LOOP/NAME or LOOP/NAME/NUMBER"
            )
        if self.then in self.rings:
            raise ValueError(f"then: {self.then} is among `rings` already: take it out of one of them")
        if self.camera and not (self.camera.count("/") == 2 and _ADDRESS.fullmatch(self.camera.rpartition("/")[0])):
            raise ValueError(f"camera: {self.camera!r} is none: write third/camera/SOURCE")
        for address in self.by:
            own, at, _ = address.partition("@")
            if own not in (("*",) if at else ("*", "client/*")) and not _ADDRESS.fullmatch(own):
                raise ValueError(f"by: {address!r} is none of: client/NAME, LOOP/NAME, client/*, *, and the like @HOST")

    @property
    def hosts(self) -> set[str]:
        """The other hosts that it names."""
        return {one.partition("@")[2] for one in (*self.rings, *self.by) if "@" in one}

    def is_for(self, caller: str) -> bool:
        """Whether one may ring it. Who is of another host may only where that is said."""
        if "@" in caller:
            return caller in self.by or f"*@{caller.partition('@')[2]}" in self.by
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
    hosts: Annotated[dict[str, CallHostOptions], Length(16), "Other hosts, by the names that `numbers` have."] = field(
        default_factory=dict[str, CallHostOptions]
    )
    calls: Annotated[int, Range(1, 8), "How many at once."] = 4

    def __post_init__(self) -> None:
        for name in self.numbers:
            if not _NAME.fullmatch(name):
                raise ValueError(f"numbers: {name!r} is no name: write a-z, 0-9, _ and -")
        for name in self.hosts:
            if not _HOST.fullmatch(name):
                raise ValueError(f"hosts: {name!r} is no name of a host: write a-z, 0-9 and -")
        clients = [one.client for one in self.hosts.values() if one.client]
        if len(set(clients)) < len(clients):
            raise ValueError("hosts: two of them are the same client: give each a client of its own")
        for name, one in self.numbers.items():
            if unknown := sorted(one.hosts - self.hosts.keys()):
                raise ValueError(f"numbers: {name}: there is no host {unknown[0]!r} under `hosts`")
        for address in self.addresses:
            ipaddress.ip_address(address)
        for uri in self.servers:
            check_server(uri)
