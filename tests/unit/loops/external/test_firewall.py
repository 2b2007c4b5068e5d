"""Firewall rules: what is refused, what a document for nft says, and what is told of a port that would be cut off."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import ConfigError
from tlsrt.loops.component.component import read_options
from tlsrt.loops.external.firewall import Firewall, _lines, _ruleset_of
from tlsrt.loops.external.firewall_door import door_sentences
from tlsrt.loops.external.firewall_rules import AddressSet, Chain, Rule, Ruleset, network_of, ports_of, rate_of
from tlsrt.loops.external.nftables_document import counters_of, fingerprint, held_of, loading, trial_left_s

WEB = Rule(name="web", action="accept", protocol="tcp", ports=(443, "8000-8010"))


def ruleset(*rules: Rule, policy: Any = "drop", hook: str = "input", **sets: AddressSet) -> Ruleset:
    made = Ruleset(sets=sets, chains={hook: Chain(policy=policy, rules=rules)})
    made.check()
    return made


def commands(document: bytes, kind: str) -> list[dict[str, Any]]:
    return [one["add"][kind] for one in json.loads(document)["nftables"] if kind in one.get("add", {})]


def options(**given: object) -> Any:
    return read_options(Firewall, "external/firewall", given, lambda where: "")


@pytest.mark.parametrize(
    "text", ["1.2.3.4; flush ruleset", "10.0.0.0/8 }", "@bad", "fe80::1%eth0", "", "300.1.1.1", "10.0.0.1/8", "any"]
)
def test_text_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no address|has a zone"):
        network_of(text)


@given(st.text(max_size=12))
def test_ports_and_rates_are_numbers_or_refused(text: str) -> None:
    try:
        first, last = ports_of(text)
        assert 0 < first <= last < 65536
    except ValueError:
        pass
    try:
        assert rate_of(text)[1] in ("second", "minute", "hour", "day")
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"name": "a; b", "action": "accept"}, "a name of small letters"),
        ({"name": "x", "action": "jump evil"}, "expected"),
        ({"name": "x", "action": "accept", "interfaces": ['lo" accept']}, "the name of an interface"),
        ({"name": "x", "action": "accept", "protocol": "tcp", "ports": ["22 accept"]}, "no port"),
        ({"name": "x", "action": "accept", "ports": [22]}, "only tcp and udp"),
        ({"name": "x", "action": "accept", "sources": ["@no"]}, "there is no set no"),
        ({"name": "x", "action": "accept", "sources": ["1.2.3.4"], "destinations": ["::1"]}, "fits no packet"),
        ({"name": "x", "action": "accept", "rate": "5/fortnight"}, "no rate"),
        ({"name": "x", "action": "accept", "out_interfaces": ["lo"]}, "remove it"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_sentence(rule: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        options(input={"rules": [rule]})
    assert "\n" not in str(caught.value)


def test_a_document_replaces_one_table_and_names_no_other() -> None:
    document = loading("tlsrt_main", "revision 1", ruleset(WEB))
    for command in json.loads(document)["nftables"]:
        ((verb, what),) = command.items()
        ((kind, value),) = what.items()
        assert verb in ("add", "delete") and value["family"] == "inet"
        assert (value["name"] if kind == "table" else value["table"]) == "tlsrt_main"
    (rule, policy), (base,) = (
        [one for one in commands(document, "rule") if (one["chain"] == "input") is is_base] for is_base in (False, True)
    )
    assert rule["expr"][-1] == {"accept": None} and policy["expr"][-1] == {"drop": None}
    assert rule["expr"][1]["match"]["right"] == {"set": [443, {"range": [8000, 8010]}]}
    assert base["expr"] == [{"goto": {"target": "kept_input"}}]


def test_on_trial_the_kernel_goes_back_to_the_rules_before() -> None:
    before = ruleset(policy="accept")
    document = loading("tlsrt_main", "x", ruleset(WEB), before=before, trial_s=60)
    new, kept = (one["expr"] for one in commands(document, "rule") if one["chain"] == "input")
    assert new == [
        {"match": {"op": "==", "left": {"meta": {"key": "nfproto"}}, "right": "@trial"}},
        {"goto": {"target": "new_input"}},
    ]
    assert kept == [{"goto": {"target": "kept_input"}}]
    (trial,) = commands(document, "set")
    assert [one["elem"]["timeout"] for one in trial["elem"]] == [60, 60]


def test_both_versions_and_sets_become_rules_of_their_own() -> None:
    rule = Rule(name="near", action="drop", sources=("10.0.0.0/8", "fd00::/8", "@bad"), states=("new",))
    document = loading("t", "x", ruleset(rule, bad=AddressSet(timeout_s=60)))
    lefts = [one["expr"][0]["match"] for one in commands(document, "rule") if one.get("comment") == "near"]
    assert [(one["left"]["payload"]["protocol"], one["right"]) for one in lefts] == [
        ("ip", {"prefix": {"addr": "10.0.0.0", "len": 8}}), ("ip", "@kept_bad"),
        ("ip", "@kept_bad.held"),
        ("ip6", {"prefix": {"addr": "fd00::", "len": 8}}),
    ]  # fmt: skip


def test_what_is_held_goes_on_with_the_time_that_is_left() -> None:
    document = loading("t", "x", ruleset(bad=AddressSet(timeout_s=60)), held={"bad": [("192.0.2.1", 7)]})
    assert commands(document, "set")[1]["elem"] == [{"elem": {"val": "192.0.2.1", "timeout": 7}}]


LISTED: list[dict[str, Any]] = [
    {"metainfo": {"version": "1.1.3"}},
    {"table": {"family": "inet", "name": "t", "handle": 2, "comment": "revision 3"}},
    {"counter": {"name": "kept_input.web", "table": "t", "handle": 4, "packets": 5, "bytes": 300}},
    {"set": {"name": "kept_bad.held", "flags": ["timeout"], "elem": [
        {"elem": {"val": "192.0.2.1", "timeout": 60, "expires": 9}}, "192.0.2.9"]}},
    {"rule": {"chain": "kept_input", "handle": 7, "expr": [{"accept": None}]}},
    {"rule": {"chain": "kept_input", "handle": 8, "expr": [{"drop": None}]}},
]  # fmt: skip


def test_a_fingerprint_is_of_what_lasts() -> None:
    changed = json.loads(json.dumps(LISTED))
    changed[2]["counter"]["packets"] = 6
    changed[3]["set"]["elem"].pop(0)
    changed[4]["rule"]["handle"] = 70
    assert fingerprint(changed) == fingerprint(LISTED)
    other = [*LISTED[:4], LISTED[5], LISTED[4]]
    assert fingerprint(other) != fingerprint(LISTED), "rules have an order"
    changed[3]["set"]["elem"].append("192.0.2.10")
    assert fingerprint(changed) != fingerprint(LISTED)


def test_what_nft_lists_is_read() -> None:
    assert held_of(LISTED) == {"bad": [("192.0.2.1", 9)]}
    assert counters_of(LISTED) == {"input.web": {"packets": 5, "bytes": 300}}
    assert trial_left_s(LISTED) is None
    over = [{"set": {"name": "trial", "type": "nf_proto"}}]
    assert trial_left_s(over) == 0


@pytest.mark.parametrize(
    ("rules", "policy", "words"),
    [
        ([], "accept", ""),
        ([], "drop", "be cut off (the policy)"),
        ([Rule(name="tls", action="accept", protocol="tcp", ports=(7443,))], "drop", ""),
        ([Rule(name="udp", action="accept", protocol="udp", ports=(7443,))], "drop", "be cut off"),
        ([Rule(name="lan", action="accept", sources=("10.0.0.0/8",))], "drop", "be open only as lan let it"),
        ([Rule(name="no", action="reject", protocol="tcp")], "accept", "be cut off (rule no)"),
        ([Rule(name="known", action="accept", states=("established",))], "drop", "be cut off"),
        ([Rule(name="seen", action="count")], "accept", ""),
    ],
)
def test_a_port_that_would_be_cut_off_is_told(rules: list[Rule], policy: Any, words: str) -> None:
    found = door_sentences(ruleset(*rules, policy=policy), [7443])
    assert [words in one for one in found] == [True] * bool(words)


def test_answers_need_a_rule_of_output() -> None:
    assert "answers from" in door_sentences(ruleset(policy="drop", hook="output"), [7443])[0]
    known = Rule(name="known", action="accept", states=("established",))
    assert not door_sentences(ruleset(known, policy="drop", hook="output"), [7443])


def test_rules_come_back_as_they_were_written_down() -> None:

    made = ruleset(WEB, bad=AddressSet(timeout_s=60, elements=("192.0.2.1",)))
    assert _ruleset_of(json.loads(json.dumps(dataclasses.asdict(made)))) == made
    assert _lines(made) == [
        "set bad: elements 192.0.2.1, timeout_s 60", "input web: accept, protocol tcp, ports 443 8000-8010",
        "input policy: drop",
    ]  # fmt: skip
