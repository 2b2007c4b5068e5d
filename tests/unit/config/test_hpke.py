"""Our HPKE and that of `cryptography`: each opens what the other has sealed, and both refuse the same."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tlsrt.config.hpke import SUITE, OwnSuite, Suite

OWN = OwnSuite()
PAIRS = [(SUITE, OWN), (OWN, SUITE), (OWN, OWN)]


@pytest.mark.parametrize(("sealing", "opening"), PAIRS, ids=("opens theirs", "is opened by theirs", "alone"))
@pytest.mark.parametrize("plaintext", [b"", b"x", bytes(range(256)) * 40])
def test_each_opens_what_the_other_sealed(sealing: Suite, opening: Suite, plaintext: bytes) -> None:
    private = X25519PrivateKey.generate()
    sealed = sealing.encrypt(plaintext, private.public_key(), info=b"for this")
    assert len(sealed) == 32 + len(plaintext) + 16
    assert opening.decrypt(sealed, private, info=b"for this") == plaintext
    assert sealed != sealing.encrypt(plaintext, private.public_key(), info=b"for this")


@pytest.mark.parametrize("suite", [SUITE, OWN], ids=("chosen", "own"))
def test_another_key_purpose_or_byte_is_refused(suite: Suite) -> None:
    private = X25519PrivateKey.generate()
    sealed = suite.encrypt(b"secret", private.public_key(), info=b"for this")
    with pytest.raises(InvalidTag):
        suite.decrypt(sealed, X25519PrivateKey.generate(), info=b"for this")
    with pytest.raises(InvalidTag):
        suite.decrypt(sealed, private, info=b"for that")
    for place in range(len(sealed)):
        with pytest.raises((InvalidTag, ValueError)):
            suite.decrypt(sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :], private, info=b"for this")
    for length in range(len(sealed)):
        with pytest.raises((InvalidTag, ValueError)):
            suite.decrypt(sealed[:length], private, info=b"for this")


@pytest.mark.parametrize("suite", [SUITE, OWN], ids=("chosen", "own"))
def test_a_point_of_low_order_is_refused(suite: Suite) -> None:
    """With it the shared secret would be the same for everyone: RFC 7748, section 6.1."""
    low = bytes(32)
    with pytest.raises(ValueError, match=r".*"):
        suite.encrypt(b"secret", X25519PublicKey.from_public_bytes(low), info=b"")
    with pytest.raises((InvalidTag, ValueError)):
        suite.decrypt(low + bytes(40), X25519PrivateKey.generate(), info=b"")
