"""Interfaces as they are and as an operator declares them, and the lines for `ip -batch` between two states. Pure.

A state is plain values, so that what is to be undone can be kept on the disk. What `ip` says is read as untrusted: each
value is parsed, and written again from what it was parsed to.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from tlsrt import Failed, Length, Range

PROTOCOL = "117"  # of our routes, rtnetlink(7): those of others stay
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,14}")
_WORD = re.compile(r"[a-z0-9_]{1,16}")
_FOREVER = 0xFFFFFFFF
_Text = Annotated[str, Length(64, 1)]
Route = tuple[str, str, int, str]  # to, via ("" if none), metric, protocol


class InterfaceState(TypedDict):
    """One interface: up, MTU in bytes, addresses with the seconds that they last (None: forever), and its routes."""

    up: bool
    mtu: int
    addresses: dict[str, int | None]
    routes: list[Route]


State = dict[str, InterfaceState]


@dataclass(frozen=True, kw_only=True)
class DeclaredRoute:
    """A route of the main table through this interface."""

    to: _Text
    via: str = ""
    metric: Annotated[int, Range(0, 0x7FFFFFFF)] = 0

    def __post_init__(self) -> None:
        """Refuse what is no route. Raises ValueError."""
        _ = self.plain

    @property
    def plain(self) -> Route:
        """Return it as a state has it."""
        via = ipaddress.ip_address(self.via) if self.via else None
        if self.to == "default":
            if via is None:
                raise ValueError("a default route needs `via`, the address of a gateway")
            return ("0.0.0.0/0" if via.version == 4 else "::/0"), str(via), self.metric, PROTOCOL
        network = ipaddress.ip_network(self.to)
        if via is not None and via.version != network.version:
            raise ValueError(f"{self.to} and its gateway {self.via} are of two versions of IP")
        if network.is_multicast or "%" in f"{self.to}{self.via}":
            raise ValueError(f"{self.to} is no network that is reached through a gateway")
        return str(network), str(via or ""), self.metric, PROTOCOL


@dataclass(frozen=True, kw_only=True)
class DeclaredInterface:
    """What an interface is to be; what is not said stays as it is."""

    up: bool | None = None
    mtu: Annotated[int, Range(68, 65535)] | None = None
    addresses: Annotated[tuple[_Text, ...], Length(32)] | None = None  # ADDRESS/PREFIX: these and no others
    routes: Annotated[tuple[DeclaredRoute, ...], Length(64)] | None = None  # of this service: these and no others

    def __post_init__(self) -> None:
        """Refuse what is no address. Raises ValueError."""
        for one in self.addresses or ():
            _address(one)


def check_name(name: str) -> None:
    """Refuse what is no name of an interface. Raises ValueError with a sentence."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:24]!r} is no name of an interface: letters, digits and _.:-, at most 15")


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_interface(text)
    except ValueError:
        address = None
    if address is None or "/" not in text or "%" in text or address.is_multicast or address.is_unspecified:
        raise ValueError(f"{text[:64]!r} is no address with a prefix, such as 192.0.2.1/24")
    return str(address)


def read_state(names: Sequence[str], links: Sequence[Any], routes: Sequence[Any]) -> State:
    """Return the state of these interfaces by what `ip -j address` and `ip -j route` said; those that are there.

    Raises Failed for what ip cannot have said.
    """
    try:
        found: State = {one["ifname"]: _link(one) for one in links if one.get("ifname") in names}
        for one in routes:
            if one.get("dev") in found and one.get("protocol") not in ("kernel", "ra") and "nexthops" not in one:
                found[one["dev"]]["routes"].append(_route(one))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Failed(f"ip said what cannot be read ({type(error).__name__}): is it the ip of iproute2?") from None
    return found


def indices_of(links: Sequence[Any]) -> dict[str, int]:
    """Return the numbers of interfaces by what `ip -j address` said. Raises Failed for what ip cannot have said."""
    try:
        return {str(one["ifname"]): int(one["ifindex"]) for one in links}
    except (KeyError, TypeError, ValueError):
        raise Failed("ip said what cannot be read: is it the ip of iproute2?") from None


def _link(one: Any) -> InterfaceState:
    addresses: dict[str, int | None] = {}
    for each in one.get("addr_info", ()):
        if each.get("scope") == "global" and "address" not in each and not each.get("mngtmpaddr"):
            left = int(each.get("valid_life_time", _FOREVER))
            addresses[_address(f"{each['local']}/{int(each['prefixlen'])}")] = None if left == _FOREVER else left
    return {"up": "UP" in one["flags"], "mtu": int(one["mtu"]), "addresses": addresses, "routes": []}


