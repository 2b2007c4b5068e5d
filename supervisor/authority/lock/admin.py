"""The operator's `lock` and `unlock`, as the supervisor passes them on to the authority. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlsrt.supervisor.authority.lock.host_lock import NOT_LOCKED, HostLock
from tlsrt.supervisor.authority.model.ports import Outgoing
from tlsrt.supervisor.messages.lock_record import LockRecord
from tlsrt.supervisor.messages.result_codes import ResultCode


class LockAdmin:
    """Answers the supervisor. Times are BOOTTIME in ms, but for `wall`."""

    def __init__(self, lock: HostLock, outlet: Outgoing) -> None:
        self._lock = lock
        self._outlet = outlet
        self.handlers: dict[str, Callable[[list[Any], int, int], None]] = {
            "lock": self._on_lock,
            "unlock": self._on_unlock,
        }

    def _on_lock(self, fields: list[Any], now: int, wall: int) -> None:
        """Lock with the id that the supervisor has chosen; answer when it is on the disk, or that it is not."""
        number, lock, reason, by, since = fields
        is_stored = self._lock.lock(LockRecord(lock, reason, by, since), now, wall)
        self._answer(number, ResultCode.DONE if is_stored else ResultCode.UNWRITTEN)

    def _on_unlock(self, fields: list[Any], now: int, wall: int) -> None:
        number, by = fields

        def done(problem: str) -> None:
            code = ResultCode.REFUSED if problem == NOT_LOCKED else ResultCode.UNCHANGED if problem else ResultCode.DONE
            self._answer(number, code, *([problem] if problem else []))

        self._lock.unlock(b"", by, now, wall, done)

    def _answer(self, number: int, code: ResultCode, *rows: object) -> None:
        self._outlet.tell("answer", number, int(code), 0, list(rows))
