"""The protocol of the authority's channel: supervisor <-> authority.

State of a conversation, for the supervisor: "new" until it has attested the sealed authority from outside, then
"attested", and "booted" once the authority says so. The authority itself waits for `boot` in "new".

The authority is part of the trusted base, so it may speak in words. A request that begins with a number is answered by
`answer` with that number, or by the message that its row names.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tlsrt.channels.control.authority_requests import (
    ArchiveKeyMessage,
    ClientAddMessage,
    ClientListMessage,
    ClientRenewMessage,
    ClientRevokeMessage,
    ClientSetMessage,
    JobIdMessage,
    JobListMessage,
    LockMessage,
    NumberMessage,
    PageServedMessage,
    ReleaseMessage,
    ReloadMessage,
    RestoreMessage,
    RevokeMessage,
    RotateMessage,
    RuntimeActMessage,
    SessionsMessage,
    SettingMessage,
    UnlockMessage,
)
from tlsrt.channels.control.certificate_messages import (
    AccountKeyMessage,
    ChainMessage,
    NameMessage,
    ProofMessage,
    RequestMessage,
)
from tlsrt.channels.control.learner import AdviceMessage, WeighMessage
from tlsrt.channels.control.seqpacket import Message, MessageTable, NoFields
from tlsrt.channels.control.trust import EventsMessage

AUTHORITY_CHANNEL_CAP = 64 * 1024


class BootMessage(NamedTuple):
    """Boot with these descriptors.

    They are: master key, boot token, measurement (memfd), state folder, the door's certificate, key, client CA
    and CRL (empty: none), the client CA's key (empty: none), the boot nonce (memfd, sealed), which no message holds.
    The configuration is known by fork."""

    boot: bytes


class SpawnedMessage(NamedTuple):
    """A new process of a loop; its descriptor is the authority's end of the trust channel."""

    loop: str
    incarnation: int


class AttestedMessage(NamedTuple):
    """An incarnation was attested for an epoch."""

    loop: str
    incarnation: int
    epoch: int


class GoneMessage(NamedTuple):
    """The process of an incarnation has ended."""

    loop: str
    incarnation: int


class ChargeMessage(NamedTuple):
    """A signal against a loop, for its anomaly score."""

    loop: str
    incarnation: int
    detector: str
    times: int
    what: str


class AlertOfComponentMessage(NamedTuple):
    """A component reports an anomaly of the host; the words are those of its grant."""

    component: str
    detector: str
    times: int
    what: str


class BootedMessage(NamedTuple):
    """The authority serves."""

    epoch: int
    warnings: list[Any]


class BootRefusedMessage(NamedTuple):
    """The authority does not boot."""

    sentences: list[Any]


class AuthorityBeatMessage(NamedTuple):
    """The heartbeat of the authority, and how many sessions each loop holds."""

    lateness_us: int
    epoch: int
    sessions: dict[Any, Any]


class JoinedMessage(NamedTuple):
    """An incarnation has its keys."""

    loop: str
    incarnation: int


class AuthorityEventMessage(NamedTuple):
    """An event of the authority, as a word and a sentence."""

    word: str
    sentence: str


class ScoreMessage(NamedTuple):
    """The anomaly score of a loop."""

    loop: str
    score: int


class CheckedMessage(NamedTuple):
    """The answer to `reload`; `change` says what will change at the door."""

    number: int
    is_good: int
    sentences: list[Any]
    change: str


class MovedMessage(NamedTuple):
    """The answer to `move`: the epoch that is committed."""

    number: int
    epoch: int


class AnswerMessage(NamedTuple):
    """The answer to a request; `more` of 1: another page follows when it is asked for."""

    number: int
    code: int  # a ResultCode
    more: int
    rows: list[Any]


class StorageMessage(NamedTuple):
    """Why the state is not persisted; empty: it is."""

    problem: str


class CertificateTimeMessage(NamedTuple):
    """What is to be said of the time of the door's certificate and revocation lists; none: all is well."""

    sentences: list[str]
    ends: int  # the certificate, in seconds since 1970


class RekeyedMessage(NamedTuple):
    """The answer to `rekey`."""

    number: int
    is_good: int
    sentences: list[Any]


class RotatedMessage(NamedTuple):
    """The answer to `rotate`. An epoch of 0: none was committed, and the sentences say why."""

    number: int
    epoch: int
    took_ms: int
    late: list[Any]  # loops
    sentences: list[Any]


