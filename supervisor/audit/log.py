"""The audit log of a running authority: the recorder, its thread, and what the supervisor is told of them."""

from __future__ import annotations

from tlsrt.config.schema import Config
from tlsrt.supervisor.audit.group_commit import GroupCommit
from tlsrt.supervisor.audit.open import AuditKeys, OpenedLog, open_log
from tlsrt.supervisor.audit.record import STOPPED
from tlsrt.supervisor.audit.signer import Randomness
from tlsrt.supervisor.audit.writer import Done, Head
from tlsrt.supervisor.audit.writer_thread import WriterThread
from tlsrt.supervisor.authority.boot import Booted
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.authority.model.state import AuthorityState

FINISH_S = 2.0  # for the disk to take FINAL; without it the next life says that the log was cut


class AuditLog:
    """One life's log. Its thread is started here, so this comes after the seal."""

    def __init__(self, opened: OpenedLog, state: AuthorityState, outlet: Outgoing, now: int) -> None:
        self._outlet = outlet
        self._state = state
        state.audit = opened.sequence  # for whoever looks at the log after the state was written next
        self._thread = WriterThread(opened.writer)
        self.recorder = GroupCommit(self._thread, now, outlet.log)
        self.recorder.on_head = self._told_head
        self.recorder.on_problem = self._told_problem
        self.recorder.on_done = self._told_done
        self._first = opened.written
        self._told = (0, "")  # dropped records, and the problem

    def fileno(self) -> int:
        """Return the descriptor that is readable when something was written."""
        return self._thread.fileno()

    def begin(self) -> None:
        """Tell the supervisor, once it knows that this authority has booted, what its boot has written."""
        if self._first.head is not None:
            self._told_head(self._first.head)
        self._told_done(self._first)

    def finish(self, now: int, wall: int) -> None:
        """Write what waits, and FINAL."""
        self.recorder.note("stop", "authority", {}, now, wall)
        self._thread.give(self.recorder.rest(now, wall, STOPPED))
        if not self._thread.finish(FINISH_S):
            self._outlet.log("the audit log has no FINAL: its disk did not answer")

    def _told_head(self, head: Head) -> None:
        self._state.audit = head.sequence
        self._outlet.tell("checkpointed", head.file, head.size, head.root, head.sequence)

    def _told_done(self, done: Done) -> None:
        """Tell how the log stands: with each signed head, and when something is wrong that was not before."""
        now = (self.recorder.dropped, self.recorder.problem)
        if done.head is not None or now != self._told:
            self._told = now
            self._outlet.tell("audited", done.file, done.sequence, done.bytes, *now)

    def _told_problem(self, problem: str) -> None:
        self._outlet.log(problem or "the audit log is written again")
        self._outlet.tell("unrecorded", problem)


def open_audit(
    state: int, booted: Booted, config: Config, kind: str, now: int, wall: int, randomness: Randomness
) -> OpenedLog:
    """Open the log of a boot that was checked, with a record of it; raise ConfigError if it cannot be written."""
    found = booted.state
    given = AuditKeys(
        booted.audit_root, config.install_id, booted.boot, found.boots, found.audit, config.audit.keep_mb << 20
    )
    detail: dict[str, str | int] = {
        "boot": booted.boot.hex(), "epoch": found.epoch, "seal": found.seal, "key_version": found.key_version,
        "life": found.boots, "warnings": len(booted.warnings),
    }  # fmt: skip
    if booted.warnings:
        detail["warning"] = booted.warnings[0]
    return open_log(state, given, kind, detail, now, wall, randomness)
