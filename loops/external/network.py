"""The network of the host: interfaces, routes, sockets. Reads only; External shares the host's network namespace."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil

from tlsrt import Component, handler
from tlsrt.loops.external.routes import counters, ipv4_routes, ipv6_routes, tcp_states
from tlsrt.loops.sampling.procfs import Interval, clocks, read_text
from tlsrt.loops.sampling.samples import Samples

_TABLE_BYTES = 4 << 20  # 25,000 sockets or routes; a longer table is counted as far as this
_FAMILIES = {int(socket.AF_INET): "ipv4", int(socket.AF_INET6): "ipv6", int(psutil.AF_LINK): "link"}
_DUPLEX = {int(psutil.NIC_DUPLEX_FULL): "full", int(psutil.NIC_DUPLEX_HALF): "half"}


class Network(Component):
    """Facts about the host's network."""

    class Options:
        """There are none."""

    proc = Path("/proc")

    def __init__(self) -> None:
        self._samples = Samples(self._read_sample)

    def _read_sample(self) -> dict[str, Any]:
        return {"interfaces": counters(read_text(self.proc / "net/dev") or ""), **clocks()}

    def healthy(self) -> str | None:
        return "/proc/net shows nothing" if read_text(self.proc / "net/dev") is None else None

    @handler(idempotent=True)
    async def interfaces(self) -> list[dict[str, Any]]:
        """Every interface: up or not, flags, mtu in bytes, speed in Mbit/s (null if unknown), addresses, counters."""
        addresses = psutil.net_if_addrs()
        states = psutil.net_if_stats()
        totals = self._samples.now()["interfaces"]
        found: list[dict[str, Any]] = []
        for name in sorted({*addresses, *states}):
            state = states.get(name)
            found.append(
                {
                    "name": name,
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
    async def routes(self) -> list[dict[str, Any]]:
        """The main IPv4 and IPv6 routes: destination, gateway (null if direct), interface, metric."""
        four = read_text(self.proc / "net/route", _TABLE_BYTES) or ""
        six = read_text(self.proc / "net/ipv6_route", _TABLE_BYTES) or ""
        return [*ipv4_routes(four), *ipv6_routes(six)]

    @handler(idempotent=True)
    async def connections(self) -> dict[str, Any]:
        """How many TCP sockets are in each state, and how many UDP sockets there are."""
        tcp = {name: tcp_states(read_text(self.proc / "net" / name, _TABLE_BYTES) or "") for name in ("tcp", "tcp6")}
        udp = {
            name: max(len((read_text(self.proc / "net" / name, _TABLE_BYTES) or "").splitlines()) - 1, 0)
            for name in ("udp", "udp6")
        }
        return {**tcp, **udp, **clocks()}

    @handler
    async def watch(self, interval_s: Interval = 1.0) -> AsyncIterator[dict[str, Any]]:
        """The counters of every interface now and every `interval_s` seconds, at the same moments for all who watch."""
        async with aclosing(self._samples.every(interval_s)) as samples:
            async for sample in samples:
                yield sample


def _address(address: Any) -> dict[str, Any]:
    return {
        "family": _FAMILIES.get(int(address.family), str(int(address.family))),
        "address": address.address,
        "netmask": address.netmask,
        "broadcast": address.broadcast,
    }
