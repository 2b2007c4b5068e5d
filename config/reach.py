"""Whether a host has to do with other machines at all: where it listens, and what its egress rules let it reach. Pure.

A unit of systemd keeps a host that has not to loopback, by its control group. A configuration that wants more later is
warned of, since the kernel refuses then what the rules allow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address

from tlsrt.config.egress import EgressRule
from tlsrt.config.schema import Config

LOCAL_VARIABLE = "TLSRT_UNIT_IS_LOCAL"


def reaches_out(config: Config) -> bool:
    """Say whether a socket of the host may have to do with another machine than this."""
    return any(not ip_address(host).is_loopback for host in _hosts(config)) or any(
        not isinstance(rule, EgressRule) or rule.network is None or not rule.network.is_loopback
        for rule in _rules(config)
    )


def unit_warnings(config: Config, environment: Mapping[str, str]) -> list[str]:
    """Return what a start under a unit for loopback says of a configuration that wants more."""
    if LOCAL_VARIABLE not in environment or not reaches_out(config):
        return []
    return [
        "the unit keeps this host to loopback, and its configuration reaches out: run `tlsrt-supervisor install` "
        "again, and restart it"
    ]


def _hosts(config: Config) -> Iterator[str]:
    yield config.door.host
    if config.deception.endpoint is not None:
        yield config.deception.endpoint.host
    for listener in config.listeners:
        yield listener.asked.host
        if listener.asked.group:
            yield listener.asked.group


def _rules(config: Config) -> Iterator[object]:
    for loop in config.loops:
        for one in loop.egress:
            yield from one.rules
    for component in config.components:
        for one in component.needs.egress:
            yield from one.rules
        for program in component.all_programs:
            for one in program.egress:
                yield from one.rules
