"""The registry of enrolled clients and the lines of --allow: pure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.access import PolicyRule
from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority.model.client_registry import (
    Certified,
    Enrolled,
    Registry,
    checked_rules,
    decode_registry,
    encode_registry,
    in_use,
    with_certificate,
)
from tlsrt.supervisor.authority.sessions.policy import Rulebook
from tlsrt.supervisor.cli.clients import parse_allow

FIRST, SECOND, THIRD = (Certified(bytes([n]) * 32, f"{n}", 1_000 * n) for n in (1, 2, 3))
PHONE = Enrolled("phone", (("secondary/store", ("get",)),), False, 60_000, 5, (FIRST,))
STORE, IO = "secondary/store", "third/io"


def test_a_client_is_known_by_its_certificates_until_it_is_revoked() -> None:
    registry = Registry({}, ["admin"])
    registry.put(PHONE)
    assert registry.name_of(FIRST.fingerprint) == "phone" and registry.name_of(SECOND.fingerprint) is None
    registry.put(with_certificate(PHONE, SECOND))
    assert registry.name_of(FIRST.fingerprint) == registry.name_of(SECOND.fingerprint) == "phone"
    registry.put(replace(PHONE, revoked=9))
    assert registry.name_of(FIRST.fingerprint) is registry.name_of(SECOND.fingerprint) is None
    assert registry.policy_of("client/phone") == () and registry.get("phone") is not None
    registry.put(replace(PHONE, certificates=(THIRD,)))  # enrolled again: what was revoked stays so
    assert registry.name_of(THIRD.fingerprint) == "phone" and registry.name_of(FIRST.fingerprint) is None


def test_the_configuration_wins_where_both_have_a_name() -> None:
    """Otherwise an enrolled certificate would get the rights of the listed client."""
    registry = Registry({"phone": PHONE}, ["phone"])
    assert registry.name_of(FIRST.fingerprint) is None and registry.living("client/phone") is None
    assert registry.policy_of("client/phone") == () and registry.shadowed() == ["phone"]


def test_a_new_certificate_ends_the_one_before_it_when_it_is_used() -> None:
    both = with_certificate(PHONE, SECOND)
    assert both.certificates == (FIRST, SECOND)
    assert with_certificate(both, THIRD).certificates == (FIRST, THIRD), "one that was never used goes"
    assert in_use(both, FIRST.fingerprint) is both
    assert in_use(both, SECOND.fingerprint).certificates == (SECOND,)
    assert in_use(both, THIRD.fingerprint) is both


def test_rights_of_an_enrolled_client_follow_the_registry() -> None:
    registry = Registry({}, [])
    lines = (PolicyRule("client/*", IO, ("show",)), PolicyRule("client/admin", STORE, ("*",)))
    book = Rulebook(lines, [STORE, IO], ["client/admin"], registry.policy_of)
    assert book.get("client/phone", {}) == {}
    registry.put(PHONE)
    assert book.get("client/phone", {}) == {STORE: ("describe", "get"), IO: ("describe", "show")}
    registry.put(replace(PHONE, rules=((STORE, ("put",)),)))
    assert book.get("client/phone", {})[STORE] == ("describe", "put")
    registry.put(replace(PHONE, revoked=1))
    assert book.get("client/phone", {}) == {}
    assert book.get("client/admin", {})[STORE] == ("*",)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("secondary/store: [get, put]", (STORE, ("get", "put"))),
        ("secondary/store:[get]", (STORE, ("get",))),
        ("secondary/store: get", (STORE, ("get",))),
        ("secondary/store: '*'", (STORE, ("*",))),
        ('third/*: ["show", text,]', ("third/*", ("show", "text"))),
        ("*/*: *", ("*/*", ("*",))),
    ],
)
def test_a_line_is_read_as_in_the_policy(text: str, rule: tuple[str, tuple[str, ...]]) -> None:
    assert parse_allow(text) == rule


@pytest.mark.parametrize(
    "text",
    ["", "secondary/store", "secondary: get", "a/b: []", "a/b: [get put]", "a/b: g-t", "a/b: [x], c/d: [y]", "A/b: x"],
)
def test_what_is_no_line_is_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="is no rule: write"):
        parse_allow(text)


@given(st.text(max_size=60))
def test_any_text_is_a_rule_that_the_authority_takes_or_one_error(text: str) -> None:
    try:
        target, methods = parse_allow(text)
    except ConfigError:
        return
    assert target and methods
    owner, _, name = target.partition("/")
    there = f"{owner.replace('*', 'third')}/{name.replace('*', 'io')}"
    assert checked_rules([[target, list(methods)]], [there])[0][0] == target


def test_rules_of_one_target_add_up_and_unknown_targets_are_refused() -> None:
    rules = [[STORE, ["get"]], [IO, ["*", "show"]], [STORE, ["put"]]]
    assert checked_rules(rules, [STORE, IO]) == ((STORE, ("get", "put")), (IO, ("*",)))
    for bad in ([["secondary/shop", ["get"]]], [], [[STORE, []]], [[STORE, ["g-t"]]], [[STORE]], "x", [[1, ["get"]]]):
        with pytest.raises(ConfigError):
            checked_rules(bad, [STORE, IO])


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,30}", fullmatch=True)
CERTIFICATES = st.builds(Certified, st.binary(min_size=32, max_size=32), st.text(max_size=8), st.integers(0, 1 << 50))
RULES = st.lists(
    st.tuples(st.sampled_from([STORE, "third/*", "*/*"]), st.lists(NAMES, min_size=1, max_size=3).map(tuple)),
    max_size=3,
)
CLIENTS = st.builds(
    Enrolled, NAMES, RULES.map(tuple), st.booleans(), st.integers(0, 1 << 40), st.integers(0, 1 << 50),
    st.lists(CERTIFICATES, max_size=2).map(tuple), st.integers(0, 1 << 50),
)  # fmt: skip
MSGPACK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=12,
)


@given(st.lists(CLIENTS, max_size=4, unique_by=lambda client: client.name))
def test_the_registry_survives_its_encoding(clients: list[Enrolled]) -> None:
    known = {client.name: client for client in clients}
    assert decode_registry(encode_registry(known)) == known


@given(st.lists(MSGPACK, max_size=3))
def test_whatever_lies_in_the_state_is_read_or_refused(items: list[object]) -> None:
    try:
        decode_registry(items)
    except ConfigError:
        return
    assert not items
