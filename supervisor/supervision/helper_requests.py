"""What processes ask the helper for: kernel settings, which the audit log has before they are written.

A process says numbers only: which of its grants, and the value. The component's own code keeps to the range before it
asks, so what comes from outside it is said by a process that does not run that code any more, and ends it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tlsrt.channels.control.life import (
    SETTINGS_AT_ONCE,
    SETTINGS_PER_S,
    SETTINGS_WAITING,
    AskMessage,
    AskOutcome,
    AskWhat,
)
from tlsrt.config.host_settings import SettingConfig
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Buckets
from tlsrt.supervisor.messages.result_codes import ResultCode
from tlsrt.supervisor.process.host_paths import Found, find_setting
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.devices import Devices
from tlsrt.supervisor.supervision.feature import Answer, Feature, LoopHandler, Reply
from tlsrt.supervisor.supervision.helper_process import AWAY, GONE, HUNG, HelperProcess
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops


class AuditRequests(Protocol):
    """The way to the audit log, through the authority."""

    def ask(self, reply: Reply, document: Callable[[int, list[Any]], Answer], name: str, *fields: object) -> None: ...


@dataclass(frozen=True, slots=True)
class _Asked:
    """One change of a setting on its way."""

    loop: Loop
    incarnation: int
    number: int
    component: str
    setting: SettingConfig
    value: int
    found: Found


class HelperRequests(Feature):
    """Takes `ask` of all processes."""

    def __init__(
        self, context: Context, loops: Loops, helper: HelperProcess, devices: Devices, audit: AuditRequests
    ) -> None:
        self._context = context
        self._loops = loops
        self._helper = helper
        self._devices = devices
        self._audit = audit
        self._rates = Buckets(SETTINGS_AT_ONCE, SETTINGS_PER_S)
        self._waiting: dict[str, int] = {}  # process -> changes that are not answered

    def loop_messages(self) -> Mapping[str, LoopHandler]:
        return {"ask": self._asked}

    def _asked(self, loop: Loop, message: AskMessage) -> None:
        if loop.managed_by is not self._context.current.children:
            self._answer(loop, message.number, AskOutcome.BUSY)  # it counts the grants of the configuration before
        elif message.what == AskWhat.DEVICE_LOST:
            self._devices.lost_untrusted(loop, message.grant)
        elif message.what == AskWhat.SET:
            self._set_untrusted(loop, message)
        else:
            raise PeerError("asks_for_nothing")

    def _set_untrusted(self, loop: Loop, message: AskMessage) -> None:
        """Begin to write a setting; raises PeerError for one that this process has not, or a number out of range."""
        granted = self._context.current.config.host_settings_of(loop.name)
        if message.grant >= len(granted):
            raise PeerError("no_such_setting")
        component, setting = granted[message.grant]
        if not setting.values.has(message.value):
            raise PeerError("setting_out_of_range")
        waiting = self._waiting.get(loop.name, 0)
        if waiting >= SETTINGS_WAITING or not self._rates.take(loop.name, self._context.event_loop.now):
            self._answer(loop, message.number, AskOutcome.BUSY)
            return
        if not self._helper.is_attested:
            self._answer(loop, message.number, AskOutcome.BUSY)
            return
        try:
            found = find_setting(setting.path)
        except OSError as error:
            self._failed(loop, component.address, setting, error)
            self._answer(loop, message.number, AskOutcome.FAILED, error.errno or errno.EIO)
            return
        asked = _Asked(loop, loop.incarnation, message.number, component.address, setting, message.value, found)
        self._waiting[loop.name] = waiting + 1
        self._audit.ask(
            lambda answer: self._recorded(asked, answer), lambda code, rows: {"code": code}, "setting",
            component.address, found.path, message.value,
        )  # fmt: skip

    def _recorded(self, asked: _Asked, answer: Answer) -> None:
        """Have it written, now that the log has it; or not, if it has not."""
        is_same = asked.loop.incarnation == asked.incarnation and asked.loop.is_living
        if answer.get("code") != ResultCode.DONE or not is_same:
            self._end(asked, AskOutcome.UNRECORDED)
            return
        self._helper.write(asked.found.descriptor, asked.value, lambda error, device: self._written(asked, error))

    def _written(self, asked: _Asked, error: int) -> None:
        words = f"{asked.component}: {asked.value} to {asked.found.path}"
        if error == 0:
            self._context.events.emit("setting_written", asked.loop.name, words)
            self._end(asked, AskOutcome.DONE)
        elif error == AWAY:
            self._context.events.emit("setting_failed", asked.loop.name, f"{words}: there is no helper now")
            self._end(asked, AskOutcome.BUSY)
        elif error in (GONE, HUNG):
            self._context.events.emit("setting_failed", asked.loop.name, f"{words}: the helper ended over it")
            self._end(asked, AskOutcome.UNKNOWN)
        else:
            self._context.events.emit("setting_failed", asked.loop.name, f"{words}: {os.strerror(error)}")
            self._end(asked, AskOutcome.FAILED, error)

    def _failed(self, loop: Loop, component: str, setting: SettingConfig, error: OSError) -> None:
        self._context.events.emit("setting_failed", loop.name, f"{component}: {setting.path}: {error.strerror}")

    def _end(self, asked: _Asked, outcome: AskOutcome, error: int = 0) -> None:
        os.close(asked.found.descriptor)
        self._waiting[asked.loop.name] -= 1
        if asked.loop.incarnation == asked.incarnation:
            self._answer(asked.loop, asked.number, outcome, error)

    def _answer(self, loop: Loop, number: int, outcome: AskOutcome, error: int = 0) -> None:
        self._loops.tell(loop, "helped", number, int(outcome), error)
