"""The trust protocol: authority <-> one loop.

Everything the authority says to a loop is an upsert, so every message may be sent again: a respawned authority says
all of it anew on the same descriptor, and nothing breaks. Lists are paged below the cap.

State of a conversation: "new" until the loop has joined, then "joined"; "locked" with the Primary of a locked host.
Who sends is known by the descriptor: `primary` is the loop of that name, `door` the process of a door that has one of
its own, `loop` any other.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tlsrt.channels.control.certificate_messages import PairMessage, PairTriedMessage
from tlsrt.channels.control.client_messages import (
    AddressMessage,
    AnsweredMessage,
    ChallengedMessage,
    ChallengeMessage,
    ClientLockMessage,
    ClientUnlockMessage,
    CloseMessage,
    DelegatedMessage,
    DelegateMessage,
    EndedMessage,
    EnrolledMessage,
    EnrolMessage,
    GrantedMessage,
    NotEnrolledMessage,
    OpenMessage,
    RefusedMessage,
    RenewedMessage,
    RenewMessage,
    TurnedAwayMessage,
)
from tlsrt.channels.control.job_messages import (
    JobAnswerMessage,
    JobListMessage,
    JobOverMessage,
    JobPutMessage,
    JobRunMessage,
    OwnJobMessage,
)
from tlsrt.channels.control.seqpacket import Message, MessageTable

TRUST_CAP = 64 * 1024
RIGHTS_PER_PAGE = 64
ENDED_PER_PAGE = 2048  # session ids
REVOKED_PER_PAGE = 512  # with subjects of the longest names, in two thirds of the cap
PRIMARY: Final = "primary"
DOOR: Final = "door"


class EpochNumberMessage(NamedTuple):
    """`prepare`: everything of this epoch was sent, acknowledge. `prepared`: its keys have arrived."""

    epoch: int


class WelcomeMessage(NamedTuple):
    """Which authority this is, and the issuer key of its tokens."""

    install: bytes
    boot: bytes
    issuer: bytes
    key_version: int


class SecretKeyMessage(NamedTuple):
    """The key of the secrets of one component, as one version of master_key gives it."""

    component: str
    key_version: int
    key: bytes


class EpochMessage(NamedTuple):
    """The keys of one epoch that all loops share; `gate_root` is empty but for Primary."""

    epoch: int
    token_key: bytes
    gate: int  # its incarnation
    gate_root: bytes
    key_version: int  # of its tokens


class SessionMessage(NamedTuple):
    """A component's session in one epoch. Incarnations of 0 have no keys."""

    epoch: int
    component: str
    session: bytes
    mailbox: int  # incarnation of the component's own
    mailbox_root: bytes
    gate: int
    proof_key: bytes
    token: bytes
    token_expires: int  # ms
    session_ends: int  # ms


class RightsMessage(NamedTuple):
    """A page of rights: [target, mailbox incarnation, request key, [methods]] each."""

    epoch: int
    component: str
    rights: list[Any]


class CommitMessage(NamedTuple):
    """The epoch to seal with from now on, and how long the one before is still accepted."""

    epoch: int
    grace_ms: int


class RevokedMessage(NamedTuple):
    """A revocation; `kind` is session, token or subject."""

    number: int
    kind: str
    value: bytes


class SessionsEndedMessage(NamedTuple):
    """Sessions whose holder is gone: their calls end, and nothing of them is taken any more.

    `what` is `sessions`, those that follow; `clients`, those of all clients; `subjects`, whose names follow instead, as
    they are known no more; or `all`, the host is locked. With the last two calls with an idempotency key end too, which
    otherwise go on for the session that follows.
    """

    what: str
    sessions: list[Any]


class FeedMessage(NamedTuple):
    """The heartbeat of the authority, every 0.5 s. The time is BOOTTIME in ms."""

    revocation: int  # the number of the last one
    epoch: int
    now: int


class MemberMessage(NamedTuple):
    """A process of a loop as the gate knows it; `incarnation` is 0 when it has ended."""

    loop: str
    incarnation: int
    attested: int  # for this epoch
    components: list[Any]  # the addresses of those that run in it


class DoorMessage(NamedTuple):
    """Files for the door to try: descriptors of certificate, key and client CA."""

    generation: int


class SnapshotMessage(NamedTuple):
    """A page of all revocations, [kind, value] each. Only this synchronises a verifier."""

    serial: int  # above 0
    page: int
    pages: int
    revocation: int  # the number of the last one
    now: int  # BOOTTIME, ms
    entries: list[Any]


class RestoredMessage(NamedTuple):
    """A subject is no longer revoked."""

    number: int
    subject: bytes