class KeysMessage(NamedTuple):
    """The version of master_key, and for how long the version before it is still accepted."""

    key_version: int
    overlap_ms: int


class EventNotesMessage(NamedTuple):
    """Events: [name, subject, words, {field: value}] each."""

    notes: list[Any]


class LockStateMessage(NamedTuple):
    """The lock (an empty id: the host is not locked). Primary has to be another process now."""

    lock: bytes
    reason: str
    by: str
    since: int  # wall time, ms


class LockStoredMessage(NamedTuple):
    """The lock of this id is on the disk."""

    lock: bytes


class CheckpointedMessage(NamedTuple):
    """The audit log has a signed head."""

    file: int
    size: int  # entries
    root: bytes
    sequence: int  # of the checkpoint


class UnrecordedMessage(NamedTuple):
    """Why the audit log cannot be written; empty: it can again."""

    problem: str


class AuditedMessage(NamedTuple):
    """The state of the audit log."""

    file: int
    sequence: int  # the last one
    size: int  # bytes of all files
    dropped: int  # records
    problem: str


class RespawnMessage(NamedTuple):
    """Replace the process of a loop, and why."""

    loop: str
    incarnation: int
    sentence: str


class QuarantineMessage(NamedTuple):
    """The subjects in quarantine."""

    names: list[Any]


class DecoysMessage(NamedTuple):
    """Why accesses to decoys would not be reported; empty: they are."""

    problem: str


class CanaryFileMessage(NamedTuple):
    """A loop has opened a canary file."""

    loop: str
    path: str


_SUPERVISOR = frozenset({"supervisor"})
_AUTHORITY = frozenset({"authority"})

_EARLY = frozenset({"new", "booted"})
_NEW = frozenset({"new"})
_ATTESTED = frozenset({"attested", "booted"})
_BOOTED = frozenset({"booted"})

