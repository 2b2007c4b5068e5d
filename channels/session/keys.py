"""What a session holds for one epoch: token, proof key, mailbox, capabilities. Data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from tlsrt.channels.session.frame_template import FrameTemplate


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
