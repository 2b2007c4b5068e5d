"""Every error of tlsrt, by who is at fault.

Operators meet ConfigError and SandboxError (the runtime refuses to start), callers meet CallError and its
children (typed outcomes of a call), and PeerError means that the other side of a channel broke the protocol.
To a peer every refusal is one word; the reason stays in `reason` for the log.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Self

EX_FAILED = 1
EX_CHANGED = 2
EX_NOT_RUNNING = 3  # as the LSB says for `status` of an init script
EX_LOCKED = 4
EX_DEGRADED = 5
EX_WAIVED = 6
EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_TEMPFAIL = 75
EX_NOPERM = 77
EX_CONFIG = 78  # from 64 on as in sysexits.h; systemd's RestartPreventExitStatus= names it too
EX_INTERRUPTED = 130  # 128 and the signal, as a shell says it
EX_PIPE_CLOSED = 141

EXIT_CODES: Mapping[int, str] = {
    0: "success",
    EX_FAILED: "the component answered with an error; `sandbox explain`: refused; `audit verify`: not whole; "
    "`doctor`: something was found; `console --check`: the door serves another page",
    EX_CHANGED: "`apply --detailed-exitcode`: the configuration was changed, or would be by a dry run",
    EX_NOT_RUNNING: "no supervisor is running (`tlsrt-supervisor`)",
    EX_LOCKED: "the host is locked: no session until an operator or a client with that right unlocks it",
    EX_DEGRADED: "`status --check`: the host is degraded, starting or stopping",
    EX_WAIVED: "`status --check`: the host serves, without layers of the sandbox that are waived",
    EX_USAGE: "invalid option, argument, id or name",
    EX_UNAVAILABLE: "unavailable: the host, a loop, a layer of the sandbox or the disk; or the host is already running",
    EX_SOFTWARE: "internal error: please report it",
    EX_TEMPFAIL: "temporary failure: busy, or no answer in time; try again later",
    EX_NOPERM: "permission denied: by policy, by the host, or by the operating system",
    EX_CONFIG: "invalid configuration, bundle, key, certificate or boot token; or a reload was refused",
    EX_INTERRUPTED: "interrupted by Ctrl-C",
    EX_PIPE_CLOSED: "output pipe closed",
}
"""Every exit code of both commands, `tlsrt` and `tlsrt-supervisor`."""


def exit_codes_text() -> str:
    """Return the table for the help of a command."""
    return "exit codes:\n" + "\n".join(f"  {code:>3}  {text}" for code, text in EXIT_CODES.items())


class TlsrtError(Exception):
    """Base of all errors; never raised itself."""

    exit_code = EX_SOFTWARE

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        if cls is TlsrtError:
            raise TypeError("TlsrtError is abstract: raise one of its children")
        return super().__new__(cls, *args)


class ConfigError(TlsrtError):
    """The operator's input is wrong; `problems` holds one clear sentence each."""

    exit_code = EX_CONFIG

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class SandboxError(TlsrtError):
    """A layer of the sandbox could not be applied or verified; `layer` names it."""

    exit_code = EX_UNAVAILABLE

    def __init__(self, layer: str, reason: str) -> None:
        self.layer = layer
        self.reason = reason
        super().__init__(f"sandbox layer {layer}: {reason}")


