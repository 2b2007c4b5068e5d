"""Undoing: what a process has set and does not keep is taken back when it has ended.

What it has set is known from the request on, before it is made: what may have been made is removed, and to remove what
is not there does no harm. A stop waits for the end of it, for a time; then `give_up` says what is left. A supervisor
that is killed undoes nothing.
"""

from __future__ import annotations

import errno
import os
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tlsrt.config.host_settings import SettingConfig
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.effects import effect_of
from tlsrt.supervisor.supervision.helper_process import NetworkHelperProcess

SET_MAX = 1024  # effects of one process that are not kept
TRIES = 3  # of an undo for which there was no helper, or too little of the host
AGAIN_S = 1.0
Record = Callable[[str, str, str], None]  # component, place and words: nothing waits for what is recorded
Key = tuple[str, str, int, int]  # component, setting, number, choice


@dataclass(frozen=True, slots=True)
class _Known:
    """Something that a process has set."""

    setting: SettingConfig
    until: float  # in the clock of the event loop
    ordinal: int


@dataclass(slots=True, eq=False)
class _Leaving:
    """What a process has left to undo; the first of it is being undone."""

    process: str
    left: deque[tuple[Key, SettingConfig]]
    tries: int = TRIES
    is_given_up: bool = False


class Undoing:
    """The effects of all processes that end with them."""

    def __init__(self, context: Context, network: NetworkHelperProcess, record: Record) -> None:
        self._context = context
        self._network = network
        self._record = record
        self._set: dict[str, dict[Key, _Known]] = {}
        self._leaving: list[_Leaving] = []
        self.on_done: list[Callable[[], None]] = []  # who waits until nothing is left to undo
        self.ordinal = 0  # of the last that was begun

    def begun(self, process: str, component: str, setting: SettingConfig, number: int, choice: int) -> None:
        """Take note of what is about to be made."""
        timeout_s = setting.nft_set.timeout_s if setting.nft_set is not None else 0
        until = self._context.event_loop.now + timeout_s + AGAIN_S if timeout_s else float("inf")
        if process not in self._set:
            self._set[process] = {}
            self._network.hold()  # as long as there may be something to undo
        self.ordinal += 1
        self._set[process][component, setting.name, number, choice] = _Known(setting, until, self.ordinal)

    def undone(self, process: str, key: Key, ordinal: int) -> None:
        """Take note that a process has undone something itself, asked when `ordinal` was the last begun."""
        known = self._set.get(process, {})
        if key in known and known[key].ordinal <= ordinal:  # else it was set again since
            del known[key]

    def is_full(self, process: str, key: Key) -> bool:
        """Tell whether a process has set as much as is remembered of it, and this is something else."""
        known = self._set.get(process, {})
        if len(known) < SET_MAX or key in known:
            return False
        now = self._context.event_loop.now
        for key in [key for key, one in known.items() if one.until < now]:
            del known[key]
        return len(known) >= SET_MAX

    def ended(self, process: str) -> None:
        """Undo what a process has set that has ended."""
        known = self._set.pop(process, None)
        if known is None:
            return
        now = self._context.event_loop.now
        left = deque((key, one.setting) for key, one in known.items() if one.until >= now)
        self._leaving.append(_Leaving(process, left))
        self._next(self._leaving[-1])

    @property
    def is_busy(self) -> bool:
        return self._leaving != []

    def give_up(self, why: str) -> str:
        """Undo nothing more, and tell the log and the events of each setting what is left; return it in words."""
        left = Counter((one.process, key[0], setting) for one in self._leaving for key, setting in one.left)
        for one in self._leaving:
            one.is_given_up = True
        self._leaving.clear()
        for (process, component, setting), count in left.items():
            self._say(process, component, setting, f"{count} of it: {why}")
            self._record(component, setting.about, f"not undone: {count} of it, as {why}")
        return ", ".join(f"{count} of {component}: {setting.about}" for (_, component, setting), count in left.items())

    def _next(self, leaving: _Leaving) -> None:
        """Undo the first one that is left, and the others after it."""
        if leaving.is_given_up:
            return
        process, left = leaving.process, leaving.left
        while left and self._is_set_again(process, *left[0]):
            left.popleft()
        if not left:
            self._leaving.remove(leaving)
            self._network.release()
            for hear in () if self.is_busy else self.on_done:
                hear()
            return
        key, setting = left[0]
        component, _, number, choice = key

        def ended(error: int, device: int) -> None:
            effect.close()
            go_on(error, error < 0)

        def go_on(error: int, is_passing: bool) -> None:
            if leaving.is_given_up:
                return
            if is_passing and leaving.tries > 1:
                leaving.tries -= 1
                self._context.event_loop.call_later(AGAIN_S, partial(self._next, leaving))
                return
            if error:
                self._say(process, component, setting, os.strerror(error) if error > 0 else "there is no helper")
            left.popleft()
            leaving.tries = TRIES
            self._context.event_loop.call_later(0, partial(self._next, leaving))

        try:
            effect = effect_of(setting, number, choice, removes=True)
        except OSError as error:
            has_gone = error.errno in (errno.ENODEV, errno.ENXIO)  # its device, and the route with it
            go_on(0 if has_gone else error.errno or errno.EIO, not has_gone)
            return
        self._record(component, effect.place, effect.words)
        effect.send(self._network, ended)

    def _is_set_again(self, process: str, key: Key, setting: SettingConfig) -> bool:
        """Tell whether the process that came after it has set the same: then that one's end undoes it."""
        known = self._set.get(process, {}).get(key)
        return known is not None and known.setting == setting

    def _say(self, process: str, component: str, setting: SettingConfig, why: str) -> None:
        self._context.events.emit("setting_failed", process, f"{component}: {setting.about}: cannot undo it: {why}")
