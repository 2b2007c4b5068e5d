"""The network of the host: interfaces, routes, sockets. Reads only; External shares the host's network namespace."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import psutil

from tlsrt import CallError, Component, Length, MisuseError, Unavailable, handler
from tlsrt.loops.external.bus_question import WITHOUT, ask, load
from tlsrt.loops.external.link_speeds import LinkSpeeds
from tlsrt.loops.external.link_tables import printable, read_names, read_tables
from tlsrt.loops.external.name_lookup import NameLookup
from tlsrt.loops.external.network_state import NetworkState, changes, state_of
from tlsrt.loops.external.resolved import INTERFACE as RESOLVED_MANAGER
from tlsrt.loops.external.resolved import NAME as RESOLVED
from tlsrt.loops.external.resolved import PATH as RESOLVED_PATH
from tlsrt.loops.external.resolved import resolved_untrusted
from tlsrt.loops.external.routes import counters, ipv4_routes, ipv6_routes, tcp_states
from tlsrt.loops.external.sockets import listening, name_servers
from tlsrt.loops.external.traffic import Traffic
from tlsrt.loops.sampling.number_history import Span
from tlsrt.loops.sampling.procfs import Interval, awake_s, clocks, read_text
from tlsrt.loops.sampling.samples import Samples

POLL_S = 10.0  # without events of the kernel
_SHARE, _AT_ONCE_S = 0.1, 0.2  # of the processor, for looks at what has changed: in the long run, and at once
_SOCKETS_MAX = 1024
_TABLE_BYTES = 4 << 20  # 25,000 sockets or routes; a longer table is counted as far as this
_FAMILIES = {int(socket.AF_INET): "ipv4", int(socket.AF_INET6): "ipv6", int(psutil.AF_LINK): "link"}
_DUPLEX = {int(psutil.NIC_DUPLEX_FULL): "full", int(psutil.NIC_DUPLEX_HALF): "half"}


class Network(Component):
    """Facts about the host's network."""

    class Options:
        """What it asks for outside."""

        resolve: Annotated[bool, "Ask for names: it takes egress rules for the name servers, 192.0.2.53:53/udp."] = (
            False
        )
        resolved: Annotated[bool, "Ask systemd-resolved for servers and domains by link: it takes `buses`."] = False

    topics = {  # noqa: RUF012
        "link": "{change: new | changed | removed, name, up, carrier, mtu_bytes, ...}: a link",
        "address": "{change: new | removed, interface, family, address, scope}: an address of this host",
        "route": "{change: new | removed, family, destination, gateway, interface, metric}: a route",
        "online": "{online, ipv4, ipv6}: the default routes that are taken, when they or `online` have changed",
    }

    proc = Path("/proc")
    etc = Path("/etc")

    def __init__(self) -> None:
        self._lookup = NameLookup()
        self._speeds = LinkSpeeds()
        self._state: NetworkState | None = None  # unknown
        self._trouble = ""
        self._has_changed = asyncio.Event()
        self._hears = False
        self._has_bus = False
        self._samples = Samples(self._read_sample)
        self._traffic = Traffic()

    def warm_up(self) -> None:
        """Import the library of D-Bus while code can be read."""
        self._has_bus = self.options.resolved and load()

    async def start(self) -> None:
        self._state = self._state_or_none()
        try:
            events = self.host_events("network")
        except MisuseError:
            self.log.info("changes are looked for every %g s only: events of kind network are not granted", POLL_S)
        else:
            self._hears = True
            self.spawn(partial(self._listen, events), name="network events", restart=False)
        self.spawn(self._look_again, name="changes")

    async def stop(self) -> None:
        self._lookup.close()
        self._speeds.close()

    def _read_sample(self) -> dict[str, Any]:
        return {"interfaces": counters(read_text(self.proc / "net/dev") or ""), **clocks()}

    def healthy(self) -> str | None:
        """Say what is wrong, and take a sample for `history`: so it wakes up for none."""
        text = read_text(self.proc / "net/dev")
        if text is None:
            return "/proc/net shows nothing"
        self._traffic.take(counters(text), awake_s())
        return None

    @handler(idempotent=True)
    async def interfaces(self) -> list[dict[str, Any]]:
        """Every interface: up or not, flags, mtu in bytes, speed in Mbit/s (null if unknown), addresses, counters."""
        self.read_state()  # says why, where the kernel lists none
        addresses = psutil.net_if_addrs()
        states = psutil.net_if_stats()
        totals = self._samples.now()["interfaces"]
        found: list[dict[str, Any]] = []
        for name in sorted({*addresses, *states}):
            state = states.get(name)
            found.append(
                {
                    "name": printable(name),
                    "up": state.isup if state else None,
                    "flags": state.flags.split(",") if state and state.flags else [],
                    "mtu_bytes": state.mtu if state else None,
                    "speed_mbit": (state.speed or None) if state else None,
                    "duplex": _DUPLEX.get(state.duplex) if state else None,
                    "addresses": [_address(address) for address in addresses.get(name, [])],
                    "counters": totals.get(name),
                }
            )
        return found

    @handler(idempotent=True)
    async def history(self, span: Span = "hour") -> dict[str, Any]:
        """Traffic of the last hour (of each 10 s) or day (of each 5 min), since this service runs; gaps are left out.

        `ages_s`: how long ago each bucket began. `series`: of each the lists `least`, `most` and `mean` beside these:
        received and sent (bytes per s) of all interfaces but lo, and dropped (packets per s, errors among them).
        """
        return self._traffic.told(span, awake_s())

    @handler(idempotent=True)
    async def routes(self) -> list[dict[str, Any]]:
        """The main IPv4 and IPv6 routes: destination, gateway (null if direct), interface, metric."""
        return self._routes()

    @handler(idempotent=True)
    async def connections(self) -> dict[str, Any]:
        """How many TCP sockets are in each state, and how many UDP sockets there are."""
        tcp = {name: tcp_states(read_text(self.proc / "net" / name, _TABLE_BYTES) or "") for name in ("tcp", "tcp6")}
        udp = {
            name: max(len((read_text(self.proc / "net" / name, _TABLE_BYTES) or "").splitlines()) - 1, 0)
            for name in ("udp", "udp6")
        }
        return {**tcp, **udp, **clocks()}

    @handler(idempotent=True)
    async def links(self) -> list[dict[str, Any]]:
        """Every link: up (set so), carrier (the other end is there), mtu, speed in Mbit/s, address, counters."""
        counted = self._samples.now()["interfaces"]
        totals = {printable(name): one for name, one in counted.items()}
        names = [name.encode("utf-8", "surrogateescape") for name in counted]
        speeds = {printable(name): speed for name, speed in self._speeds.of(names).items()}
        return [
            {**link, "speed_mbit": speeds.get(name), "counters": totals.get(name)}
            for name, link in self.read_state().links.items()
        ]

    @handler(idempotent=True)
    async def addresses(self) -> list[dict[str, Any]]:
        """Every address of this host with its prefix, interface, and scope: host, link or global."""
        return [{**one} for one in self.read_state().addresses.values()]

    @handler(idempotent=True)
    async def reachability(self) -> dict[str, Any]:
        """Whether packets for elsewhere can leave, and the default routes that are taken, null if there is none.

        `online` asks no one: it is a default route on a link with a carrier, and a global address there.
        """
        return _reachability(self.read_state())

    @handler(idempotent=True)
    async def name_servers(self) -> dict[str, Any]:
        """The name servers and search domains of /etc/resolv.conf; null if there is none. `stub`: one of this host."""
        text = read_text(self.etc / "resolv.conf")
        if text is None:
            return {"servers": None, "search": None, "stub": None}
        found = name_servers(text)
        return {**found, "stub": any(ipaddress.ip_address(one).is_loopback for one in found["servers"])}

    @handler(idempotent=True)
    async def dns(self) -> dict[str, Any]:
        """Name servers and domains: {by, servers, domains, asked_last, stub, why_not}; null for what is not known.

        By systemd-resolved, with the interface of each (null: all), where it runs and `resolved` is set; `why_not` says
        in a sentence why it is not asked. Else what /etc/resolv.conf says.
        """
        named = await self.name_servers()
        why = "options: {resolved: true} of external/network, and `buses`, have it asked"
        if self.options.resolved:
            try:
                return {"by": "systemd-resolved", **await self._resolved(), "stub": named["stub"], "why_not": None}
            except CallError as error:
                why = error.message
        servers, search = named["servers"], named["search"]
        return {
            "by": None if servers is None else "resolv.conf",
            "servers": servers and [{"address": one, "interface": None} for one in servers],
            "domains": search and [{"domain": one, "interface": None, "only_routes": False} for one in search],
            "asked_last": None, "stub": named["stub"], "why_not": why,
        }  # fmt: skip

    async def _resolved(self) -> dict[str, Any]:
        if not self._has_bus:
            raise Unavailable(WITHOUT)
        body = await ask(RESOLVED, RESOLVED_PATH, "org.freedesktop.DBus.Properties", "GetAll", "s", RESOLVED_MANAGER)
        said = body[0] if body and isinstance(body[0], dict) else {}
        try:
            links = read_names()
        except OSError:
            links = {}
        return resolved_untrusted({str(key): getattr(one, "value", one) for key, one in said.items()}, links)

    @handler(idempotent=True)
    async def listening(self) -> dict[str, Any]:
        """The TCP and UDP sockets of this host that wait for others, with port and uid; at most 1024 of them."""
        found = [
            one
            for name in ("tcp", "tcp6", "udp", "udp6")
            for one in listening(read_text(self.proc / "net" / name, _TABLE_BYTES) or "", name[:3])
        ]
        return {"sockets": found[:_SOCKETS_MAX], "left_out": max(0, len(found) - _SOCKETS_MAX)}

    @handler(idempotent=True)
    async def resolve(self, name: Annotated[str, Length(254, 1)]) -> list[str]:
        """The addresses of a name, as the resolver of this host answers; at most 32, within 10 s, 4 names at once."""
        if not self.options.resolve:
            servers = ", ".join(f"{one}:53/udp" for one in (await self.name_servers())["servers"] or ["ADDRESS"])
            raise Unavailable(
                "no names are asked for: set `options: {resolve: true}` of external/network, with egress to "
                f"{servers}"
            )
        self.count("names")
        return await self._lookup.addresses_of(name)

    @handler
    async def watch(self, interval_s: Interval = 1.0) -> AsyncIterator[dict[str, Any]]:
        """The counters of every interface now and every `interval_s` seconds, at the same moments for all who watch."""
        async with aclosing(self._samples.every(interval_s)) as samples:
            async for sample in samples:
                yield sample

    # What happens

    def read_state(self) -> NetworkState:
        """Read links, addresses and routes, all of them anew. Raises Unavailable where this host shows none."""
        try:
            links, addresses = read_tables()
        except OSError as error:
            why = os.strerror(error.errno or 0).lower()
            raise Unavailable(f"the kernel lists no links here: a netlink socket gives `{why}`{_hint(error)}") from None
        return state_of(links, addresses, self._routes())

    def _routes(self) -> list[dict[str, Any]]:
        four = read_text(self.proc / "net/route", _TABLE_BYTES) or ""
        six = read_text(self.proc / "net/ipv6_route", _TABLE_BYTES) or ""
        return [{**one, "interface": printable(one["interface"])} for one in (*ipv4_routes(four), *ipv6_routes(six))]

    def _state_or_none(self) -> NetworkState | None:
        """Read the state; where that cannot be, say so once and return None."""
        try:
            state = self.read_state()
        except Unavailable as error:
            if error.message != self._trouble:
                self._trouble = error.message
                self.log.warning("changes of the network are not told: %s", error.message)
            return None
        self._trouble = ""
        return state

    async def _listen(self, events: Any) -> None:
        self._has_changed.set()  # what happened between the first look and here is found
        async for change in events:
            self.count("network_events")
            if change.is_gap:
                self.count("network_gaps")
            self._has_changed.set()

    async def _look_again(self) -> None:
        """Read anew when the kernel tells of a change, and tell what differs: what was told late or lost is, too."""
        left, before = _AT_ONCE_S, time.monotonic()
        while True:
            try:
                async with asyncio.timeout(None if self._hears else POLL_S):
                    await self._has_changed.wait()
            except TimeoutError:
                pass
            self._has_changed.clear()
            began, at = time.thread_time(), time.monotonic()
            self.look()
            left = min(_AT_ONCE_S, left + _SHARE * (at - before)) - (time.thread_time() - began)
            before = at
            if left < 0:
                await asyncio.sleep(-left / _SHARE)

    def look(self) -> None:
        """Read the state anew, and publish what has changed."""
        if (now := self._state_or_none()) is None:
            return
        before, self._state = self._state or NetworkState(), now
        for topic, old, new in (
            ("link", before.links, now.links),
            ("address", before.addresses, now.addresses),
            ("route", before.routes, now.routes),
        ):
            for told in changes(old, new):
                self.count(f"{topic}_changes")
                self.publish(topic, told)
        if _reachability(before) != (reachability := _reachability(now)):
            self.publish("online", reachability)


def _reachability(state: NetworkState) -> dict[str, Any]:
    return {"online": state.online, "ipv4": state.default_route("ipv4"), "ipv6": state.default_route("ipv6")}


def _hint(error: OSError) -> str:
    refused = error.errno == errno.EAFNOSUPPORT
    return "; add AF_NETLINK to RestrictAddressFamilies= of the service, in a drop-in" if refused else ""


def _address(address: Any) -> dict[str, Any]:
    return {
        "family": _FAMILIES.get(int(address.family), str(int(address.family))),
        "address": address.address,
        "netmask": address.netmask,
        "broadcast": address.broadcast,
    }