class SuccessionMessage(NamedTuple):
    """Which issuer keys follow which, as clients are to know it: see config/issuer_chain.py."""

    chain: bytes


class EventsMessage(NamedTuple):
    """Events of the host, a line of JSON each; Primary passes over those that it knows."""

    lines: list[Any]


class TriedMessage(NamedTuple):
    """Whether the door can serve with the files of a generation, and why not."""

    generation: int
    is_good: int
    sentence: str


class ServeMessage(NamedTuple):
    """Accept connections with the files of this generation from now on."""

    generation: int


class LockedMessage(NamedTuple):
    """Sent instead of keys: the host is locked."""

    install: bytes
    boot: bytes
    lock: bytes
    epoch: int


class OffencesMessage(NamedTuple):
    """What gate and door refused: [kind, value, word, count, about] each. See authority/detection/gate_reports.py."""

    reports: list[Any]


class RestrictMessage(NamedTuple):
    """Limit or block a subject; `for_ms` of 0 ends that."""

    step: str
    kind: str
    value: str
    for_ms: int


class RecipientReportsMessage(NamedTuple):
    """Frames that a recipient refused although they passed the gate: [session, word, count] each."""

    reports: list[Any]


class DecoyAccessedMessage(NamedTuple):
    """A session has called a decoy."""

    session: bytes
    target: str
    method: str


class TryDecoyMessage(NamedTuple):
    """Access this decoy, as a proof that an access would be reported."""

    nonce: str


class CanaryMessage(NamedTuple):
    """A canary or a decoy of another kind was used; `session` may be empty."""

    what: str
    loop: str
    session: bytes
    address: str


class CanariesMessage(NamedTuple):
    """The hashes of canary tokens and of canary client keys."""

    tokens: list[Any]
    keys: list[Any]


class OperatorsMessage(NamedTuple):
    """The clients that may lock or unlock the host, all of them: some places at the door are kept for these."""

    subjects: list[Any]


class TelemetryMessage(NamedTuple):
    """A row for each session's traffic in the last window: see telemetry.py."""

    rows: list[Any]


_LOOPS = frozenset({"loop", PRIMARY, DOOR})
_DOORS = frozenset({PRIMARY, DOOR})
_OTHERS = frozenset({"loop"})  # any loop but Primary
_PRIMARY = frozenset({PRIMARY})
_AUTHORITY = frozenset({"authority"})

_ANY = frozenset({"new", "joined"})
_JOINED = frozenset({"joined"})
_ALWAYS = frozenset({"new", "joined", "locked"})
_WITH_DOOR = frozenset({"joined", "locked"})
_LOCKED = frozenset({"locked"})

