"""What the supervisor asks the authority for. Each begins with a number, by which the answer is known."""

from __future__ import annotations

from typing import Any, NamedTuple


class NumberMessage(NamedTuple):
    """A request without any other field."""

    number: int


ONLY_ADDS = 2  # `moves` of a reload


class ReloadMessage(NamedTuple):
    """Check a reload; `checked` answers.

    Descriptors: boot token and measurement (memfd), checked as at a boot; policy (memfd), which holds from the epoch of
    the move on; the door's certificate, key, client CA and CRL.
    """

    number: int
    moves: int  # 1 if a move to another epoch follows; 2 if that ends and changes no process that runs


class SessionsMessage(NamedTuple):
    """List the sessions whose ids follow one."""

    number: int
    after: bytes


class RevokeMessage(NamedTuple):
    """Revoke. `kind` is session, token, component, client, loop or all; `for_ms` of 0: until restored."""

    number: int
    kind: str
    what: str
    for_ms: int


class RestoreMessage(NamedTuple):
    """End a revocation. `kind` is component, client or loop."""

    number: int
    kind: str
    what: str


class RotateMessage(NamedTuple):
    """Change the epoch now, with grace; `rotated` answers."""

    number: int
    with_keys: int  # 1: with the master_key that was checked under this number


class LockMessage(NamedTuple):
    """Lock the host with this id, unless it is locked already."""

    number: int
    lock: bytes
    reason: str
    by: str
    since: int  # wall time, ms


class UnlockMessage(NamedTuple):
    """Unlock the host."""

    number: int
    by: str


class ClientAddMessage(NamedTuple):
    """Enrol a client, by a signing request (DER) or with a join code, sealed to `code_key` (raw X25519).

    `page` is the hash of the console's page that the command has seen, for a link; else nothing.
    """

    number: int
    name: str
    rules: list[Any]  # [target, [methods]] each
    ttl_ms: int
    http: int
    request: bytes
    code_key: bytes
    page: str


class ClientListMessage(NamedTuple):
    """List the clients whose names follow one."""

    number: int
    after: str


class ClientRenewMessage(NamedTuple):
    """Issue another certificate, or a join code for one (see `client_add`); `ttl_ms` of 0: as before."""

    number: int
    name: str
    ttl_ms: int
    request: bytes
    code_key: bytes


class ClientRevokeMessage(NamedTuple):
    """Revoke a client for good."""

    number: int
    name: str


class ClientSetMessage(NamedTuple):
    """Change what a client may call, and to the host. No rules, or no `has_may`: as before."""

    number: int
    name: str
    rules: list[Any]
    has_may: int
    may: list[Any]


class ReleaseMessage(NamedTuple):
    """End all actions against a subject."""

    number: int
    name: str


class RuntimeActMessage(NamedTuple):
    """Record what a component has the runtime do; `answer` says when it may be done.

    Its row names the subject, and the caller who asked for it: both come as SHA-256 of a name, or nothing. If there is
    none of that digest, or it may not be done to it, the answer is REFUSED, with a RuntimeOutcome.
    """

    number: int
    component: str
    act: str
    target: str  # a component, or nothing: the host
    subject: bytes
    asker: bytes


class PageServedMessage(NamedTuple):
    """Record that Primary serves the console's page of this hash (hex) from now on."""

    number: int
    page: str


class ArchiveKeyMessage(NamedTuple):
    """The key of one archive of the host, a sealed memfd that is for the process which writes it."""

    number: int


class SettingMessage(NamedTuple):
    """Record that a component will have a setting of the kernel written; `answer` says when it may be."""

    number: int
    component: str
    path: str
    value: int
    words: str  # in the place of a value that is no number


class JobListMessage(NamedTuple):
    """List the jobs whose ids follow one."""

    number: int
    after: bytes


class JobIdMessage(NamedTuple):
    """Remove, show, pause or resume a job, by the first hex digits of its id."""

    number: int
    job: str
