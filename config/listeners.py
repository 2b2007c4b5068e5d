"""Listening sockets that components ask for: made and bound by the supervisor, inherited by name. Pure.

Each is a further door into the host, so it is an operator's decision: a name, an address, a port and a reason.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tlsrt.config.door import IP_ADDRESS
from tlsrt.config.setting import NAME, NAME_SAYS, boolean, count, text

Protocol = Literal["tcp", "udp"]
REPLIES_PER_S, MOST_REPLIES_PER_S = 128, 2048


def _address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


def _group(text: str) -> str:
    if text and not ipaddress.ip_address(text).is_multicast:
        raise ValueError(f"{text} is no multicast group, such as 224.0.0.251 or ff02::fb")
    return text


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """A socket that listens, and the reason."""

    name: str = field(
        metadata=text("Its name, for `self.listener(NAME)`.", pattern=NAME, says=NAME_SAYS, example="mqtt")
    )
    port: int = field(metadata=count("The port.", 1, 65535, example="8883"))
    why: str = field(
        metadata=text("The reason, for the next reader.", least=3, most=1000, example="sensors send there")
    )
    host: str = field(
        default="127.0.0.1",
        metadata=text(
            "The address to listen on.",
            pattern=IP_ADDRESS,
            says="an IP address, such as 127.0.0.1, or 0.0.0.0 for all",
            parse=_address,
        ),
    )
    protocol: Protocol = field(
        default="tcp", metadata=text("tcp: it takes connections; udp: it receives datagrams.", choices=("tcp", "udp"))
    )
    answers: bool = field(
        default=False,
        metadata=boolean(
            "udp only: it may send datagrams from this port too, and then to any host: their addresses are not checked."
        ),
    )
    replies: bool = field(
        default=False,
        metadata=boolean(
            "udp only: it may send datagrams from this port to who has sent one to it within 5 minutes, and to no "
            "other host: the kernel holds it to that. To link-local addresses of IPv6 only in a group."
        ),
    )
    replies_per_s: int = field(
        default=REPLIES_PER_S,
        metadata=count(
            "Of a program with `replies`: so many answers a second, after the first of two seconds; then it waits. The "
            "supervisor sends each; listeners of one program share the sum.",
            REPLIES_PER_S, MOST_REPLIES_PER_S,
        ),
    )  # fmt: skip
    group: str = field(
        default="",
        metadata=text(
            "udp only: a multicast group, which it joins instead of listening on `host`. With `replies` it may send to "
            "this group, too. The same group and port can be in several entries, each with an `interface` of its own.",
            pattern=IP_ADDRESS,
            says="a multicast group, such as 224.0.0.251 or ff02::fb",
            parse=_group,
            example="224.0.0.251",
        ),
    )
    interface: str = field(
        default="",
        metadata=text(
            "The network interface on which it joins the group. It hears it there alone, and with `replies` sends "
            "there alone.",
            pattern=r"[A-Za-z0-9_.:-]{1,15}",
            says="the name of a network interface",
            default_says="the one of the default route",
            example="eth0",
        ),
    )
    passed: bool = field(
        default=False,
        metadata=boolean(
            "Of a program only: hand it the socket as it begins, from descriptor 3 on, with LISTEN_FDS, LISTEN_PID and "
            "LISTEN_FDNAMES as sd_listen_fds(3) reads them, in the order of the entries.",
            key="pass",
        ),
    )
    where: str = field(default="", compare=False)  # FILE:LINE:COL

    @property
    def bound(self) -> str:
        """Return the address that it is bound to: bound to a group it takes what is sent to that group only."""
        return self.group or self.host

    @property
    def sends(self) -> bool:
        """Tell whether it names addresses as it sends."""
        return self.answers or self.replies

    @property
    def place(self) -> str:
        """Return where it listens, as HOST:PORT/PROTOCOL."""
        host = f"[{self.bound}]" if ":" in self.bound else self.bound
        on = f"%{self.interface}" if self.interface else ""
        return f"{host}{on}:{self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of the host as a process finds it when it starts: for a listener that has joined a group."""

    name: str
    index: int
    addresses: tuple[str, ...]  # each with the length of its network: 192.0.2.7/24, fe80::1/64


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket of a configuration: of which component, in which process, perhaps for a program of it."""

    process: str
    address: str
    asked: ListenConfig
    program: str = ""
    is_watched: bool = False  # by the component, which sees how many connections wait there

    @property
    def key(self) -> str:
        """Return its name among all descriptors of its process."""
        return key_of(self.holder, self.asked.name)

    @property
    def is_inherited(self) -> bool:
        """Tell whether the process of its component has it."""
        return not self.program or self.is_watched

    @property
    def holder(self) -> str:
        """Return who has it: `third/notes`, or a program of it as `third/notes/main`."""
        return f"{self.address}/{self.program}" if self.program else self.address

    @property
    def sentence(self) -> str:
        """Return what it is, in words."""
        return f"{self.asked.place} for {self.holder} ({self.asked.name}): {self.asked.why}"


def key_of(address: str, name: str) -> str:
    """Return the name of a component's listener among the descriptors of its process."""
    return f"{address}:{name}"


