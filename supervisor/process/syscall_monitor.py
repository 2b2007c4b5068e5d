"""The supervisor's watch over the system calls of one process: it takes the reports of the process's first filter.

The listener is offered over a socket pair that is made before the fork, before foreign code runs, and is taken as soon
as we come to it; until then its calls wait, and the process can neither seal itself nor pass attestation. From then on
every call that the policy kills, brokers or does not allow waits here for its answer: killed processes are killed, with
the call as the reason; brokered calls are carried out (`sandbox/seccomp/broker.py`); the others fail with EPERM. A
process that keeps trying is killed as well, and one that asks the broker too fast waits. Only structs that the kernel
filled are read here, and addresses of fixed layout; nothing that the process wrote is parsed.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tlsrt.rate_limit import Bucket
from tlsrt.sandbox.seccomp.broker import Broker, BrokerReply, Connecting, Made, Outcome
from tlsrt.sandbox.seccomp.notify import (
    Notification,
    answer_notification,
    answer_with_descriptor,
    receive_notification,
    replace_descriptor,
    still_waits,
    take_listener,
)
from tlsrt.sandbox.seccomp.program_sockets import ProgramSockets
from tlsrt.sandbox.seccomp.self_pair import Replacement
from tlsrt.supervisor.process.children import CallRules, Child
from tlsrt.supervisor.process.egress_account import UNLISTED
from tlsrt.supervisor.process.egress_wishes import EgressWishes, Wish
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.refusal_hints import hint_of

PER_WAKEUP = 16  # so that a process that floods does not hold up the others
REFUSED_BURST, REFUSED_PER_S = 64, 1.0  # more refused calls than this, and it is killed
BROKERED_BURST, BROKERED_PER_S = 256, 128.0  # more than this, and it waits; two for each connection
CONNECTING_MOST = 64
WAIT_S = 0.05
LONG_S, PAUSE_TIMES = 0.001, 4  # so a process that lets us wait takes a fifth of our time at most


@dataclass(frozen=True, slots=True)
class Violation:
    """A call that was not allowed; `ends` says that the process is to be killed for it.

    `wanted` is a host that no egress rule lists: no offence, but a question to the configuration.
    """

    call: str
    sentence: str
    ends: bool
    wanted: str = ""


class SyscallMonitor:
    """One process's reports, from before its fork to its end."""

    def __init__(
        self, event_loop: EventLoop, rules: CallRules, on_violation: Callable[[Violation], None],
        sockets: ProgramSockets | None = None,
    ) -> None:  # fmt: skip
        """`sockets` are those of a program."""
        self._event_loop = event_loop
        self._sockets = sockets
        self._rules = rules
        self._on_violation = on_violation
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        ours.setblocking(False)
        self._pair: socket.socket | None = ours
        self.child_end = theirs.detach()
        self._listener = -1
        self._broker: Broker | None = None
        self._connecting: dict[int, tuple[Notification, Connecting]] = {}
        self._refused = Bucket(REFUSED_BURST, REFUSED_PER_S)
        self._wishes = EgressWishes()
        replies_per_s = sockets.replies_per_s if sockets is not None else 0
        self._brokered = Bucket(max(BROKERED_BURST, 2 * replies_per_s), max(BROKERED_PER_S, replies_per_s))
        self._is_paused = False
        self._is_deserted = False

    @property
    def is_watching(self) -> bool:
        """Tell whether the listener has come."""
        if self._listener < 0:
            self._take()
        return self._listener >= 0

    def take_desertion(self) -> bool:
        """Tell, once, that the listener has hung up: no task is left under the filter, all have ended or soon will."""
        is_deserted, self._is_deserted = self._is_deserted, False
        return is_deserted

    def forked(self, child: Child | None) -> None:
        """Begin, after the fork; None says that there was none."""
        os.close(self.child_end)
        if child is None or self._pair is None:
            self.close()
            return
        rules = self._rules
        self._broker = Broker(
            child.pid,
            child.pidfd,
            rules.egress,
            rules.channel,
            rules.uid,
            rules.sockets,
            rules.names,
            rules.pins,
            rules.buses,
            rules.account,
            rules.door,
            most=resource.getrlimit(resource.RLIMIT_NOFILE)[0] * 3 // 4,  # of all processes together: the rest is ours
        )
        self._event_loop.watch(self._pair.fileno(), lambda events: self._take())

    def follow(self, rules: CallRules) -> None:
        """Go by other rules from the next call on."""
        self._rules = rules
        if self._broker is not None:
            self._broker = replace(
                self._broker, egress=rules.egress, names=rules.names, sockets=rules.sockets, buses=rules.buses,
                account=rules.account,
            )  # fmt: skip

    def close(self) -> None:
        """End: calls that still wait fail with ENOSYS."""
        self._close_pair()
        for _, connecting in self._connecting.values():
            self._event_loop.forget(connecting.socket.fileno())
            connecting.socket.close()
        self._connecting.clear()
        if self._listener >= 0:
            if not self._is_paused:
                self._event_loop.forget(self._listener)
            os.close(self._listener)
            self._listener = -1

    def _close_pair(self) -> None:
        if self._pair is not None:
            self._event_loop.forget(self._pair.fileno())
            self._pair.close()
            self._pair = None

    def _take(self) -> None:
        """Take the listener. Without one, the process will not pass attestation."""
        if self._pair is None or self._broker is None:
            return
        listener = take_listener(self._pair.fileno(), self._broker.pidfd)
        if listener is None:
            return
        self._close_pair()
        if listener >= 0:
            self._listener = listener
            self._event_loop.watch(listener, self._hear)

    def _hear(self, events: int) -> None:
        if not events & select.EPOLLIN:  # no task is left that could call
            self._is_deserted = True
            self.close()
            return
        for _ in range(PER_WAKEUP):
            if not _is_readable(self._listener):  # to receive would wait for the next call
                return
            call = receive_notification(self._listener)
            if call is not None:
                self._judge(call)
            if self._listener < 0 or self._is_paused:
                return

    def _judge(self, call: Notification) -> None:
        if call.call in self._rules.brokered and self._broker is not None:
            self._carry_out(call, self._broker)
        elif call.call in self._rules.killed:
            self._on_violation(Violation(call.call, f"{call}: no policy allows this call", ends=True))
        else:
            self._refuse(call, f"{call}{hint_of(call)}", errno.EPERM)

    def _refuse(self, call: Notification, what: str, error: int) -> None:
        is_enough = not self._refused.take(self._event_loop.now)
        suffix = f"; that was one of more than {REFUSED_BURST} refused calls" if is_enough else ""
        self._tell_and_answer(Violation(call.call, what + suffix, ends=is_enough), call, error)

    def _tell_and_answer(self, violation: Violation, call: Notification, error: int) -> None:
        """Refuse a call after it was told, so that nothing the process does next is heard of before."""
        self._on_violation(violation)
        if self._listener >= 0:  # else the process was ended for it
            answer_notification(self._listener, call, error=error)

    def _carry_out(self, call: Notification, broker: Broker) -> None:
        if not self._brokered.take(self._event_loop.now):
            self._pause()
        if len(self._connecting) >= CONNECTING_MOST:
            answer_notification(self._listener, call, error=errno.EAGAIN)
            return
        outcome = self._outcome(call, broker)
        if isinstance(outcome, Connecting):
            self._wait_for(call, outcome)
        elif isinstance(outcome, Made):
            with outcome.socket, self._unhurried():
                answer_with_descriptor(self._listener, call, outcome.socket.fileno())
        elif isinstance(outcome, Replacement):
            self._replace(call, outcome)
        elif outcome.wanted:
            self._deny(call, outcome)
        elif outcome.refused:
            self._refuse(call, outcome.refused, outcome.error)
        else:
            answer_notification(self._listener, call, value=outcome.value, error=outcome.error)

    def _outcome(self, call: Notification, broker: Broker) -> Outcome:
        def waits() -> bool:
            return still_waits(self._listener, call)

        return broker.carry_out(call, waits) if self._sockets is None else self._sockets.carry_out(call, broker, waits)

    def _deny(self, call: Notification, reply: BrokerReply) -> None:
        """Refuse a host that no rule lists: told once, and an offence only of who tries many different ones."""
        if self._rules.account is not None:
            self._rules.account.deny(UNLISTED, reply.wanted)
        wish = self._wishes.judge(reply.wanted, self._event_loop.now)
        sentence = f"connect to {reply.wanted}: no egress rule lists it"
        if wish is Wish.SCAN:
            self._refuse(call, f"{sentence}, nor many others that it tried", reply.error)
            return
        if wish is Wish.NEW:
            self._tell_and_answer(Violation(call.call, sentence, False, reply.wanted), call, reply.error)
        else:
            answer_notification(self._listener, call, error=reply.error)

    def _replace(self, call: Notification, replacement: Replacement) -> None:
        error = 0
        try:
            with self._unhurried():
                for number, ours in replacement.places:
                    replace_descriptor(self._listener, call, ours.fileno(), number)
        except OSError as failure:
            error = failure.errno or errno.EPERM
        finally:
            replacement.close()
        answer_notification(self._listener, call, error=error)

    def _wait_for(self, call: Notification, connecting: Connecting) -> None:
        descriptor = connecting.socket.fileno()
        self._connecting[descriptor] = (call, connecting)
        self._event_loop.watch(descriptor, lambda events: self._connected(descriptor), select.EPOLLOUT)

    def _connected(self, descriptor: int) -> None:
        call, connecting = self._connecting.pop(descriptor)
        self._event_loop.forget(descriptor)
        outcome = connecting.finish()
        answer_notification(self._listener, call, error=outcome.error)

    @contextmanager
    def _unhurried(self) -> Generator[None, None, None]:
        """Put off its next calls if the block took long: a task takes a descriptor only once it is scheduled."""
        began = time.monotonic()
        try:
            yield
        finally:
            took_s = time.monotonic() - began
            if took_s > LONG_S and not self._is_paused:
                self._pause(took_s * PAUSE_TIMES)

    def _pause(self, delay_s: float = WAIT_S) -> None:
        self._is_paused = True
        self._event_loop.forget(self._listener)
        self._event_loop.call_later(delay_s, self._resume)

    def _resume(self) -> None:
        if self._listener >= 0 and self._is_paused:
            self._is_paused = False
            self._event_loop.watch(self._listener, self._hear)


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return any(events & select.POLLIN for _, events in poll.poll(0))
