"""What a loop does with the authority's words. Pure: messages in, state of verifier, endpoints and gate changed.

All of them are upserts; saying them again changes nothing. Primary's extra messages go to its `Monitor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.verifier import Verifier
from tlsrt.errors import PeerError

_KEYS = frozenset({"welcome", "epoch", "session", "rights", "prepare", "commit"})


class Monitor(Protocol):
    """What Primary adds: the gate and the door."""

    def set_root(self, epoch: int, incarnation: int, root: bytes) -> None: ...
    def drop_epoch(self, epoch: int) -> None: ...
    def on_message(self, name: str, fields: list[Any], descriptors: list[int]) -> None: ...


class AuthorityClient:
    """Applies trust messages. `committed` is the epoch that seals; 0 until the loop has its first keys."""

    def __init__(self, verifier: Verifier, endpoints: Mapping[str, Endpoint], monitor: Monitor | None) -> None:
        self._verifier = verifier
        self._endpoints = endpoints
        self._monitor = monitor
        self.gate = 0
        self.committed = 0
        self.prepared = 0  # epoch to acknowledge; the shell sends it
        self.retiring: list[tuple[int, int]] = []  # (epoch, when), for the shell's timer
        self.is_locked = False  # for ever: a process that serves a locked door takes no keys
        self.stale_before = 0  # an epoch that left no grace to those below it: the shell ends their calls

    def on_message(self, name: str, fields: list[Any], descriptors: list[int], now: int) -> None:
        """Apply one message; raise PeerError if it contradicts what was said before."""
        if self.is_locked and name in _KEYS:
            raise PeerError("keys_while_locked")
        if name == "welcome":
            self._verifier.welcome(*fields)
        elif name == "epoch":
            self._epoch(*fields)
        elif name == "session":
            epoch, component, *rest = fields
            self._endpoint(component).apply_session(epoch, *rest)
        elif name == "rights":
            self._rights(*fields)
        elif name == "prepare":
            self.prepared = fields[0]
        elif name == "commit":
            self._commit(fields[0], fields[1], now)
        elif name == "revoked":
            number, kind, value = fields
            self._verifier.revoke(number, kind, value, now)
        elif name == "restored":
            self._verifier.restore(*fields)
        elif name == "snapshot":
            serial, page, pages, number, when, entries = fields
            self._verifier.snapshot(serial, page, pages, number, when, entries, now)
        elif name == "feed":
            number, _, when = fields
            self._verifier.feed(number, when, now)
        elif self._monitor is not None:
            self._monitor.on_message(name, fields, descriptors)
        else:
            raise PeerError("not_for_this_loop")

    def _endpoint(self, component: str) -> Endpoint:
        endpoint = self._endpoints.get(component)
        if endpoint is None:
            raise PeerError("unknown_component")
        return endpoint

    def _epoch(self, epoch: int, token_key: bytes, gate: int, root: bytes, key_version: int) -> None:
        self._verifier.add_epoch(epoch, token_key, key_version)
        self.gate = gate
        if self._monitor is not None and root:
            self._monitor.set_root(epoch, gate, root)

    def _rights(self, epoch: int, component: str, entries: list[Any]) -> None:
        endpoint = self._endpoint(component)
        for entry in entries:
            if not (isinstance(entry, list) and tuple(map(type, entry)) == (str, int, bytes, list)):
                raise PeerError("bad_right")
            endpoint.apply_right(epoch, *entry)

    def _commit(self, epoch: int, grace_ms: int, now: int) -> None:
        for endpoint in self._endpoints.values():
            endpoint.commit(epoch, grace_ms, now)
        self.committed = epoch
        for other in sorted(self._verifier.epochs):
            if other < epoch:
                self.retiring.append((other, now + grace_ms))
        if grace_ms == 0:
            self.stale_before = epoch
            self.retire(now)

    def retire(self, now: int) -> None:
        """Forget epochs whose grace is over."""
        for epoch, when in list(self.retiring):
            if when <= now:
                self.retiring.remove((epoch, when))
                self._verifier.drop_epoch(epoch)
                if self._monitor is not None:
                    self._monitor.drop_epoch(epoch)
        for endpoint in self._endpoints.values():
            endpoint.retire(now)
