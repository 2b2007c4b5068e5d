"""The birth of one incarnation of a loop: its channels, its watch, its log, and the fork."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from tlsrt.channels.control.seqpacket import control_pair
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.launch.folders import roomy_log
from tlsrt.supervisor.launch.instance_lock import shared_lock
from tlsrt.supervisor.process.children import Common, LoopStart
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation
from tlsrt.supervisor.supervision.life_channel import LifeChannel
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.states import LoopEvent


class Starter:
    """Forks loops; no two incarnations of a life have the same number, whichever loop they are of."""

    def __init__(
        self, common: Common, listeners: Mapping[str, Mapping[str, int]],
        on_violation: Callable[[Loop, int, Violation], None],
    ) -> None:  # fmt: skip
        self._common = common
        self._listeners = listeners
        self._on_violation = on_violation
        self._incarnations = itertools.count(1)

    def prepare(self, member: Loop) -> None:
        """Make the trust pair of the next incarnation; an authority forked after this inherits its end."""
        member.authority_end, member.loop_end = control_pair()

    def give(self, member: Loop) -> str:
        """Fork a loop that is down, under the profile in force; return why it could not be forked, or an empty text.

        Afterwards the loop is SPAWNED, and has a child if it could be forked.
        """
        if member.loop_end < 0:
            self.prepare(member)
        member.move(LoopEvent.SPAWN)
        member.incarnation = next(self._incarnations)
        member.parts = self._common.parts
        member.spawned_at = self._common.reactor.now
        member.log = roomy_log(self._common.config, member.name, member.log, member.config.file_size_mb << 20)
        ours, theirs = control_pair()
        member.sentry = self._sentry(member)
        start = LoopStart(
            config=self._common.config,
            loop=member.name,
            incarnation=member.incarnation,
            life=theirs,
            trust=member.loop_end,
            listeners=self._listeners.get(member.name, {}),
            log=member.log,
            reports=member.sentry.child_end if member.sentry is not None else None,
        )
        member.life = LifeChannel(ours)
        problem = ""
        try:
            with shared_lock(self._common.lock) as share:
                body = partial(self._common.parts.loop_body, replace(start, keep=(share,)))
                member.child = self._common.parts.spawn(body, member.name)
        except (OSError, TlsrtError) as error:
            problem = f"cannot be forked: {error}"
        os.close(theirs)
        if member.sentry is not None:
            member.sentry.forked(member.child)
        os.close(member.loop_end)
        member.loop_end = -1
        if member.child is not None:
            self._common.events.emit(
                "spawned", member.name, pid=member.child.host_pid, incarnation=member.incarnation,
                restarts=member.restarts,
            )  # fmt: skip
        return problem

    def _sentry(self, member: Loop) -> SyscallMonitor | None:
        rules = self._common.parts.call_rules(member.name)
        if rules is None:
            return None
        return SyscallMonitor(self._common.reactor, rules, partial(self._on_violation, member, member.incarnation))
