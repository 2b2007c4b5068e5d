"""What an attacker in the process takes down: every key, token and frame that passes through its memory.

AESGCM objects hide their keys, and what was applied is soon dropped; so the functions that take keys are wrapped.
`install` is called when the attacker's module is imported: that is before the loop has any key.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from tlsrt.channels.links.channel import LinkChannel, PrimaryChannel
from tlsrt.channels.session import endpoint, keys, token
from tlsrt.channels.session.verifier import Verifier
from tlsrt.loops.gate import gate
from tlsrt.loops.primary.router import Router
from tlsrt.loops.runtime.process import LoopProcess

FRAMES_MAX = 2048

sessions: dict[str, list[dict[str, Any]]] = {}  # by subject, oldest first
rights: dict[str, dict[str, dict[str, Any]]] = {}  # by subject and target
token_keys: dict[int, bytes] = {}
gate_roots: dict[int, bytes] = {}
host: dict[str, bytes] = {}  # install, boot, issuer
aes_keys: dict[bytes, None] = {}  # every AES key that was used here
heard: deque[bytes] = deque(maxlen=FRAMES_MAX)  # frames from the gate
said: deque[bytes] = deque(maxlen=FRAMES_MAX)  # frames of ours
carried: deque[tuple[str, int, bytes]] = deque(maxlen=FRAMES_MAX)  # Primary: all frames, and where they came from


def install() -> None:
    """Wrap everything that takes keys or frames."""
    endpoint.Endpoint.apply_session = _session(endpoint.Endpoint.apply_session)  # type: ignore[method-assign]
    endpoint.Endpoint.apply_right = _right(endpoint.Endpoint.apply_right)  # type: ignore[method-assign]
    Verifier.welcome = _welcome(Verifier.welcome)  # type: ignore[method-assign]
    Verifier.add_epoch = _epoch(Verifier.add_epoch)  # type: ignore[method-assign]
    gate.Gate.set_root = _root(gate.Gate.set_root)  # type: ignore[method-assign]
    Router.forward = _forward(Router.forward)  # type: ignore[method-assign]
    LoopProcess.take = _frames(LoopProcess.take, heard)  # type: ignore[method-assign]
    for channel in (LinkChannel, PrimaryChannel):
        channel.send = _frames(channel.send, said)  # type: ignore[method-assign]
    for module in (endpoint, keys, token, gate):
        module.AESGCM = _aes(module.AESGCM)  # type: ignore[attr-defined]


def _session(real: Any) -> Any:
    names = ("session", "mailbox", "mailbox_root", "gate", "proof_key", "token", "token_expires", "session_ends")

    def apply_session(self: Any, epoch: int, *fields: Any) -> None:
        sessions.setdefault(self.subject, []).append({"epoch": epoch, **dict(zip(names, fields, strict=True))})
        real(self, epoch, *fields)

    return apply_session


def _right(real: Any) -> Any:
    def apply_right(self: Any, epoch: int, target: str, mailbox: int, key: bytes, methods: Any) -> None:
        entry = {"epoch": epoch, "mailbox": mailbox, "key": key, "methods": list(methods)}
        rights.setdefault(self.subject, {})[target] = entry
        real(self, epoch, target, mailbox, key, methods)

    return apply_right


def _welcome(real: Any) -> Any:
    def welcome(self: Any, install: bytes, boot: bytes, issuer: bytes, key_version: int) -> None:
        host.update(install=install, boot=boot, issuer=issuer)
        real(self, install, boot, issuer, key_version)

    return welcome


def _epoch(real: Any) -> Any:
    def add_epoch(self: Any, epoch: int, token_key: bytes, *version: int) -> None:
        token_keys[epoch] = token_key
        real(self, epoch, token_key, *version)

    return add_epoch


def _root(real: Any) -> Any:
    def set_root(self: Any, epoch: int, incarnation: int, root: bytes) -> None:
        gate_roots[epoch] = root
        real(self, epoch, incarnation, root)

    return set_root


def _forward(real: Any) -> Any:
    def forward(self: Any, data: bytes, origin: Any) -> None:
        carried.append((origin.loop, origin.connection, data))
        real(self, data, origin)

    return forward


def _frames(real: Any, record: deque[bytes]) -> Any:
    def pass_on(self: Any, data: bytes) -> None:
        record.append(data)
        real(self, data)

    return pass_on


def _aes(real: Any) -> Any:
    def make(key: bytes) -> Any:
        aes_keys[bytes(key)] = None
        return real(key)

    return make
