"""The policy on its way to the authority: the same rules, or one sentence."""

from __future__ import annotations

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.access import PolicyRule
from tlsrt.errors import ConfigError
from tlsrt.supervisor.messages.policy import pack_policy, unpack_policy


@given(st.lists(st.builds(PolicyRule, st.text(), st.text(), st.lists(st.text()).map(tuple))))
def test_what_is_packed_comes_out(rules: list[PolicyRule]) -> None:
    assert unpack_policy(pack_policy(rules)) == tuple(rules)


@pytest.mark.parametrize(
    "value", [1, [1], [["a", "b"]], [["a", "b", 1]], [["a", 1, []]], [["a", "b", [1]]], [[1, 2, 3]]]
)
def test_everything_else_is_one_sentence(value: object) -> None:
    with pytest.raises(ConfigError, match="the policy does not read"):
        unpack_policy(msgpack.packb(value))


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    try:
        unpack_policy(data)
    except ConfigError:
        return
