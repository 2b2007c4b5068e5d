"""What processes ask the helpers for: settings, which the audit log has before they are made, and undone at the end.

A process says numbers only: which of its grants, and the value. The component's own code keeps to the range before it
asks, so what comes from outside it is said by a process that does not run that code any more, and ends it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from tlsrt.channels.control.life import (
    SETTINGS_AT_ONCE,
    SETTINGS_PER_S,
    SETTINGS_WAITING,
    AskMessage,
    AskOutcome,
    AskWhat,
    LoopState,
)
from tlsrt.config.host_settings import SettingConfig
from tlsrt.errors import PeerError
from tlsrt.supervisor.supervision.asks import Asks, AuditRequests
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.devices import Devices
from tlsrt.supervisor.supervision.effects import Effect, effect_of
from tlsrt.supervisor.supervision.feature import Feature, LoopHandler
from tlsrt.supervisor.supervision.helper_process import AWAY, GONE, HUNG, HelperProcess, NetworkHelperProcess
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import LoopEvent
from tlsrt.supervisor.supervision.undoing import Undoing


@dataclass(frozen=True, slots=True)
class _Asked:
    """One change of a setting on its way."""

    loop: Loop
    incarnation: int
    message: AskMessage
    component: str
    setting: SettingConfig
    effect: Effect
    helper: HelperProcess
    words: str  # who, what and where, for events
    ordinal: int  # of what was set last before


class HelperRequests(Feature):
    """Takes `ask` of all processes."""

    def __init__(
        self, context: Context, loops: Loops, helper: HelperProcess, network: NetworkHelperProcess, devices: Devices,
        audit: AuditRequests,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._helper = helper
        self._network = network
        self._devices = devices
        self._asks = Asks(
            context, audit, "setting", waiting=SETTINGS_WAITING, at_once=SETTINGS_AT_ONCE, per_s=SETTINGS_PER_S
        )
        self.undoing = self._undoing = Undoing(context, network, self._record_only)

    def loop_messages(self) -> Mapping[str, LoopHandler]:
        return {"ask": self._asked}

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        if not loop.is_living:
            self._undoing.ended(loop.name)

    def _asked(self, loop: Loop, message: AskMessage) -> None:
        if loop.managed_by is not self._context.current.children:
            self._answer(loop, message.number, AskOutcome.BUSY)  # it counts the grants of the configuration before
        elif message.what == AskWhat.DEVICE_LOST:
            self._devices.lost_untrusted(loop, message.grant)
        elif message.what in (AskWhat.SET, AskWhat.UNSET):
            self._set_untrusted(loop, message)
        else:
            raise PeerError("asks_for_nothing")

    def _set_untrusted(self, loop: Loop, message: AskMessage) -> None:
        """Begin to change a setting; raises PeerError for one that this process has not, or a number out of range."""
        granted = self._context.current.config.host_settings_of(loop.name)
        if message.grant >= len(granted):
            raise PeerError("no_such_setting")
        component, setting = granted[message.grant]
        number, removes = message.high << 64 | message.value, message.what == AskWhat.UNSET
        if not setting.accepts.has(number) or message.choice >= setting.choices:
            raise PeerError("setting_out_of_range")
        if removes and setting.reversible is None:
            raise PeerError("setting_cannot_be_unset")
        helper = self._network if setting.is_network else self._helper
        is_busy = not self._asks.admits(loop)
        ends = setting.reversible is not None and not setting.reversible.keep and not removes
        key = component.address, setting.name, number, message.choice
        if is_busy or not helper.is_attested or (ends and self._undoing.is_full(loop.name, key)):
            self._answer(loop, message.number, AskOutcome.BUSY)
            return
        try:
            effect = effect_of(setting, number, message.choice, removes=removes)
        except OSError as error:
            words = f"{component.address}: {setting.about}: {error.strerror}"
            self._context.events.emit("setting_failed", loop.name, words)
            self._answer(loop, message.number, AskOutcome.FAILED, error.errno or errno.EIO)
            return
        words = f"{component.address}: {effect.words or effect.number} to {effect.place}"
        before = self._undoing.ordinal
        asked = _Asked(loop, loop.incarnation, message, component.address, setting, effect, helper, words, before)
        if ends:
            self._undoing.begun(loop.name, component.address, setting, number, message.choice)
        fields = component.address, effect.place, effect.number, effect.words
        self._asks.record(loop, partial(self._recorded, asked), *fields)

    def _record_only(self, component: str, place: str, words: str) -> None:
        self._asks.record_only(component, place, 0, words)

    def _recorded(self, asked: _Asked, is_recorded: bool) -> None:
        """Have it made, now that the log has it; or not, if it has not."""
        if not is_recorded:
            self._end(asked, AskOutcome.UNRECORDED)
            return
        asked.effect.send(asked.helper, lambda error, device: self._made(asked, error))

    def _made(self, asked: _Asked, error: int) -> None:
        emit, process = self._context.events.emit, asked.loop.name
        if error == 0:
            emit("setting_written", process, asked.words)
            self._end(asked, AskOutcome.DONE)
        elif error == AWAY:
            emit("setting_failed", process, f"{asked.words}: there is no helper now")
            self._end(asked, AskOutcome.BUSY)
        elif error in (GONE, HUNG):
            emit("setting_failed", process, f"{asked.words}: the helper ended over it")
            self._end(asked, AskOutcome.UNKNOWN)
        else:
            emit("setting_failed", process, f"{asked.words}: {os.strerror(error)}")
            self._end(asked, AskOutcome.FAILED, error)

    def _end(self, asked: _Asked, outcome: AskOutcome, error: int = 0) -> None:
        asked.effect.close()
        self._asks.ended(asked.loop)
        if asked.loop.incarnation == asked.incarnation:
            self._answer(asked.loop, asked.message.number, outcome, error)
        if outcome is AskOutcome.DONE and asked.message.what == AskWhat.UNSET:
            number = asked.message.high << 64 | asked.message.value
            key = asked.component, asked.setting.name, number, asked.message.choice
            self._undoing.undone(asked.loop.name, key, asked.ordinal)
        if not asked.loop.is_living:
            self._undoing.ended(asked.loop.name)  # it ended while this was made

    def _answer(self, loop: Loop, number: int, outcome: AskOutcome, error: int = 0) -> None:
        self._loops.tell(loop, "helped", number, int(outcome), error)