def problems_of(listeners: Sequence[Listener], taken: Iterable[tuple[str, ListenConfig]]) -> list[str]:
    """Return a sentence for each that cannot be had; `taken` are (what it is, where) of the host's own sockets."""
    found: list[str] = []
    seen = list(taken)
    names: set[str] = set()
    for one in listeners:
        asked = one.asked
        start = f"{asked.where}: {one.holder}"
        if one.key in names:
            found.append(f"{start} has two listeners {asked.name}: give each a name of its own")
        names.add(one.key)
        if one.process == "primary" and not one.program:
            found.append(f"{start} runs in primary, which keeps the one door: remove `process: shared`")
        word = "answers" if asked.answers else "replies"
        if asked.passed and not one.program:
            found.append(f"{start} cannot have `pass`: a component has `self.listener({asked.name!r})`; remove it")
        elif asked.answers and one.program:
            found.append(f"{start} cannot have `answers`: a program sends to who has written to it; write `replies`")
        elif asked.sends and asked.protocol != "udp":
            found.append(f"{start} cannot have `{word}` over tcp: an accepted connection answers anyway; remove it")
        elif asked.group and (asked.protocol != "udp" or one.program):
            found.append(f"{start} cannot have `group`: only a component's udp socket joins one; remove it")
        elif asked.interface and not asked.group:
            found.append(f"{start} cannot have `interface` without `group`: write its address as `host`")
        elif ":" in asked.group and not asked.interface:
            found.append(f"{start} cannot join {asked.group} without `interface`: IPv6 would hear it on every one")
        elif asked.replies and not asked.group and is_of_one_link(asked.bound):
            found.append(
                f"{start} cannot have `replies` on {asked.bound}: each link has such addresses, and who sends "
                "chooses the link; choose a global address or a group, or write `answers`, if it may send to any host"
            )
        elif asked.replies_per_s != REPLIES_PER_S and not (one.program and asked.replies):
            found.append(f"{start} cannot have `replies_per_s`: it is for a program with `replies`; remove it")
        elif asked.answers and asked.replies:
            found.append(f"{start} cannot have both `answers` and `replies`: the first one is to any host; remove one")
        other = next((what for what, place in seen if overlaps(place, asked)), "")
        if other:
            found.append(f"{start} cannot listen on {asked.place}: {other} does; choose another port")
        seen.append((f"{one.holder} ({asked.name})", asked))
    return found


def is_of_one_link(host: str) -> bool:
    """Tell whether an address of IPv6 means another host or group on each link. Pure."""
    address = ipaddress.ip_address(host)
    return address.version == 6 and (address.is_link_local or (address.is_multicast and address.packed[1] & 15 <= 2))


def stays_on_link(group: str) -> bool:
    """Tell whether no router passes on what is sent to a multicast group. Pure."""
    address = ipaddress.ip_address(group)
    return is_of_one_link(group) or (address.version == 4 and address.packed[:3] == b"\xe0\0\0")


def overlaps(one: ListenConfig, other: ListenConfig) -> bool:
    """Tell whether the kernel refuses one of two sockets. Each is of one family, also where it stands for all of it."""
    if (one.port, one.protocol) != (other.port, other.protocol):
        return False
    if one.group and other.group and one.interface and other.interface and one.interface != other.interface:
        return False
    first, second = ipaddress.ip_address(one.bound), ipaddress.ip_address(other.bound)
    return first.version == second.version and (first == second or first.is_unspecified or second.is_unspecified)
