"""Starter: the channels, the monitor, the log and the fork of one incarnation of a loop."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from tlsrt.channels.control.seqpacket import control_pair
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.process.children import LoopStart
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.instance_lock import shared_lock
from tlsrt.supervisor.process.logs import roomy_log
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.life_channel import LifeChannel
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.states import LoopEvent


class Starter:
    """Forks loops; no two incarnations of a life have the same number, whichever loop they are of."""

    def __init__(
        self, context: Context, listeners: Mapping[str, Mapping[str, int]], component_listeners: ComponentListeners,
        on_violation: Callable[[Loop, int, Violation], None],
    ) -> None:  # fmt: skip
        self._context = context
        self._listeners = listeners
        self._component_listeners = component_listeners
        self._on_violation = on_violation
        self._incarnations = itertools.count(1)

    def prepare(self, loop: Loop) -> None:
        """Make the trust pair of the next incarnation; an authority forked after this inherits its end."""
        loop.process.authority_end, loop.process.loop_end = control_pair()

    def start(self, loop: Loop) -> str:
        """Fork a loop that is down, under the profile in force; return why it could not be forked, or an empty text.

        Afterwards the loop is SPAWNED, and has a child if it could be forked.
        """
        if loop.process.loop_end < 0:
            self.prepare(loop)
        loop.move(LoopEvent.SPAWN)
        loop.incarnation = next(self._incarnations)
        loop.managed_by = self._context.current.children
        loop.spawned_at = self._context.event_loop.now
        loop.log = roomy_log(self._context.current.config, loop.name, loop.log, loop.config.file_size_mb << 20)
        ours, theirs = control_pair()
        loop.process.syscall_monitor = self._syscall_monitor(loop)
        say = partial(self._context.console.warning, loop.name)
        start = LoopStart(
            config=self._context.current.config,
            loop=loop.name,
            incarnation=loop.incarnation,
            life=theirs,
            trust=loop.process.loop_end,
            listeners={**self._listeners.get(loop.name, {}), **self._component_listeners.of(loop.name, say)},
            log=loop.log,
            reports=loop.process.syscall_monitor.child_end if loop.process.syscall_monitor is not None else None,
        )
        loop.process.life = LifeChannel(ours)
        problem = ""
        try:
            with shared_lock(self._context.lock) as share:
                loop.process.child = self._context.current.children.spawn_loop(replace(start, keep=(share,)))
        except (OSError, TlsrtError) as error:
            problem = f"cannot be forked: {error}"
        os.close(theirs)
        if loop.process.syscall_monitor is not None:
            loop.process.syscall_monitor.forked(loop.process.child)
        os.close(loop.process.loop_end)
        loop.process.loop_end = -1
        if loop.process.child is not None:
            self._context.events.emit(
                "spawned", loop.name, pid=loop.process.child.host_pid, incarnation=loop.incarnation,
                restarts=loop.restarts,
            )  # fmt: skip
        return problem

    def _syscall_monitor(self, loop: Loop) -> SyscallMonitor | None:
        rules = self._context.current.children.call_rules(loop.name)
        if rules is None:
            return None
        return SyscallMonitor(self._context.event_loop, rules, partial(self._on_violation, loop, loop.incarnation))