def _route(one: Any) -> Route:
    via = str(ipaddress.ip_address(one["gateway"])) if "gateway" in one else ""
    to = one["dst"]
    if to == "default":
        to = "::/0" if one["version"] == 6 else "0.0.0.0/0"
    protocol = str(one.get("protocol", "boot"))
    if not _WORD.fullmatch(protocol):
        raise ValueError(protocol)
    return str(ipaddress.ip_network(to)), via, int(one.get("metric", 0)), protocol


def target_of(now: State, declared: Mapping[str, DeclaredInterface]) -> State:
    """Return what the state is to be. Raises Failed with a sentence for an interface that is not there."""
    wanted: State = {}
    for name, one in declared.items():
        if name not in now:
            raise Failed(f"interface {name} is not there: plug it in, or take it out of `interfaces`")
        its = now[name]
        others = [route for route in its["routes"] if route[3] != PROTOCOL]
        wanted[name] = {
            "up": its["up"] if one.up is None else one.up,
            "mtu": its["mtu"] if one.mtu is None else one.mtu,
            "addresses": its["addresses"]
            if one.addresses is None
            else {
                **{text: left for text, left in its["addresses"].items() if left is not None},
                **dict.fromkeys(map(_address, one.addresses)),
            },
            "routes": its["routes"] if one.routes is None else [*others, *(route.plain for route in one.routes)],
        }
    return wanted


def lines_between(now: State, wanted: State, *, trial_s: int = 0) -> list[str]:
    """Return the lines for `ip -batch` that lead from one state to another: what is new first, and then what goes.

    With `trial_s` new addresses last so long, and the kernel takes them away by itself. Interfaces that are not there
    any more are left out.
    """
    both = {name: (now[name], one) for name, one in wanted.items() if name in now}
    lasts = f" valid_lft {trial_s} preferred_lft {trial_s}" if trial_s else ""
    parts: list[list[str]] = [[], [], [], [], [], [], []]
    for name, (before, after) in both.items():
        if before["mtu"] != after["mtu"]:
            parts[0].append(f"link set dev {name} mtu {after['mtu']}")
        if before["up"] != after["up"]:
            parts[1 if after["up"] else 6].append(f"link set dev {name} {'up' if after['up'] else 'down'}")
        for text, left in after["addresses"].items():
            if text not in before["addresses"] and (after["up"] or ":" not in text):  # a link that is down has no IPv6
                how = f" valid_lft {left} preferred_lft {left}" if left else lasts
                parts[2].append(f"address add {text} dev {name}{how}")
            elif text in before["addresses"] and left is None and before["addresses"][text] is not None and not trial_s:
                parts[2].append(f"address change {text} dev {name} valid_lft forever preferred_lft forever")
        if after["up"]:
            there = set(map(tuple, before["routes"]))
            new = [one for one in in_order(after["routes"]) if tuple(one) not in there]
            parts[3] += [f"route add {_words(one, name)}" for one in new]
        gone = [one for one in before["routes"] if tuple(one) not in set(map(tuple, after["routes"]))]
        parts[4] += [f"route del {_words(one, name)}" for one in gone]
        parts[5] += [f"address del {text} dev {name}" for text in before["addresses"] if text not in after["addresses"]]
    return [line for part in parts for line in part]


def in_order(routes: Iterable[Route]) -> list[Route]:
    """Return routes so that the way to a gateway comes before those through it."""
    return sorted(routes, key=lambda one: (bool(one[1]), -int(one[0].partition("/")[2])))


def _words(route: Sequence[Any], name: str) -> str:
    to, via, metric, protocol = route
    gateway = f" via {via}" if via else ""
    return f"{to}{gateway} dev {name}{f' metric {metric}' if metric else ''} proto {protocol}"


def cut_sentences(now: State, wanted: State) -> Iterator[str]:
    """Give a sentence for each way to this host that a change takes away."""
    for name, after in wanted.items():
        before = now[name]
        if before["up"] and not after["up"]:
            held = ", ".join(text.partition("/")[0] for text in before["addresses"]) or "it"
            yield f"interface {name} goes down: callers that reach this host by {held} are cut off, tlsrt's door too"
            continue
        for text in before["addresses"]:
            if text not in after["addresses"]:
                yield f"address {text} of {name} goes: callers that reach this host by it are cut off"
        for to, via, _, protocol in before["routes"]:
            same = [one for one in after["routes"] if one[0] == to]
            if not same and protocol == PROTOCOL:
                yield f"the route to {to}{f' via {via}' if via else ''} goes: callers from there are cut off"
