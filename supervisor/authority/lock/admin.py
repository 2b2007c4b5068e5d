"""The operator's `lock` and `unlock`, as the supervisor passes them on to the authority. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlsrt.channels.control.authority_channel import LockMessage, UnlockMessage
from tlsrt.supervisor.authority.lock.host_lock import NOT_LOCKED, HostLock
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.messages.lock_record import LockRecord
from tlsrt.supervisor.messages.result_codes import ResultCode


class LockAdmin:
    """Answers the supervisor. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(self, lock: HostLock, outlet: Outgoing) -> None:
        self._lock = lock
        self._outlet = outlet
        self.handlers: dict[str, Callable[[Any, int, int], None]] = {
            "lock": self._on_lock,
            "unlock": self._on_unlock,
        }

    def _on_lock(self, message: LockMessage, now: int, wall: int) -> None:
        """Lock with the id that the supervisor has chosen; answer when it is on the disk, or that it is not."""
        record = LockRecord(message.lock, message.reason, message.by, message.since)
        is_stored = self._lock.lock(record, now, wall)
        self._answer(message.number, ResultCode.DONE if is_stored else ResultCode.UNWRITTEN)

    def _on_unlock(self, message: UnlockMessage, now: int, wall: int) -> None:
        def done(problem: str) -> None:
            code = ResultCode.REFUSED if problem == NOT_LOCKED else ResultCode.UNCHANGED if problem else ResultCode.DONE
            self._answer(message.number, code, *([problem] if problem else []))

        self._lock.unlock(b"", message.by, now, wall, done)

    def _answer(self, number: int, code: ResultCode, *rows: object) -> None:
        self._outlet.tell("answer", number, int(code), 0, list(rows))
