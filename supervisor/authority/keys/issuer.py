"""The issuer: signs tokens and grants with the Ed25519 key that only the authority holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsrt.channels.session.token import NONCE_BYTES, Claims, mint_token
from tlsrt.config import key_schedule
from tlsrt.supervisor.authority.sessions.manager import Session

ISSUER = "authority"


class Issuer:
    """Mints tokens for one install and boot. `seed` is keys.issuer_seed."""

    def __init__(
        self, seed: bytes, key_version: int, install: bytes, boot: bytes, randomness: Callable[[int], bytes]
    ) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._join = key_schedule.join_key(seed)
        self._randomness = randomness
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_version = key_version
        self.install = install
        self.boot = boot

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`, which the caller has put a domain in front of."""
        return self._key.sign(data)

    def join_secret(self, code_id: bytes) -> bytes:
        """Return the secret of a join code, to print it or to compare."""
        return key_schedule.join_secret(self._join, code_id)

    def token(self, session: Session, epoch: int, token_key: bytes, rights: Mapping[str, tuple[str, ...]]) -> bytes:
        """Return the token for a session's present lease in an epoch, minted once.

        Raises MisuseError when the caps do not fit a token.
        """
        token = session.tokens.get(epoch)
        if token is None:
            claims = Claims(
                token_id=session.token_id,
                issuer=ISSUER,
                subject=session.subject,
                install=self.install,
                session=session.session_id,
                boot=self.boot,
                epoch=epoch,
                issued=session.issued,
                not_before=session.issued,
                expires=session.expires,
                confirmation=session.confirmation,
                caps=tuple(rights.items()),
            )
            token = mint_token(claims, self.sign, token_key, self._randomness(NONCE_BYTES), self.key_version)
            session.tokens[epoch] = token
        return token

    def __repr__(self) -> str:
        return f"Issuer(key_version={self.key_version})"
