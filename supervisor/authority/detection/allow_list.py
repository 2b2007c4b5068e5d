"""Allow-list: networks and names that are exempt from actions, by the configuration. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from tlsrt.supervisor.authority.model.ports import SignalSource, SourceKind

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AllowList:
    """Networks and names."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._networks: list[_Network] = []
        for entry in entries:
            network = _network_of(entry)
            if network is None:
                self._names.add(entry)
            else:
                self._networks.append(network)

    def has(self, source: SignalSource, subject: str = "") -> bool:
        """Tell whether a source is on the list; `subject` is whose session it is."""
        if source.kind is not SourceKind.ADDRESS:
            return bool({source.value, subject, subject.partition("/")[0]} & self._names)
        address = _network_of(source.value)
        return address is not None and any(_covers(network, address) for network in self._networks)


def _network_of(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _covers(network: _Network, address: _Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(address, ipaddress.IPv4Network) and address.subnet_of(network)
    if isinstance(address, ipaddress.IPv4Network):
        return False
    return address.subnet_of(network) or network.subnet_of(address)  # addresses are counted by /64
