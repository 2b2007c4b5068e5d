"""The keys of one session, by epoch, as the authority says them. Pure.

Keys of several epochs are kept while a change is under way, and `commit` says which one seals. A capability is a key:
without it there is no talk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.config import key_schedule
from tlsrt.errors import PeerError

REMOTE_SESSIONS_MAX = 4096


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
    """The right to talk to one recipient: a key. Without it there is no talk."""

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


class SessionKeys:
    """What one session of one subject holds, and what was derived from it."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.session = b""
        self.session_ends = 0
        self.epoch = 0
        self.on_new_mailbox: Callable[[str], None] = lambda target: None
        self.on_new_session: Callable[[], None] = lambda: None  # the one before has ended, and its calls with it
        self.before_seal: Callable[[], None] = lambda: None  # see Outbox
        self.on_denied: Callable[[str], None] = lambda target: None  # a target that we have no right to
        self.on_change: Callable[[], None] = lambda: None  # keys, rights or incarnations are others now
        self._seq = 0
        self._epochs: dict[int, EpochKeys] = {}
        self._retiring: dict[int, int] = {}
        self._request_keys: dict[tuple[bytes, int], tuple[AESGCM, AESGCM]] = {}
        self._reply_keys: dict[tuple[str, bytes, int, int], AESGCM] = {}
        # What the session before could reach: those rights are on their way.
        self._expected: frozenset[str] = frozenset()
        self.heard: dict[bytes, tuple[int, int]] = {}  # session: its highest number, and how long it may speak (ms)

    def apply_session(
        self, epoch: int, session: bytes, mailbox: int, mailbox_root: bytes, gate: int, proof_key: bytes,
        token: bytes, token_expires: int, session_ends: int,
    ) -> None:  # fmt: skip
        """Take the keys and the token of an epoch; a new session id starts a new counter."""
        if session != self.session:
            self.before_seal()  # numbers that were taken belong to the keys of the session that ends
            self.on_new_session()
            self.session = session
            self._seq = 0
            self._expected |= {target for held in self._epochs.values() for target in held.rights}
            self._epochs.clear()
            self._request_keys.clear()
            self._reply_keys.clear()
        self.session_ends = session_ends
        known = self._epochs.get(epoch)
        self._epochs[epoch] = EpochKeys(
            token, token_expires, gate, AESGCM(proof_key), mailbox, mailbox_root, known.rights if known else {}
        )
        self.epoch = self.epoch if self.epoch in self._epochs else epoch
        self.on_change()

    def apply_right(self, epoch: int, target: str, mailbox: int, key: bytes, methods: Sequence[str]) -> None:
        """Take one capability; tell who waits for the recipient if it is another incarnation than before."""
        held = self._epochs.get(epoch)
        if held is None:
            raise PeerError("right_without_session")
        before = held.rights.get(target)
        # Without a mailbox there is no key. Nothing is sealed then; if it were, nobody could read it.
        seal = AESGCM(key if mailbox else os.urandom(len(key)))
        held.rights[target] = Capability(mailbox, key, tuple(methods), seal)
        self.on_change()
        if before is not None and before.mailbox != mailbox:
            self.on_new_mailbox(target)

    def apply_grant(self, grant: GrantLike, now: int = 0) -> None:
        """Take a whole grant, as external clients get it: it also commits its epoch."""
        self.subject = grant.subject
        self.apply_session(
            grant.epoch, grant.session, 0, b"", grant.gate, grant.proof_key, grant.token, grant.token_expires,
            grant.session_ends,
        )  # fmt: skip
        held = self._epochs[grant.epoch].rights
        for target in held.keys() - {right.target for right in grant.rights}:
            del held[target]
        self.on_change()
        for right in grant.rights:
            self.apply_right(grant.epoch, right.target, right.mailbox, right.key, right.methods)
        self.commit(grant.epoch, grant.grace_ms, now)

    def commit(self, epoch: int, grace_ms: int, now: int) -> None:
        """Seal with this epoch from now on; accept the others for the grace only.

        Without keys for it (a revoked session gets none) nothing can be sealed any more.
        """
        self.epoch = epoch
        self._expected = frozenset()  # all rights came before
        for other in self._epochs:
            if other < epoch:
                until = now + grace_ms
                self._retiring[other] = min(until, self._retiring.get(other, until))

    def retire(self, now: int) -> None:
        """Forget the keys of epochs whose grace is over, and sessions that can no longer speak."""
        for epoch in [epoch for epoch, until in self._retiring.items() if now >= until]:
            del self._retiring[epoch]
            self._epochs.pop(epoch, None)
            self._request_keys = {key: value for key, value in self._request_keys.items() if key[1] != epoch}
            self._reply_keys = {key: value for key, value in self._reply_keys.items() if key[2] != epoch}
            self.on_change()
        if len(self.heard) > 64:
            self.heard = {session: heard for session, heard in self.heard.items() if heard[1] > now}

    @property
    def gate(self) -> int:
        """The incarnation of the gate that we hold proof keys for; 0 before the first."""
        held = self._epochs.get(self.epoch)
        return held.gate if held else 0

    @property
    def rights(self) -> dict[str, tuple[str, ...]]:
        """What this session may call, of all that runs now: target -> methods."""
        held = self._epochs.get(self.epoch)
        return {target: right.methods for target, right in held.rights.items() if right.mailbox} if held else {}

    def _keys_with(self, session: bytes, epoch: int, held: EpochKeys) -> tuple[AESGCM, AESGCM]:
        """Return the request key of a session to us, and the reply key of ours to it."""
        pair = self._request_keys.get((session, epoch))
        if pair is None:
            if len(self._request_keys) >= REMOTE_SESSIONS_MAX:
                self._request_keys.clear()  # derived again at need
            request = key_schedule.request_key(held.mailbox_root, session)
            pair = (AESGCM(request), AESGCM(key_schedule.reply_key(request, self.session)))
            self._request_keys[session, epoch] = pair
        return pair
