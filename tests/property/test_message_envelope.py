"""Any content that a host has signed is a message of it, or is refused with the one error."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.message import _LABEL, BadEnvelopeError, Envelope, opened_untrusted, signed

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
GOOD = ["0" * 32, "message", "client/a@attic", "client/b", "t", "text/plain", "x", 1, 2, 4, "", [], 1, ""]
_odd = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(), st.text(), st.binary(),
    st.lists(st.lists(st.one_of(st.text(), st.integers(0, 9)))), st.dictionaries(st.text(), st.text()),
)  # fmt: skip


def opened(content: bytes, signature: bytes | None = None) -> Envelope | None:
    try:
        return opened_untrusted(content, signature or KEY.sign(_LABEL + content), KEY.public_key(), "attic")
    except BadEnvelopeError:
        return None


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_a_message(content: bytes) -> None:
    opened(content)


@given(st.integers(0, len(GOOD) - 1), _odd)
def test_any_value_of_a_field_is_refused_or_kept_as_it_is(at: int, value: Any) -> None:
    fields = [*GOOD]
    fields[at] = value
    found = opened(msgpack.packb(fields))
    if found is not None:
        assert found.sender.endswith("@attic")
        assert signed(found, KEY)[0] == msgpack.packb(fields)


@given(st.binary(min_size=64, max_size=64))
def test_no_other_signature_is_taken(signature: bytes) -> None:
    assert opened(msgpack.packb(GOOD)) is not None
    assert opened(msgpack.packb(GOOD), signature) is None


def test_a_signature_of_another_length_is_refused() -> None:
    for length in (0, 1, 63, 65):
        with pytest.raises(BadEnvelopeError):
            opened_untrusted(msgpack.packb(GOOD), bytes(length), KEY.public_key(), "attic")
