"""What a session holds for one epoch: token, proof key, mailbox, capabilities, and keys that these give. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.config import key_schedule

if TYPE_CHECKING:
    from tlsrt.channels.session.frame_template import FrameTemplate

KeyPair = tuple[AESGCM, AESGCM]  # of one other session: the request key to us, and the reply key of ours to it
ReplyIndex = tuple[str, bytes, int]  # who replies, in which session, and to which mailbox the request went
DERIVED_KEYS_MAX = 4096  # of one epoch and kind, then all are derived again at need


class RightLike(Protocol):
    """What a grant says about one recipient."""

    @property
    def target(self) -> str: ...
    @property
    def mailbox(self) -> int: ...
    @property
    def key(self) -> bytes: ...
    @property
    def methods(self) -> tuple[str, ...]: ...


class GrantLike(Protocol):
    """What a grant says; see `tlsrt.channels.session.grant`."""

    @property
    def epoch(self) -> int: ...
    @property
    def grace_ms(self) -> int: ...
    @property
    def session(self) -> bytes: ...
    @property
    def subject(self) -> str: ...
    @property
    def token(self) -> bytes: ...
    @property
    def token_expires(self) -> int: ...
    @property
    def session_ends(self) -> int: ...
    @property
    def gate(self) -> int: ...
    @property
    def proof_key(self) -> bytes: ...
    @property
    def rights(self) -> Sequence[RightLike]: ...


@dataclass(slots=True)
class Capability:
    """The right to call one recipient: a key, without which nothing can be sealed for it."""

    mailbox: int  # 0: the recipient does not run now, and the key is none
    key: bytes = field(repr=False)
    methods: tuple[str, ...]
    seal: AESGCM = field(repr=False)


@dataclass(slots=True)
class EpochKeys:
    """Everything a session holds for one epoch."""

    token: bytes = field(repr=False)
    token_expires: int
    gate: int
    proof: AESGCM = field(repr=False)
    mailbox: int = 0
    mailbox_root: bytes = field(default=b"", repr=False)
    rights: dict[str, Capability] = field(default_factory=dict[str, Capability])
    templates: dict[tuple[object, ...], FrameTemplate] = field(default_factory=dict, repr=False)  # of what it seals
    pairs: dict[bytes, KeyPair] = field(default_factory=dict[bytes, KeyPair], repr=False)
    reply_keys: dict[ReplyIndex, AESGCM] = field(default_factory=dict[ReplyIndex, AESGCM], repr=False)

    def take_over(self, before: EpochKeys) -> None:
        """Have the capabilities and derived keys of those that these are instead of, in the same session."""
        self.rights, self.pairs, self.reply_keys = before.rights, before.pairs, before.reply_keys

    def derive_pair(self, session: bytes, own: bytes) -> KeyPair:
        """Derive the keys with another session, and keep them; `own` is the session that holds these keys."""
        if len(self.pairs) >= DERIVED_KEYS_MAX:
            self.pairs.clear()
        request = key_schedule.request_key(self.mailbox_root, session)
        pair = self.pairs[session] = AESGCM(request), AESGCM(key_schedule.reply_key(request, own))
        return pair

    def derive_reply_key(self, index: ReplyIndex, request: bytes) -> AESGCM:
        """Derive the key of what a replier's session seals to us from our request key to it, and keep it."""
        if len(self.reply_keys) >= DERIVED_KEYS_MAX:
            self.reply_keys.clear()
        key = self.reply_keys[index] = AESGCM(key_schedule.reply_key(request, index[1]))
        return key

    def forget(self, sessions: Collection[bytes]) -> None:
        """Forget the keys with sessions that have ended."""
        for session in sessions:
            self.pairs.pop(session, None)
        self.templates.clear()  # some have keys of these; the others are made again at need