class PeerError(TlsrtError):
    """The other side broke the protocol; `reason` is a word for the log, never for the peer."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class MisuseError(TlsrtError):
    """Our caller used an API wrongly."""


class InternalError(TlsrtError):
    """A bug of tlsrt."""


class ProgramError(TlsrtError):
    """A program that a component had run did not end by itself, or could not run.

    `outcome` is a word (`deadline`, `memory`, `forbidden`, `refused`, ...), `stderr` the last lines that it wrote.
    """

    def __init__(self, program: str, outcome: str, how: str, status: int, stderr: str) -> None:
        self.program = program
        self.outcome = outcome
        self.how = how
        self.status = status
        self.stderr = stderr
        said = f"; it said: {stderr.strip().splitlines()[-1]}" if stderr.strip() else ""
        super().__init__(f"program {program}: {how}{said}")


class WorkerError(TlsrtError):
    """A function of a worker raised an exception; `kind` is its class, `message` its text. The worker runs on.

    Its traceback is in the component's log.
    """

    def __init__(self, worker: str, method: str, kind: str, message: str) -> None:
        self.worker = worker
        self.method = method
        self.kind = kind
        self.message = message
        super().__init__(f"worker {worker}: {method} raised {kind}: {message}")


class CallError(TlsrtError):
    """A call without a result; `code` is the word on the wire, `message` the sentence for people."""

    code = "failed"
    exit_code = EX_FAILED
    is_told = False  # the other side said so; else this side found it out
    from_gate = False  # and it was the gate's unsealed word, which proves nothing about execution

    def __init__(self, message: str = "", code: str | None = None) -> None:
        if code is not None:
            self.code = code
        self.message = message or self.code
        super().__init__(self.message)


class Failed(CallError):
    """The component ran and failed; nothing more is told to the caller."""


class InvalidArgument(CallError):
    """A parameter is missing, unknown or of the wrong type; the message names it."""

    code = "invalid_argument"
    exit_code = EX_USAGE


class NotFound(CallError):
    """There is no such component, method or object."""

    code = "not_found"


class Conflict(CallError):
    """The state is not what the caller expected; nothing was changed."""

    code = "conflict"


class Denied(CallError):
    """The session holds no right (and no key) for this call."""

    code = "denied"
    exit_code = EX_NOPERM


class Busy(CallError):
    """A bounded queue is full; nothing was executed, try again later.

    A handler may raise it too, or pass on that of another component: then it has to have changed nothing itself.
    """

    code = "busy"
    exit_code = EX_TEMPFAIL


class Unavailable(CallError):
    """The recipient cannot be reached and the request was never delivered; it is safe to repeat.

    Not so with `is_told`: then a handler that had begun has raised it, maybe of another component.
    """

    code = "unavailable"
    exit_code = EX_UNAVAILABLE


class Away(Unavailable):
    """The recipient is starting or stopping and did not take the request; it is safe to repeat.

    Only the runtime of the recipient says so. One that a handler raises reaches its caller as Unavailable.
    """

    code = "away"


class OutcomeUnknown(CallError):
    """The request was sent and no answer came: it may or may not have run."""

    code = "outcome_unknown"
    exit_code = EX_UNAVAILABLE


class DeadlineExceeded(CallError):
    """The deadline passed before the answer came; the call may or may not have run."""

    code = "deadline"
    exit_code = EX_TEMPFAIL


class Cancelled(CallError):
    """The call was cancelled."""

    code = "cancelled"


class StreamBroken(CallError):
    """A stream ended with a gap or without its last part."""

    code = "stream_broken"


class Rejected(CallError):
    """The gate or the recipient refused the message; the reason is in the audit log there."""

    code = "rejected"
    exit_code = EX_NOPERM


class Quarantined(Rejected):
    """The host has shut this client out for a time, for what it did; `retry_after_s` says how long that lasts."""

    code = "quarantined"
    exit_code = EX_TEMPFAIL

    def __init__(self, message: str = "", code: str | None = None, *, retry_after_s: int = 0) -> None:
        super().__init__(message, code)
        self.retry_after_s = retry_after_s


class Stale(CallError):
    """The message was sealed for an incarnation or epoch that has ended; it did not run."""

    code = "stale"
    exit_code = EX_TEMPFAIL


class ServerLocked(CallError):
    """The server is locked: no session is possible until it is unlocked."""

    code = "locked"
    exit_code = EX_LOCKED


_BY_CODE: dict[str, type[CallError]] = {
    kind.code: kind
    for kind in (
        Failed, InvalidArgument, NotFound, Conflict, Denied, Busy, Unavailable, Away, OutcomeUnknown,
        DeadlineExceeded, Cancelled, StreamBroken, Rejected, Quarantined, Stale, ServerLocked,
    )
}  # fmt: skip


def call_error(code: str, message: str = "") -> CallError:
    """Return the typed error for a code from the wire; a CallError if the code is unknown."""
    kind = _BY_CODE.get(code)
    return kind(message) if kind else CallError(message, code=code)


QUARANTINED = "quarantined"
_QUARANTINED_S_MAX = 999_999


def quarantined_word(left_ms: int) -> str:
    """Return the word that refuses a quarantined client a session: it says for how many seconds more."""
    return f"{QUARANTINED} {min(_QUARANTINED_S_MAX, max(1, -(-left_ms // 1000)))}"


def quarantined_untrusted(word: str) -> Quarantined | None:
    """Return the error of such a word; None for any other."""
    name, _, seconds = word.partition(" ")
    if name != QUARANTINED or not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 6):
        return None
    sentence = (
        f"the host has quarantined this client for {int(seconds)} s more, for what it did: on the host "
        "`tlsrt-supervisor quarantine list` says why, and `quarantine release` ends it"
    )
    return Quarantined(sentence, retry_after_s=int(seconds))


def one_line(error: Exception) -> str:
    """Return an exception as one line for a log, with its place unless it is one of ours."""
    if isinstance(error, MisuseError | PeerError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}: {error}{where}"
