"""A ruleset as a document of libnftables-json(5): one transaction that replaces the whole of one table. Pure.

A trial has two rulesets in one table: chains of the new one, which a packet goes to while the set `trial` has an
element for its version of IP, and chains of the one before. The elements have a timeout, so it is the kernel that goes
back, at that time and whatever process has died meanwhile.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from tlsrt.loops.external.firewall_rules import (
    HOOKS,
    AddressSet,
    Network,
    Rule,
    Ruleset,
    Version,
    network_of,
    ports_of,
    rate_of,
)

FAMILY = "inet"
TRIAL = "trial"  # the set; no declared name has its prefix
HELD = ".held"  # ends the name of a set that methods fill
_PRIORITY = 0
_NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}  # no file has to be there that names them
_HEADER: Mapping[int, str] = {4: "ip", 6: "ip6"}
_VERSION: Mapping[int, str] = {4: "ipv4", 6: "ipv6"}
_KEPT = ("handle", "expires", "packets", "bytes", "used")  # of what nft lists: changes by itself
Json = dict[str, Any]
Elements = Mapping[str, Sequence[tuple[str, int]]]  # set -> (address, seconds that are left)


def loading(
    table: str, comment: str, ruleset: Ruleset, *, before: Ruleset | None = None, trial_s: int = 0,
    held: Elements | None = None,
) -> bytes:  # fmt: skip
    """Return the transaction that loads a ruleset; with `trial_s` for so long, and `before` (or nothing) afterwards.

    `held` are elements that methods have put into sets, which go on.
    """
    made = [_add("table", {"family": FAMILY, "name": table}), _delete(table)]
    made.append(_add("table", {"family": FAMILY, "name": table, "comment": comment}))
    place = {"family": FAMILY, "table": table}
    parts = [("new", ruleset)] if trial_s else [("kept", ruleset)]
    parts += [("kept", before)] if before is not None and trial_s else []
    if trial_s:
        elements = [{"elem": {"val": name, "timeout": trial_s}} for name in _VERSION.values()]
        made.append(_add("set", {**place, "name": TRIAL, "type": "nf_proto", "flags": ["timeout"], "elem": elements}))
    for prefix, one in parts:
        for name, declared in one.sets.items():
            its = _sets(f"{prefix}_{name}", declared, (held or {}).get(name, ()))
            made += [_add("set", {**place, **each}) for each in its]
    for prefix, one in parts:
        for hook in (hook for hook in HOOKS if hook in one.chains):
            made += _chain(place, prefix, hook, one)
    for hook in HOOKS:
        made += _base(place, hook, [prefix for prefix, one in parts if hook in one.chains])
    return _document(made)


def removing(table: str) -> bytes:
    """Return the transaction that removes the table, if it is there."""
    return _document([_add("table", {"family": FAMILY, "name": table}), _delete(table)])


def putting(table: str, name: str, address: str, timeout_s: int) -> bytes:
    """Return the transaction that puts one address into a set, or lets its time begin anew."""
    element = {"elem": {"val": _network(network_of(address)), "timeout": timeout_s}}
    which = {"family": FAMILY, "table": table, "name": name}
    again = [_add("element", {**which, "elem": [element]}), {"delete": {"element": {**which, "elem": [element]}}}]
    return _document([*again, _add("element", {**which, "elem": [element]})])


def taking(table: str, name: str, address: str) -> bytes:
    """Return the transaction that takes one address out of a set; it need not be there."""
    which = {"family": FAMILY, "table": table, "name": name, "elem": [_network(network_of(address))]}
    return _document([_add("element", which), {"delete": {"element": which}}])


def _document(commands: Sequence[Json]) -> bytes:
    return json.dumps({"nftables": [*commands]}).encode("ascii")


def _add(kind: str, value: Json) -> Json:
    return {"add": {kind: value}}


def _delete(table: str) -> Json:
    return {"delete": {"table": {"family": FAMILY, "name": table}}}


def _sets(name: str, declared: AddressSet, held: Sequence[tuple[str, int]]) -> Iterator[Json]:
    """Give the sets of one: networks that are declared, and addresses that methods put in, which have a time.

    Two, as nft takes neighbours in a set of intervals for one element, and then does not find each again.
    """
    kind = f"{_VERSION[declared.version]}_addr"
    elements = [_network(one) for one in declared.networks()]
    made: Json = {"name": name, "type": kind, "flags": ["interval"], "auto-merge": True}
    yield {**made, **({"elem": elements} if elements else {})}
    if declared.timeout_s:
        held = held[: declared.most]
        timed = [{"elem": {"val": address, "timeout": left_s}} for address, left_s in held]
        made = {"name": f"{name}{HELD}", "type": kind, "flags": ["timeout"], "size": declared.most}
        yield {**made, **({"elem": timed} if timed else {})}


def _chain(place: Json, prefix: str, hook: str, ruleset: Ruleset) -> Iterator[Json]:
    """Give a chain of one hook: its rules, and its policy as the last one."""
    chain = ruleset.chains[hook]
    name = f"{prefix}_{hook}"
    for one in (*(rule.name for rule in chain.rules), "policy"):
        yield _add("counter", {**place, "name": f"{name}.{one}"})
    yield _add("chain", {**place, "name": name})
    for rule in chain.rules:
        for matches in _matches(rule, prefix, ruleset.sets):
            statements: list[Json] = [*matches]
            if rule.rate:
                count, unit = rate_of(rule.rate)
                statements.append({"limit": {"rate": count, "per": unit, "burst": rule.burst}})
            statements.append({"counter": f"{name}.{rule.name}"})
            if rule.log:
                statements.append({"log": {"prefix": f"{place['table']} {hook} {rule.name}: "}})
            statements += _verdict(rule.action)
            yield _add("rule", {**place, "chain": name, "comment": rule.name, "expr": statements})
    last = [{"counter": f"{name}.policy"}, *_verdict(chain.policy)]
    yield _add("rule", {**place, "chain": name, "comment": "policy", "expr": last})


def _base(place: Json, hook: str, prefixes: Sequence[str]) -> Iterator[Json]:
    """Give the chain that the kernel calls, if any part has one."""
    if not prefixes:
        return
    base = {"name": hook, "type": "filter", "hook": hook, "prio": _PRIORITY, "policy": "accept"}
    yield _add("chain", {**place, **base})
    for prefix in prefixes:
        expression: list[Json] = [{"goto": {"target": f"{prefix}_{hook}"}}]
        if prefix == "new":
            expression.insert(0, _match({"meta": {"key": "nfproto"}}, f"@{TRIAL}"))
        yield _add("rule", {**place, "chain": hook, "expr": expression})


def _matches(rule: Rule, prefix: str, sets: Mapping[str, AddressSet]) -> Iterator[list[Json]]:
    """Give what must fit, once for each version of IP and set: one expression of nft has one of them."""
    common: list[Json] = []
    for key, names in (("iifname", rule.interfaces), ("oifname", rule.out_interfaces)):
        if names:
            common.append(_match({"meta": {"key": key}}, _one_of(list(names))))
    behind: list[Json] = []
    if rule.protocol != "any":
        behind.append(_match({"meta": {"key": "l4proto"}}, _NUMBERS[rule.protocol]))
    for key, ports in (("dport", rule.ports), ("sport", rule.source_ports)):
        if ports:
            right = _one_of([_range(*ports_of(one)) for one in ports])
            behind.append(_match({"payload": {"protocol": rule.protocol, "field": key}}, right))
    if rule.states:
        behind.append(_match({"ct": {"key": "state"}}, list(rule.states), operator="in"))
    if not rule.sources and not rule.destinations:
        yield [*common, *behind]
        return
    for version in rule.versions(sets):
        sources, destinations = (
            list(_places(places, key, version, prefix, sets))
            for places, key in ((rule.sources, "saddr"), (rule.destinations, "daddr"))
        )
        for source, destination in product(sources, destinations):
            yield [*common, *source, *destination, *behind]


def _places(
    places: Sequence[str], field: str, version: Version, prefix: str, sets: Mapping[str, AddressSet]
) -> Iterator[list[Json]]:
    """Give the expressions of which one must fit: the addresses of this version together, and each set."""
    if not places:
        yield []
        return
    left = {"payload": {"protocol": _HEADER[version], "field": field}}
    networks = [network_of(one) for one in places if not one.startswith("@")]
    networks = [one for one in networks if one.version == version]
    if networks:
        yield [_match(left, _one_of([_network(one) for one in networks]))]
    for name in (one[1:] for one in places if one.startswith("@") and sets[one[1:]].version == version):
        yield [_match(left, f"@{prefix}_{name}")]
        if sets[name].timeout_s:
            yield [_match(left, f"@{prefix}_{name}{HELD}")]


def _match(left: Json, right: Any, *, operator: str = "==") -> Json:
    return {"match": {"op": operator, "left": left, "right": right}}


def _one_of(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else {"set": values}


def _range(first: int, last: int) -> Any:
    return first if first == last else {"range": [first, last]}


def _network(network: Network) -> Any:
    address = str(network.network_address)
    return address if network.num_addresses == 1 else {"prefix": {"addr": address, "len": network.prefixlen}}


def _verdict(action: str) -> list[Json]:
    if action == "count":
        return []
    if action == "reject":
        return [{"reject": {"type": "icmpx", "expr": "admin-prohibited"}}]
    return [{action: None}]


# What is loaded, as nft lists it


def fingerprint(listed: Sequence[Json]) -> str:
    """Return a SHA-256 over a table, without what changes by itself: counters, and elements with a time."""
    lines = sorted(json.dumps(_lasting(one), sort_keys=True) for one in listed if "metainfo" not in one)
    return hashlib.sha256("\n".join(_ordered(listed) + lines).encode()).hexdigest()[:32]


def _ordered(listed: Sequence[Json]) -> list[str]:
    """Return rules in their order, which means something."""
    return [json.dumps(_lasting(one), sort_keys=True) for one in listed if "rule" in one]


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _lasting(one) for key, one in value.items() if key not in _KEPT}
        if isinstance(kept.get("elem"), list):
            kept["elem"] = sorted(
                (one for one in kept["elem"] if not _has_time(one)), key=lambda one: json.dumps(one, sort_keys=True)
            )
            if not kept["elem"]:
                del kept["elem"]
        return kept
    return [_lasting(one) for one in value] if isinstance(value, list) else value


def _has_time(element: Any) -> bool:
    return isinstance(element, dict) and isinstance(element.get("elem"), dict) and "timeout" in element["elem"]


def trial_left_s(listed: Sequence[Json]) -> int | None:
    """Return how many seconds a trial has left, 0 if it is over; None if the table has none."""
    for one in listed:
        if "set" in one and one["set"].get("name") == TRIAL:
            elements = one["set"].get("elem", [])
            return max((int(each["elem"].get("expires", 0)) for each in elements if _has_time(each)), default=0)
    return None


def comment_of(listed: Sequence[Json]) -> str | None:
    """Return the comment of the table; None if it is not there."""
    return next((str(one["table"].get("comment", "")) for one in listed if "table" in one), None)


def held_of(listed: Sequence[Json], *, is_trial: bool = False) -> dict[str, list[tuple[str, int]]]:
    """Return what methods have put into sets: by the set, each address with the seconds that it has left."""
    prefix = "new_" if is_trial else "kept_"
    found: dict[str, list[tuple[str, int]]] = {}
    for one in (one["set"] for one in listed if "set" in one):
        if one["name"].startswith(prefix) and one["name"].endswith(HELD):
            timed = [each["elem"] for each in one.get("elem", []) if _has_time(each)]
            found[one["name"].removeprefix(prefix).removesuffix(HELD)] = [
                (str(each["val"]), max(1, int(each.get("expires", each["timeout"]))))
                for each in timed
                if isinstance(each["val"], str)
            ]
    return found


def counters_of(listed: Sequence[Json], *, is_trial: bool = False) -> dict[str, dict[str, int]]:
    """Return packets and bytes by `CHAIN.RULE`."""
    prefix = "new_" if is_trial else "kept_"
    return {
        one["name"].removeprefix(prefix): {"packets": int(one["packets"]), "bytes": int(one["bytes"])}
        for one in (one["counter"] for one in listed if "counter" in one)
        if one["name"].startswith(prefix)
    }
