"""A join code on its way to the command that asks for it: sealed by HPKE (RFC 9180), so that the supervisor reads none.

The command makes a key for each question. Neither its private half nor the code is ever in the supervisor's memory,
where a freed piece of a message can lie for hours and is seen by every process that is forked from it.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from tlsrt.config import hpke
from tlsrt.errors import ConfigError

KEY_BYTES = 32
_DOMAIN = b"tlsrt join code\0"


def seal_code(text: str, client: str, public: bytes) -> bytes:
    """Return the join code of a client, for the holder of a raw X25519 key. Raises ConfigError if it is none."""
    try:
        return hpke.SUITE.encrypt(text.encode(), X25519PublicKey.from_public_bytes(public), info=_info(client))
    except ValueError:
        raise ConfigError("cannot seal the join code: the key of the command is no X25519 key") from None


def open_code(sealed: bytes, client: str, private: X25519PrivateKey) -> str:
    """Return the join code of a client. Raises ConfigError for what was sealed to another key."""
    try:
        return hpke.SUITE.decrypt(sealed, private, info=_info(client)).decode()
    except (InvalidTag, ValueError):
        raise ConfigError("cannot open the join code: it was sealed for another command; ask for it again") from None


def _info(client: str) -> bytes:
    return _DOMAIN + client.encode()
