"""What the network of a host is at one moment, and what has changed since another one (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]
TOLD_MAX = 128  # changes of one topic that are told of one look; of more, how many there were


@dataclass(frozen=True, slots=True)
class NetworkState:
    """Links by name, addresses and routes by what tells them apart."""

    links: Mapping[str, Facts] = field(default_factory=dict[str, Facts])
    addresses: Mapping[str, Facts] = field(default_factory=dict[str, Facts])
    routes: Mapping[str, Facts] = field(default_factory=dict[str, Facts])

    def default_route(self, family: str) -> Facts | None:
        """Return the default route that is taken, "ipv4" or "ipv6": the one of the least metric whose link carries."""
        to = "0.0.0.0/0" if family == "ipv4" else "::/0"
        usable = [
            one
            for one in self.routes.values()
            if one["destination"] == to and self.links.get(one["interface"], {}).get("carrier")
        ]
        return min(usable, key=lambda one: int(one["metric"]), default=None)

    @property
    def online(self) -> bool:
        """Tell whether packets for elsewhere leave: there is a default route, and an address to send them from.

        Whether anything answers is not asked.
        """
        for family in ("ipv4", "ipv6"):
            way = self.default_route(family)
            if way is not None and any(
                one["family"] == family and one["scope"] == "global" and one["interface"] == way["interface"]
                for one in self.addresses.values()
            ):
                return True
        return False


def state_of(links: Iterable[Facts], addresses: Iterable[Facts], routes: Iterable[Facts]) -> NetworkState:
    """Return the state that these facts are."""
    return NetworkState(
        {one["name"]: one for one in links},
        {f"{one['interface']} {one['address']}": one for one in addresses},
        {f"{one['interface']} {one['destination']} {one['gateway']} {one['metric']}": one for one in routes},
    )


def changes(before: Mapping[str, Facts], now: Mapping[str, Facts]) -> list[dict[str, Any]]:
    """Return what happened to links, addresses or routes, as events; what a removed one was is told with it."""
    told = [{"change": "removed", **one} for key, one in before.items() if key not in now]
    for key, one in now.items():
        if (was := before.get(key)) != one:
            told.append({"change": "new" if was is None else "changed", **one})
    if len(told) > TOLD_MAX:
        return [*told[:TOLD_MAX], {"change": "more", "count": len(told) - TOLD_MAX}]
    return told
