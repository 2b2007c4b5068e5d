"""The audit log of this life: group commit, its thread, and what the supervisor is told."""

from __future__ import annotations

from tlsrt.channels.clock import Moment
from tlsrt.config.schema import Config
from tlsrt.supervisor.audit.group_commit import GroupCommit
from tlsrt.supervisor.audit.open import AuditKeys, OpenedLog, open_log
from tlsrt.supervisor.audit.record import STOPPED
from tlsrt.supervisor.audit.signer import Randomness
from tlsrt.supervisor.audit.vouch import StateSummary
from tlsrt.supervisor.audit.writer import Done, Head, WriterThread
from tlsrt.supervisor.authority.boot import Booted
from tlsrt.supervisor.authority.model.ports import Outgoing, Service
from tlsrt.supervisor.authority.model.state import AuthorityState

FINISH_S = 2.0  # for the disk to take FINAL; without it the next life says that the log was cut


class AuditLog(Service):
    """One life's log. Its thread is started here, so this comes after the seal."""

    def __init__(self, opened: OpenedLog, state: AuthorityState, outgoing: Outgoing, now: int) -> None:
        self._outgoing = outgoing
        self._state = state
        state.audit = opened.sequence  # as of the next write of the state
        self._thread = WriterThread(opened.writer)
        self.recorder = GroupCommit(self._thread, now, self)
        self._first = opened.written
        self._told = (0, "")  # dropped records, and the problem

    def fileno(self) -> int:
        """Return the descriptor that is readable when something was written."""
        return self._thread.fileno()

    def next_due(self) -> int | None:
        return self.recorder.next_due()

    def tick(self, moment: Moment) -> None:
        self.recorder.tick(moment)

    def begin(self) -> None:
        """Tell the supervisor, once it knows that this authority has booted, what its boot has written."""
        if self._first.head is not None:
            self.head_signed(self._first.head)
        self.written(self._first)

    def finish(self, moment: Moment, persisted: StateSummary) -> None:
        """Write what waits, what is on the disk of the state, and FINAL."""
        self.recorder.note("stop", "authority", persisted.detail(), moment)
        self._thread.give(self.recorder.rest(moment, STOPPED))
        if not self._thread.finish(FINISH_S):
            self._outgoing.log("the audit log has no FINAL: its disk did not answer")

    # What the group commit reports

    def head_signed(self, head: Head) -> None:
        """Tell the supervisor a signed head, and remember its sequence."""
        self._state.audit = head.sequence
        self._outgoing.tell("checkpointed", head.file, head.size, head.root, head.sequence)

    def written(self, done: Done) -> None:
        """Tell the state of the log: with each signed head, and when a problem begins or ends."""
        now = (self.recorder.dropped, self.recorder.problem)
        if done.head is not None or now != self._told:
            self._told = now
            self._outgoing.tell("audited", done.file, done.sequence, done.bytes, *now)

    def problem_changed(self, problem: str) -> None:
        """Tell why nothing can be written, or that it can again."""
        self._outgoing.log(problem or "the audit log is written again")
        self._outgoing.tell("unrecorded", problem)

    def log(self, line: str) -> None:
        """Write one line to the authority's log."""
        self._outgoing.log(line)


def open_audit(state: int, booted: Booted, config: Config, moment: Moment, randomness: Randomness) -> OpenedLog:
    """Open the log of a boot that was checked, with a record of it. Raise ConfigError if it cannot be written."""
    found = booted.state
    given = AuditKeys(
        booted.audit_root, config.install_id, booted.boot, found.boots, found.audit, config.audit.keep_mb << 20
    )
    detail: dict[str, str | int] = {
        "boot": booted.boot.hex(), "seal": found.seal, "key_version": found.key_version,
        "warnings": len(booted.warnings), **found.summary().detail(),
    }  # fmt: skip
    if booted.warnings:
        detail["warning"] = booted.warnings[0]
    return open_log(state, given, "resumed" if booted.is_resumed else "boot", detail, moment, randomness)