TRUST = MessageTable(
    "trust",
    TRUST_CAP,
    (
        # number, name, who may send it, in which states, its fields
        Message(1, "join", _LOOPS, _ALWAYS),
        Message(2, "prepared", _LOOPS, _JOINED, EpochNumberMessage),
        Message(3, "challenge", _PRIMARY, _WITH_DOOR, ChallengeMessage),
        Message(4, "open", _PRIMARY, _JOINED, OpenMessage),
        Message(5, "close", _PRIMARY, _JOINED, CloseMessage),
        Message(16, "welcome", _AUTHORITY, _ANY, WelcomeMessage),
        Message(17, "epoch", _AUTHORITY, _ANY, EpochMessage),
        Message(18, "session", _AUTHORITY, _ANY, SessionMessage),
        Message(19, "rights", _AUTHORITY, _ANY, RightsMessage),
        Message(20, "prepare", _AUTHORITY, _ANY, EpochNumberMessage),
        Message(21, "commit", _AUTHORITY, _ANY, CommitMessage),
        Message(22, "revoked", _AUTHORITY, _ANY, RevokedMessage),
        Message(23, "feed", _AUTHORITY, _ANY, FeedMessage),
        Message(24, "member", _AUTHORITY, _ANY, MemberMessage, to=PRIMARY),
        Message(25, "challenged", _AUTHORITY, _ANY, ChallengedMessage, to=PRIMARY),
        Message(26, "granted", _AUTHORITY, _ANY, GrantedMessage, to=PRIMARY),
        Message(27, "refused", _AUTHORITY, _ANY, RefusedMessage, to=PRIMARY),
        Message(28, "ended", _AUTHORITY, _ANY, EndedMessage, to=PRIMARY),
        Message(29, "door", _AUTHORITY, _ANY, DoorMessage, descriptors=3, to=PRIMARY),
        Message(30, "snapshot", _AUTHORITY, _ANY, SnapshotMessage),
        Message(31, "restored", _AUTHORITY, _ANY, RestoredMessage),
        Message(32, "came_from", _PRIMARY, _JOINED, AddressMessage),
        Message(33, "succession", _AUTHORITY, _ANY, SuccessionMessage, to=PRIMARY),
        Message(36, "events", _AUTHORITY, _ANY, EventsMessage, to=PRIMARY),
        Message(37, "turned_away", _PRIMARY, _ALWAYS, TurnedAwayMessage),
        Message(38, "took_events", _PRIMARY, _ANY),  # the next page may come
        Message(40, "delegate", _PRIMARY, _JOINED, DelegateMessage),
        Message(41, "delegated", _AUTHORITY, _ANY, DelegatedMessage, to=PRIMARY),
        Message(42, "tried", _DOORS, _WITH_DOOR, TriedMessage),
        Message(43, "serve", _AUTHORITY, _ANY, ServeMessage, to=PRIMARY),
        Message(44, "locked", _AUTHORITY, _ANY, LockedMessage, to=PRIMARY),
        Message(45, "unlock", _PRIMARY, _LOCKED, ClientUnlockMessage),
        Message(46, "lock", _PRIMARY, _JOINED, ClientLockMessage),
        Message(47, "answered", _AUTHORITY, _ANY, AnsweredMessage, to=PRIMARY),
        Message(48, "enrol", _PRIMARY, _JOINED, EnrolMessage),
        Message(49, "enrolled", _AUTHORITY, _ANY, EnrolledMessage, to=PRIMARY),
        Message(50, "not_enrolled", _AUTHORITY, _ANY, NotEnrolledMessage, to=PRIMARY),
        Message(51, "renew", _PRIMARY, _JOINED, RenewMessage),
        Message(52, "renewed", _AUTHORITY, _ANY, RenewedMessage, to=PRIMARY),
        Message(53, "offences", _PRIMARY, _ALWAYS, OffencesMessage),
        Message(54, "restrict", _AUTHORITY, _ANY, RestrictMessage, to=PRIMARY),
        Message(55, "recipient_reports", _OTHERS, _ALWAYS, RecipientReportsMessage),
        Message(59, "decoy_accessed", _PRIMARY, _ANY, DecoyAccessedMessage),
        Message(60, "try_decoy", _AUTHORITY, _ANY, TryDecoyMessage, to=PRIMARY),
        Message(61, "canary", _PRIMARY, _ANY, CanaryMessage),
        Message(62, "canaries", _AUTHORITY, _ANY, CanariesMessage, to=PRIMARY),
        Message(65, "telemetry", _PRIMARY, _JOINED, TelemetryMessage),
        Message(66, "sessions_ended", _AUTHORITY, _ANY, SessionsEndedMessage),
        Message(67, "operators", _AUTHORITY, _ANY, OperatorsMessage, to=PRIMARY),
        Message(68, "secret_key", _AUTHORITY, _ANY, SecretKeyMessage),
        Message(69, "job_put", _OTHERS, _JOINED, JobPutMessage),
        Message(70, "job_list", _OTHERS, _JOINED, JobListMessage),
        Message(71, "job_remove", _OTHERS, _JOINED, OwnJobMessage),
        Message(72, "job_over", _OTHERS, _JOINED, JobOverMessage),
        Message(73, "job_answer", _AUTHORITY, _ANY, JobAnswerMessage),
        Message(74, "job_run", _AUTHORITY, _ANY, JobRunMessage),
        # certificate and key: of the CA of ACME, to serve with or to try; of a challenge, while an order runs
        Message(75, "issued", _AUTHORITY, _ANY, PairMessage, descriptors=2, to=PRIMARY),
        Message(76, "issued_gone", _AUTHORITY, _ANY, to=PRIMARY),
        Message(77, "try_issued", _AUTHORITY, _ANY, PairMessage, descriptors=2, to=PRIMARY),
        Message(78, "show_challenge", _AUTHORITY, _ANY, PairMessage, descriptors=2, to=PRIMARY),
        Message(79, "hide_challenge", _AUTHORITY, _ANY, to=PRIMARY),
        Message(80, "pair_tried", _DOORS, _WITH_DOOR, PairTriedMessage),
        Message(81, "job_show", _OTHERS, _JOINED, OwnJobMessage),
        Message(82, "job_pause", _OTHERS, _JOINED, OwnJobMessage),
        Message(83, "job_resume", _OTHERS, _JOINED, OwnJobMessage),
        Message(84, "rest", _OTHERS | {DOOR}, _ALWAYS),  # no feed from now on
        Message(85, "wake", _OTHERS | {DOOR}, _ALWAYS),  # `awake`, and the feed again
        Message(86, "awake", _AUTHORITY, _ANY, FeedMessage),  # all that was said before it is in the channel
    ),
)
