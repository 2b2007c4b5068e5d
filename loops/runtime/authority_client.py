"""A loop's side of the trust channel: applies what the authority sends. Pure.

All of them are upserts: the same message again changes nothing. Messages to Primary only go to its `Monitor`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from tlsrt.channels.calls.ending import CLIENTS, Ending
from tlsrt.channels.control.job_messages import JobAnswerMessage, JobRunMessage
from tlsrt.channels.control.trust import (
    TRUST,
    CommitMessage,
    EpochMessage,
    EpochNumberMessage,
    FeedMessage,
    RestoredMessage,
    RevokedMessage,
    RightsMessage,
    SecretKeyMessage,
    SessionMessage,
    SessionsEndedMessage,
    SnapshotMessage,
    WelcomeMessage,
)
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.verifier import Verifier
from tlsrt.errors import PeerError
from tlsrt.loops.component.secrets import ComponentSecrets

_KEYS = frozenset({"welcome", "secret_key", "epoch", "session", "rights", "prepare", "commit"})


class Monitor(Protocol):
    """The gate and the door, which Primary has."""

    def set_root(self, epoch: int, incarnation: int, root: bytes) -> None: ...
    def drop_epoch(self, epoch: int) -> None: ...
    def on_message(self, name: str, fields: Any, descriptors: list[int]) -> None: ...


class JobMessages(Protocol):
    """What the authority says of jobs; see jobs.py."""

    def answered(self, message: JobAnswerMessage) -> None: ...
    def run(self, message: JobRunMessage) -> None: ...


class AuthorityClient:
    """Applies trust messages. `committed` is the epoch that seals; 0 until the loop has its first keys."""

    def __init__(
        self, verifier: Verifier, endpoints: Mapping[str, Endpoint], monitor: Monitor | None,
        secrets: Mapping[str, ComponentSecrets] = MappingProxyType({}), jobs: JobMessages | None = None,
    ) -> None:  # fmt: skip
        self._verifier = verifier
        self._secrets = secrets
        self._endpoints = endpoints
        self._monitor = monitor
        self.gate = 0
        self.committed = 0
        self.prepared = 0  # epoch to acknowledge; the shell sends it
        self.retiring: list[tuple[int, int]] = []  # (epoch, when), for the shell's timer
        self.asked = 0  # how often, after a rest, what was missed: so many answers may come
        self.is_locked = False  # for ever: a process that serves a locked door takes no keys
        self.stale_before = 0  # an epoch that left no grace to those below it: the shell ends their calls
        self._endings: list[Ending] = []
        self._handlers: dict[str, Callable[[Any, int], None]] = {
            "welcome": self._welcome,
            "secret_key": self._secret_key,
            "epoch": self._epoch,
            "session": self._session,
            "rights": self._rights,
            "prepare": self._prepare,
            "commit": self._commit,
            "revoked": self._revoked,
            "sessions_ended": self._sessions_ended,
            "restored": self._restored,
            "snapshot": self._snapshot,
            "feed": self._feed,
            "awake": self._awake,
        }
        if jobs is not None:
            self._handlers["job_answer"] = lambda message, now: jobs.answered(message)
            self._handlers["job_run"] = lambda message, now: jobs.run(message)

    def on_message(self, name: str, message: Any, descriptors: list[int], now: int) -> None:
        """Apply one message; raise PeerError if it contradicts an earlier one."""
        if self.is_locked and name in _KEYS:
            raise PeerError("keys_while_locked")
        if TRUST.by_name[name].to:
            if self._monitor is None:
                raise PeerError("not_for_this_loop")
            self._monitor.on_message(name, message, descriptors)
        else:
            self._handlers[name](message, now)

    def _welcome(self, message: WelcomeMessage, now: int) -> None:
        self._verifier.welcome(message.install, message.boot, message.issuer, message.key_version)

    def _secret_key(self, message: SecretKeyMessage, now: int) -> None:
        secrets = self._secrets.get(message.component)
        if secrets is not None:
            secrets.take_key(self._verifier.install, message.key_version, message.key)

    def _epoch(self, message: EpochMessage, now: int) -> None:
        self._verifier.add_epoch(message.epoch, message.token_key, message.key_version)
        self.gate = message.gate
        if self._monitor is not None and message.gate_root:
            self._monitor.set_root(message.epoch, message.gate, message.gate_root)

    def _session(self, message: SessionMessage, now: int) -> None:
        endpoint = self._endpoint(message.component)
        endpoint.apply_session(message.epoch, *message[2:])

    def _rights(self, message: RightsMessage, now: int) -> None:
        endpoint = self._endpoint(message.component)
        for entry in message.rights:
            if not (isinstance(entry, list) and tuple(map(type, entry)) == (str, int, bytes, list)):
                raise PeerError("bad_right")
            endpoint.apply_right(message.epoch, *entry)

    def _prepare(self, message: EpochNumberMessage, now: int) -> None:
        self.prepared = message.epoch

    def _commit(self, message: CommitMessage, now: int) -> None:
        epoch, grace_ms = message
        for endpoint in self._endpoints.values():
            endpoint.commit(epoch, grace_ms, now)
        self.committed = epoch
        for other in sorted(self._verifier.epochs):
            if other < epoch:
                self.retiring.append((other, now + grace_ms))
        if grace_ms == 0:
            self.stale_before = epoch
            self.retire(now)

    def _revoked(self, message: RevokedMessage, now: int) -> None:
        self._verifier.revoke(message.number, message.kind, message.value, now)
        if message.kind == "session":
            self._end([message.value])
        elif message.kind == "subject":
            self._endings.append(Ending(subjects=(message.value.decode(errors="replace"),)))

    def _sessions_ended(self, message: SessionsEndedMessage, now: int) -> None:
        """Take nothing of these sessions any more, and end their calls."""
        sessions = message.sessions
        if not all(type(session) is bytes for session in sessions):
            raise PeerError("bad_sessions")
        if message.what == "sessions":
            self._verifier.end_sessions(sessions, now)
            self._end(sessions)
            return
        if message.what == "subjects":
            self._endings.append(Ending(subjects=frozenset(name.decode(errors="replace") for name in sessions)))
            return
        if message.what == "clients":
            for endpoint in self._endpoints.values():
                of_clients = endpoint.heard.of_subjects(CLIENTS)
                self._verifier.end_sessions(of_clients, now)
                endpoint.forget(of_clients)
        self._endings.append(Ending(of_clients=True, of_all=message.what != "clients"))

    def _end(self, sessions: Collection[bytes]) -> None:
        for endpoint in self._endpoints.values():
            endpoint.forget(sessions)
        self._endings.append(Ending(frozenset(sessions)))

    def take_endings(self) -> list[Ending]:
        """Return whose calls end, once; the shell ends them."""
        endings, self._endings = self._endings, []
        return endings

    def _restored(self, message: RestoredMessage, now: int) -> None:
        self._verifier.restore(message.number, message.subject)

    def _snapshot(self, message: SnapshotMessage, now: int) -> None:
        if self._verifier.snapshot(*message, now):
            sessions, subjects = self._verifier.revoked.sessions, self._verifier.revoked.subjects
            for endpoint in self._endpoints.values():
                endpoint.forget(sessions)
            self._endings.append(Ending(sessions, subjects))

    def _feed(self, message: FeedMessage, now: int) -> None:
        self._verifier.feed(message.revocation, message.now, now)

    def _awake(self, message: FeedMessage, now: int) -> None:
        if not self.asked:
            raise PeerError("not_asked")
        self.asked -= 1
        self._verifier.awake(message.revocation, message.now, now)

    def _endpoint(self, component: str) -> Endpoint:
        endpoint = self._endpoints.get(component)
        if endpoint is None:
            raise PeerError("unknown_component")
        return endpoint

    def retire(self, now: int) -> None:
        """Drop epochs whose grace is over."""
        for epoch, when in list(self.retiring):
            if when <= now:
                self.retiring.remove((epoch, when))
                self._verifier.drop_epoch(epoch)
                if self._monitor is not None:
                    self._monitor.drop_epoch(epoch)
        for endpoint in self._endpoints.values():
            endpoint.retire(now)
