from __future__ import annotations

from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.issuer_chain import (
    CHAIN_MAX,
    STATEMENT_BYTES,
    Chain,
    PinnedIssuer,
    encode_chain,
    follow_untrusted,
    lengthen,
    parse_chain_untrusted,
    state_successor,
)
from tlsrt.errors import MisuseError, PeerError

INSTALL = b"i" * 16
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(40)]


def pin(version: int) -> PinnedIssuer:
    return PinnedIssuer(version, KEYS[version].public_key().public_bytes_raw())


def chain_of(first: int, last: int, install: bytes = INSTALL) -> Chain:
    chain: Chain = ()
    for old in range(first, last):
        chain = lengthen(chain, state_successor(install, old, pin(old + 1), KEYS[old].sign))
    return chain


@pytest.mark.parametrize("held", [1, 2, 3, 4])
def test_whoever_pins_a_key_of_the_chain_follows_from_there_to_its_end(held: int) -> None:
    assert follow_untrusted(INSTALL, pin(held), chain_of(1, 4)) == pin(4)


def test_what_does_not_join_the_pin_says_nothing() -> None:
    assert follow_untrusted(INSTALL, pin(4), chain_of(1, 3)) == pin(4)  # an old one leads nobody back
    assert follow_untrusted(INSTALL, pin(1), chain_of(2, 4)) == pin(1)  # a gap
    assert follow_untrusted(INSTALL, pin(1), ()) == pin(1)


def test_a_statement_that_another_key_signed_is_refused() -> None:
    forged = state_successor(INSTALL, 1, pin(2), KEYS[9].sign)
    with pytest.raises(PeerError, match="succession_signature"):
        follow_untrusted(INSTALL, pin(1), (forged,))
    with pytest.raises(PeerError, match="succession_signature"):  # the new key cannot vouch for itself
        follow_untrusted(INSTALL, pin(1), (state_successor(INSTALL, 1, pin(2), KEYS[2].sign),))
    with pytest.raises(PeerError, match="succession_signature"):
        follow_untrusted(INSTALL, pin(1), chain_of(1, 2, install=b"j" * 16))
    good, bad = chain_of(1, 2)[0], state_successor(INSTALL, 2, pin(3), KEYS[1].sign)
    with pytest.raises(PeerError, match="succession_signature"):
        follow_untrusted(INSTALL, pin(1), (good, bad))


def test_every_flipped_bit_of_a_statement_is_refused_or_says_nothing() -> None:
    data = bytearray(encode_chain(chain_of(1, 2)))
    for position in range(8 * len(data)):
        data[position // 8] ^= 1 << position % 8
        found = pin(1)
        with suppress(PeerError):
            found = follow_untrusted(INSTALL, pin(1), parse_chain_untrusted(bytes(data)))
        assert found == pin(1)
        data[position // 8] ^= 1 << position % 8


def test_a_chain_travels_and_has_one_bound() -> None:
    chain = chain_of(1, 30)
    assert len(chain) == CHAIN_MAX
    assert chain[-1].new == pin(30)
    assert parse_chain_untrusted(encode_chain(chain)) == chain
    assert parse_chain_untrusted(b"") == ()


@pytest.mark.parametrize(
    "data",
    [
        bytes(STATEMENT_BYTES),  # version 0
        encode_chain(chain_of(1, 2))[:-1],
        encode_chain([*chain_of(1, 18), *chain_of(18, 19)])[-17 * STATEMENT_BYTES :],
        encode_chain([*chain_of(1, 2), *chain_of(3, 4)]),
        encode_chain([*chain_of(2, 3), *chain_of(1, 2)]),
        encode_chain([*chain_of(1, 2), *chain_of(1, 2)]),
    ],
    ids=["version 0", "cut", "17 statements", "gap", "order", "twice"],
)
def test_what_is_no_chain_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError, match="bad_succession"):
        parse_chain_untrusted(data)


@given(st.binary(max_size=4 * STATEMENT_BYTES) | st.just(b"\0\0\0\1\0\0\0\2" + bytes(96)))
def test_any_bytes_are_a_chain_or_the_one_error(data: bytes) -> None:
    try:
        chain = parse_chain_untrusted(data)
    except PeerError:
        return
    assert encode_chain(chain) == data


def test_a_successor_is_the_next_version() -> None:
    for old, new in ((1, 3), (1, 1), (0, 1)):
        with pytest.raises(MisuseError):
            state_successor(INSTALL, old, pin(new), KEYS[1].sign)
