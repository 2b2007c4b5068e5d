"""What a reload changes on its way to the authority: the same rules, or one sentence."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.access import PolicyRule
from tlsrt.errors import ConfigError
from tlsrt.supervisor.messages.changed_rules import ChangedRules, pack_rules, unpack_rules

RULES = st.lists(st.builds(PolicyRule, st.text(), st.text(), st.lists(st.text()).map(tuple))).map(tuple)
PROCESSES = st.lists(st.tuples(st.text(), st.lists(st.text()).map(tuple))).map(tuple)


@given(st.builds(ChangedRules, RULES, PROCESSES, st.lists(st.text()).map(tuple)))
def test_what_is_packed_comes_out(rules: ChangedRules) -> None:
    assert unpack_rules(pack_rules(rules)) == rules


@pytest.mark.parametrize(
    "policy", [1, [1], [["a", "b"]], [["a", "b", 1]], [["a", 1, []]], [["a", "b", [1]]], [[1, 2, 3]]]
)
def test_everything_else_is_one_sentence(policy: object) -> None:
    unfit: tuple[list[object], ...] = ([[], [["third", [1]]], []], [[], [["third"]], []], [[], []], [[], [], [1]])
    for value in (policy, [policy, [], []], [[], policy, []], *unfit):
        with pytest.raises(ConfigError, match="the new policy does not read"):
            unpack_rules(msgpack.packb(value))


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    try:
        unpack_rules(data)
    except ConfigError:
        return


LINE = PolicyRule("client/admin", "third/io", ("notify", "said"))
BEFORE = ChangedRules((LINE,), (("third", ("third/io",)),))


@pytest.mark.parametrize(
    ("policy", "processes", "includes"),
    [
        ([LINE], {"third": ["third/io"]}, True),
        ([LINE, PolicyRule("client/admin", "third/new", ("*",))], {"third": ["third/io"], "n": ["third/new"]}, True),
        ([PolicyRule("client/admin", "third/io", ("notify", "said", "more"))], {"third": ["third/io"]}, True),
        ([PolicyRule("client/admin", "third/io", ("notify",))], {"third": ["third/io"]}, False),
        ([PolicyRule("client/other", "third/io", ("notify", "said"))], {"third": ["third/io"]}, False),
        ([], {"third": ["third/io"]}, False),
        ([LINE], {"third.io": ["third/io"]}, False),
        ([LINE], {"third": []}, False),
    ],
)
def test_only_what_takes_nothing_from_anybody_includes_the_rules_before(
    policy: list[PolicyRule], processes: dict[str, list[str]], includes: bool
) -> None:
    rules = ChangedRules(tuple(policy), tuple((name, tuple(mine)) for name, mine in processes.items()))
    assert rules.include(BEFORE) is includes