AUTHORITY_CHANNEL = MessageTable(
    "authority",
    AUTHORITY_CHANNEL_CAP,
    (
        # number, name, who may send it, in which states, its fields
        Message(1, "boot", _SUPERVISOR, _EARLY, BootMessage, descriptors=10),
        Message(2, "spawned", _SUPERVISOR, _EARLY, SpawnedMessage, descriptors=1),
        Message(3, "attested", _SUPERVISOR, _EARLY, AttestedMessage),
        Message(4, "gone", _SUPERVISOR, _EARLY, GoneMessage),
        Message(5, "stop", _SUPERVISOR, _EARLY),
        Message(6, "taken", _SUPERVISOR, _BOOTED, NumberMessage),  # the reload of this number is in force
        Message(7, "alert", _SUPERVISOR, _EARLY, AlertOfComponentMessage),
        Message(8, "reload", _SUPERVISOR, _BOOTED, ReloadMessage, descriptors=7),
        Message(9, "move", _SUPERVISOR, _BOOTED, NumberMessage),  # to the epoch of a reload; `moved` answers
        Message(10, "charge", _SUPERVISOR, _EARLY, ChargeMessage),
        Message(11, "sessions", _SUPERVISOR, _BOOTED, SessionsMessage),
        Message(12, "revoke", _SUPERVISOR, _BOOTED, RevokeMessage),
        Message(13, "restore", _SUPERVISOR, _BOOTED, RestoreMessage),
        Message(14, "rotate", _SUPERVISOR, _BOOTED, RotateMessage),
        # descriptors: another master_key, its boot token, measurement (memfd); `rekeyed` answers
        Message(15, "rekey", _SUPERVISOR, _BOOTED, NumberMessage, descriptors=3),
        Message(16, "booted", _AUTHORITY, _ATTESTED, BootedMessage),
        Message(17, "refused", _AUTHORITY, _ATTESTED, BootRefusedMessage),
        Message(18, "beat", _AUTHORITY, _BOOTED, AuthorityBeatMessage),
        Message(19, "joined", _AUTHORITY, _BOOTED, JoinedMessage),
        Message(20, "event", _AUTHORITY, _BOOTED, AuthorityEventMessage),
        Message(23, "score", _AUTHORITY, _BOOTED, ScoreMessage),
        Message(24, "checked", _AUTHORITY, _BOOTED, CheckedMessage),
        Message(25, "moved", _AUTHORITY, _BOOTED, MovedMessage),
        Message(26, "sealed", _AUTHORITY, _NEW),  # its first: it may be attested, and then have keys
        Message(27, "answer", _AUTHORITY, _BOOTED, AnswerMessage),
        Message(28, "storage", _AUTHORITY, _BOOTED, StorageMessage),
        Message(29, "rekeyed", _AUTHORITY, _BOOTED, RekeyedMessage),
        Message(30, "rotated", _AUTHORITY, _BOOTED, RotatedMessage),
        Message(31, "keys", _AUTHORITY, _BOOTED, KeysMessage),
        Message(32, "events", _SUPERVISOR, _BOOTED, EventsMessage),  # for Primary
        Message(33, "noted", _AUTHORITY, _BOOTED, EventNotesMessage),
        # sealed memfds for the next authority's boot: certificate, key, client CA, CRL
        Message(34, "kept", _AUTHORITY, _BOOTED, descriptors=4),
        Message(35, "lock", _SUPERVISOR, _BOOTED, LockMessage),
        Message(36, "unlock", _SUPERVISOR, _BOOTED, UnlockMessage),
        Message(37, "lock_state", _AUTHORITY, _ATTESTED, LockStateMessage),
        Message(38, "lock_stored", _AUTHORITY, _ATTESTED, LockStoredMessage),
        Message(40, "client_add", _SUPERVISOR, _BOOTED, ClientAddMessage),
        Message(41, "client_list", _SUPERVISOR, _BOOTED, ClientListMessage),
        Message(42, "client_renew", _SUPERVISOR, _BOOTED, ClientRenewMessage),
        Message(43, "client_revoke", _SUPERVISOR, _BOOTED, ClientRevokeMessage),
        Message(44, "client_set", _SUPERVISOR, _BOOTED, ClientSetMessage),
        Message(45, "checkpointed", _AUTHORITY, _BOOTED, CheckpointedMessage),
        Message(46, "unrecorded", _AUTHORITY, _BOOTED, UnrecordedMessage),
        Message(47, "audited", _AUTHORITY, _BOOTED, AuditedMessage),
        Message(50, "respawn", _AUTHORITY, _BOOTED, RespawnMessage),
        Message(51, "anomalies", _SUPERVISOR, _BOOTED, NumberMessage),  # list scores, actions and detectors
        Message(52, "release", _SUPERVISOR, _BOOTED, ReleaseMessage),
        Message(53, "quarantine", _AUTHORITY, _BOOTED, QuarantineMessage),
        Message(55, "decoys", _AUTHORITY, _BOOTED, DecoysMessage),
        Message(56, "try_decoys", _SUPERVISOR, _BOOTED, NoFields),  # prove now that accesses are reported
        Message(57, "file_touched", _SUPERVISOR, _BOOTED, CanaryFileMessage),
        Message(58, "certificate_time", _AUTHORITY, _BOOTED, CertificateTimeMessage),
        Message(59, "setting", _SUPERVISOR, _BOOTED, SettingMessage),
        Message(60, "job_list", _SUPERVISOR, _BOOTED, JobListMessage),
        Message(61, "job_remove", _SUPERVISOR, _BOOTED, JobIdMessage),
        Message(62, "certificate_state", _SUPERVISOR, _BOOTED, NumberMessage),
        Message(63, "certificate_name", _SUPERVISOR, _BOOTED, NameMessage),
        Message(64, "certificate_request", _SUPERVISOR, _BOOTED, RequestMessage),
        Message(65, "certificate_proof", _SUPERVISOR, _BOOTED, ProofMessage),
        Message(66, "certificate_chain", _SUPERVISOR, _BOOTED, ChainMessage),
        Message(67, "certificate_forget", _SUPERVISOR, _BOOTED, NumberMessage),
        Message(68, "account_key", _AUTHORITY, _BOOTED, AccountKeyMessage, descriptors=1),
        Message(69, "job_show", _SUPERVISOR, _BOOTED, JobIdMessage),
        Message(70, "job_pause", _SUPERVISOR, _BOOTED, JobIdMessage),
        Message(71, "job_resume", _SUPERVISOR, _BOOTED, JobIdMessage),
        Message(72, "runtime_act", _SUPERVISOR, _BOOTED, RuntimeActMessage),
        Message(73, "archive_key", _AUTHORITY, _BOOTED, ArchiveKeyMessage, descriptors=1),
        Message(74, "weigh", _AUTHORITY, _BOOTED, WeighMessage),  # for the learner
        Message(75, "advice", _SUPERVISOR, _BOOTED, AdviceMessage),  # of the learner
        Message(76, "page_served", _SUPERVISOR, _BOOTED, PageServedMessage),
    ),
)
