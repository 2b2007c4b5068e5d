"""Programs: the supervisor's side of what components have run.

A component asks with one integer; what runs, with which arguments and on which files, is decided by the configuration
and by the launcher in the new process. All that is read from either side here are integers and single letters. One
process is forked in a turn of the event loop, and so many a second for one process and for all. A flood is told `busy`;
processes that ask at the same time are served in turn, so that none waits for more than one run of each of the others.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from collections import defaultdict
from contextlib import suppress
from functools import partial
from typing import Any

from tlsrt.channels.control.life import LoopState
from tlsrt.channels.control.program_outcome import Outcome
from tlsrt.config.listeners import MOST_REPLIES_PER_S
from tlsrt.errors import TlsrtError
from tlsrt.sandbox.profile.program_profile import PlacedProgram
from tlsrt.sandbox.seccomp.program_sockets import NETLINK_PROTOCOLS, Place, ProgramSockets, place_of
from tlsrt.supervisor.process.attestation import differences_of
from tlsrt.supervisor.process.children import Child, LauncherWord, ProgramStart
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.exit_reason import Cause, ExitReason
from tlsrt.supervisor.process.signals import LINGER_S, send_signal
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation
from tlsrt.supervisor.process.undo_processes import UndoProcesses
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.program_run import Asker, ProgramRecord, ProgramRun, ProgramSlots
from tlsrt.supervisor.supervision.program_sockets import RunSockets
from tlsrt.supervisor.supervision.program_status import status_of
from tlsrt.supervisor.supervision.program_turns import ProgramTurns
from tlsrt.supervisor.supervision.state_watch import StateWatch
from tlsrt.supervisor.supervision.states import LIVING, LoopEvent
from tlsrt.supervisor.supervision.violations import wanted_sentence

_WORDS = {word.value: word for word in LauncherWord}
_ENDS = {LauncherWord.REFUSED: Outcome.REFUSED, LauncherWord.CHANGED: Outcome.CHANGED}


class Programs(Feature):
    """Forks programs, ends them with their components, and says how they ended."""

    def __init__(
        self, context: Context, loops: Loops, slots: ProgramSlots, listeners: ComponentListeners, undos: UndoProcesses
    ) -> None:
        self._context = context
        self._undos = undos
        self._listeners = listeners
        self._slots = slots
        self._loops = loops
        self._running: dict[str, ProgramRun] = {}  # by slot, from the request until nothing is left of the process
        self._turns = ProgramTurns(context.event_loop, self._serve)
        self._states = StateWatch(context)
        self._records = defaultdict[str, ProgramRecord](ProgramRecord)

    @property
    def children(self) -> list[Child]:
        """Return the processes that run now."""
        return [run.child for run in self._running.values() if run.child is not None]

    def document(self, process: str) -> list[dict[str, Any]]:
        """Return what status says about the programs of a process."""
        now, children = self._context.event_loop.now, self._context.current.children
        return [
            status_of(placed, self._records[placed.label], self._running.values(), now)
            for placed in (*children.programs_of(process), *children.proxies_of(process))
        ]

    # A request

    def program_asked(self, loop: Loop, number: int) -> None:
        """Judge a request: whose program, whether there is room, whether it is in time. `number` is untrusted."""
        children = loop.managed_by or self._context.current.children
        programs = children.programs_of(loop.name)
        if number >= len(programs):
            reason = f"life protocol: asked for program {number} of {len(programs)}"
            self._loops.kill(loop, LoopEvent.VIOLATED, reason, Cause.PROTOCOL)
            return
        placed = programs[number]
        slot = next((one for one in placed.slots if one not in self._running), None)
        is_old = children is not self._context.current.children  # its process is about to be replaced
        if is_old or slot is None or not self._turns.admit(loop.name):
            self._loops.tell(loop, "program_over", number, 0, int(Outcome.BUSY), 0)
            return
        self._queue(ProgramRun(loop, loop.incarnation, number, placed, slot, children))

    def begin(self, loop: Loop, placed: PlacedProgram, asker: Asker) -> bool:
        """Have a program run that no component asks for; tell whether it has its turn, as `asker` hears of its end."""
        children = loop.managed_by or self._context.current.children
        (slot,) = placed.slots
        if slot in self._running or slot not in children.profiles:
            return False
        self._queue(ProgramRun(loop, loop.incarnation, -1, placed, slot, children, asker))
        return True

    def _queue(self, run: ProgramRun) -> None:
        self._running[run.slot] = run
        self._turns.queue(run)

    def _serve(self, run: ProgramRun) -> None:
        """Fork what has its turn, if it is still to run."""
        if not self._is_wanted(run):
            self._refuse(run, Outcome.CANCELLED)
        elif run.children is not self._context.current.children:  # a reload came between
            self._refuse(run, Outcome.BUSY)
        elif problem := self._begin(run):
            if self._emit(run, "program_failed", problem):
                self._context.console.bad(run.placed.label, "failed", problem)
            self._records[run.placed.label].note(run, Outcome.FAILED, 0, problem)
            self._release(run)
            self._refuse(run, Outcome.FAILED)

    def _refuse(self, run: ProgramRun, outcome: Outcome) -> None:
        del self._running[run.slot]
        self._tell_over(run, outcome, 0, 0)

    def _tell_over(self, run: ProgramRun, outcome: Outcome, number: int, status: int) -> None:
        if run.asker is not None:
            run.asker.over(outcome)
        elif self._is_wanted(run):
            self._loops.tell(run.loop, "program_over", run.index, number, int(outcome), status)

    def _is_wanted(self, run: ProgramRun) -> bool:
        return run.loop.is_living and run.loop.incarnation == run.incarnation

    def _begin(self, run: ProgramRun) -> str:
        """Fork a launcher and hand its component the other ends. Return why there is no process."""
        record = self._records[run.placed.label]
        record.begun += 1
        run.number, run.begun_at = record.begun, self._context.event_loop.now
        sockets: RunSockets | None = None
        try:
            sockets = RunSockets(run.placed.program)
            run.leash, run.control, run.words = sockets.leash, sockets.control, sockets.words
            run.monitor = self._monitor(run, sockets)
            start = ProgramStart(
                run.slot, sockets.data.fileno(), run.loop.log if run.asker is not None else sockets.errors.fileno(),
                sockets.their_control.fileno(), sockets.log.fileno(),
                run.monitor.child_end if run.monitor is not None else None,
                sockets.talk.fileno() if sockets.talk is not None else None,
                run.passed,
            )  # fmt: skip
            try:
                run.child = run.children.spawn_program(start)
            finally:
                if run.monitor is not None:
                    run.monitor.forked(run.child)
            self._watch(run, run.child)
            self._hand_over(run, sockets)
        except (OSError, TlsrtError) as error:
            if run.child is None:
                return f"cannot be forked: {error}"
            self._kill(run, Outcome.FAILED, f"cannot be handed over: {error}")  # its end is that of a run
        finally:
            if sockets is not None:
                sockets.close_passed()
                run.notices = sockets.notices
        return ""

    def _hand_over(self, run: ProgramRun, sockets: RunSockets) -> None:
        """Give who asked for it the other ends."""
        if run.asker is not None:
            data, _, leash = sockets.given
            run.asker.handed(data, leash)
            return
        self._undos.hand_over(sockets.undo, run.placed.program.undo_s, run.placed.label)
        for kind, one in sockets.further:
            self._loops.tell(run.loop, "program_socket", run.index, run.number, int(kind), descriptors=[one.fileno()])
        descriptors = [one.fileno() for one in sockets.given]
        self._loops.tell(run.loop, "program", run.index, run.number, descriptors=descriptors)

    def _monitor(self, run: ProgramRun, sockets: RunSockets) -> SyscallMonitor | None:
        rules = run.children.call_rules(run.slot) if run.asker is None else run.asker.run_as
        if rules is None:
            return None
        if run.asker is not None:
            return SyscallMonitor(self._context.event_loop, rules, partial(self._violated, run))
        say = partial(self._context.console.warning, run.name)
        program = run.placed.program
        listeners = (
            self._listeners.of_program(run.placed.component.address, program.name, say) if program.listen else {}
        )
        places: dict[Place, int] = {}
        for one, number in listeners.items():
            run.listeners[one.asked.name] = copy = os.dup(number)
            places[place_of(one.asked.protocol, one.asked.host, one.asked.port)] = copy
        replying = frozenset(run.listeners[one.asked.name] for one in listeners if one.asked.replies)
        per_s = sum(one.asked.replies_per_s for one in listeners if one.asked.replies)
        netlink = frozenset(NETLINK_PROTOCOLS[one] for one in program.netlink)
        granted = ProgramSockets(sockets.notices, places, replying, min(per_s, MOST_REPLIES_PER_S), netlink)
        return SyscallMonitor(self._context.event_loop, rules, partial(self._violated, run), granted)

    def _watch(self, run: ProgramRun, child: Child) -> None:
        event_loop = self._context.event_loop
        assert run.control is not None
        assert run.leash is not None
        run.control.setblocking(False)
        event_loop.watch(child.pidfd, lambda events: self._ended(run))
        event_loop.watch(run.control.fileno(), lambda events: self._hear(run))
        event_loop.watch(run.leash.fileno(), lambda events: self._let_go(run, events), 0)
        self._states.watch(run, partial(self._kill, run, Outcome.STATE))
        seconds = run.placed.program.deadline_s
        if seconds is not None:
            late = partial(self._kill, run, Outcome.DEADLINE, f"not over in {seconds:g} s")
            run.deadline = event_loop.call_later(seconds, late)

    # What it says and does

    def _hear(self, run: ProgramRun) -> None:
        """Take one letter of a launcher, and look at one that is sealed."""
        if self._take_word(run) is LauncherWord.SEALED:
            self._look(run)

    def _take_word(self, run: ProgramRun) -> LauncherWord | None:
        """Return one letter of a launcher. The channel hangs up with the execve, or with the process."""
        if run.control is None:
            return None
        try:
            said = run.control.recv(2)
        except BlockingIOError:
            return None
        except OSError:
            said = b""
        word = _WORDS.get(said)
        if word is None:
            self._close_control(run)
            return None
        run.word = word
        return word

    def _look(self, run: ProgramRun) -> None:
        """Attest the process before anything of the component reaches it; one that is killed differs without blame."""
        if run.child is None or run.control is None or run.outcome is not None:
            return
        differences = differences_of(run.slot, run.child, run.children, run.monitor)
        if differences:
            self._context.events.emit("difference", run.placed.label, differences[0])
            self._kill(run, Outcome.FAILED, f"attestation: {'; '.join(differences)}")
            return
        with suppress(OSError):  # it has ended, which its pidfd tells
            run.control.send(LauncherWord.GO.value, socket.MSG_NOSIGNAL)

    def _violated(self, run: ProgramRun, violation: Violation) -> None:
        """End a program for a call that none may make, and tell of one that was refused; most are without a report."""
        if not violation.ends:
            sentence = violation.sentence
            if violation.wanted:
                sentence = wanted_sentence(run.placed.label, violation.wanted)
            if self._emit(run, "program_refused", sentence, call=violation.call):
                self._context.console.warning(run.name, sentence)
            return
        pid = run.child.host_pid if run.child is not None else 0
        if self._emit(run, "program_forbidden", violation.sentence, call=violation.call):
            self._context.console.bad(run.name, "killed", f"{violation.sentence} (pid {pid})")
        self._kill(run, Outcome.FORBIDDEN, violation.sentence)

    def _let_go(self, run: ProgramRun, events: int) -> None:
        """End a run that its component does not want any more, a kept one by a signal that it can answer."""
        if not events & (select.EPOLLHUP | select.EPOLLERR) or run.leash is None:
            return
        kill = partial(self._kill, run, Outcome.CANCELLED, "its component has let go of it")
        if run.child is None or not run.placed.program.is_kept or run.word is not LauncherWord.EXECUTING:
            kill()
            return
        self._context.event_loop.forget(run.leash.fileno())
        program = run.placed.program
        send_signal(run.child, signal.Signals[f"SIG{program.stop_signal}"])
        run.deadline = self._context.event_loop.call_later(program.stop_seconds, kill)

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        """End the programs of a process that is no more, or is being killed: at once, whatever it does meanwhile."""
        if loop.state in LIVING and event not in (LoopEvent.VIOLATED, LoopEvent.REFUSED, LoopEvent.HUNG):
            return
        for run in self._running.values():
            if run.loop is loop and run.incarnation == loop.incarnation:
                self._kill(run, Outcome.CANCELLED, f"{loop.name} has ended")

    # The end

    def _kill(self, run: ProgramRun, outcome: Outcome, why: str) -> None:
        """Kill all that belongs to a run; the first reason counts."""
        if run.child is None or run.outcome is not None:
            return
        run.outcome, run.why = outcome, why
        if outcome is Outcome.FORBIDDEN:
            run.children.freeze(run.slot)
        send_signal(run.child, signal.SIGKILL)
        run.children.clear(run.slot)

    def _ended(self, run: ProgramRun) -> None:
        if run.child is None:
            return
        reason = run.children.reap(run.child)
        if reason is None:
            return
        self._take_word(run)  # its last one may lie there
        outcome, status = self._outcome(run, reason)
        self._note(run, outcome, reason)
        self._context.event_loop.forget(run.child.pidfd)
        os.close(run.child.pidfd)
        run.child = None
        self._release(run)
        self._clear(run, outcome, status)

    def _outcome(self, run: ProgramRun, reason: ExitReason) -> tuple[Outcome, int]:
        if run.outcome is not None:
            return run.outcome, 0
        if run.children.oom_kills(run.slot):
            return Outcome.MEMORY, 0
        if run.word is not LauncherWord.EXECUTING:
            return _ENDS.get(run.word or LauncherWord.FAILED, Outcome.FAILED), 0
        if reason.signal is not None:
            is_forbidden = reason.signal == signal.SIGSYS
            return (Outcome.FORBIDDEN, 0) if is_forbidden else (Outcome.SIGNALLED, reason.signal)
        return Outcome.ENDED, reason.code or 0

    def _note(self, run: ProgramRun, outcome: Outcome, reason: ExitReason) -> None:
        is_good = outcome in (Outcome.ENDED, Outcome.CANCELLED)
        sentence = run.sentence(outcome, reason)
        self._records[run.placed.label].note(run, outcome, reason.code or 0, sentence)
        is_told = self._emit(run, "program_ended" if is_good else "program_failed", sentence, status=reason.code)
        if is_told and outcome is Outcome.FAILED:
            self._context.console.bad(run.name, "failed", sentence)

    def _emit(self, run: ProgramRun, name: str, sentence: str, **facts: object) -> bool:
        """Emit an event about a run, unless there were too many of its program; then the next one says how many."""
        record = self._records[run.placed.label]
        now = self._context.event_loop.now
        if not record.events.take(now):
            record.untold += 1
            return False
        untold, record.untold = record.untold, 0
        served_s = round(now - run.begun_at, 3)
        self._context.events.emit(
            name, run.placed.label, sentence, number=run.number, served_s=served_s, untold=untold, **facts
        )
        return True

    def _clear(self, run: ProgramRun, outcome: Outcome, status: int) -> None:
        """Give the slot back when nothing is left: the next run never meets what the last one made. Then say so."""
        if not run.children.clear(run.slot):
            self._context.event_loop.call_later(LINGER_S, partial(self._clear, run, outcome, status))
            return
        del self._running[run.slot]
        self._tell_over(run, outcome, run.number, status)
        if run.slot not in self._context.current.children.profiles:
            self.sweep()

    def sweep(self) -> None:
        """Let go of slots that are in no configuration any more; a reload that has ended calls this, too."""
        self._slots.sweep(self._running.keys())

    def _release(self, run: ProgramRun) -> None:
        if run.deadline is not None:
            run.deadline.cancel()
        if run.monitor is not None:
            run.monitor.close()
        self._close_control(run)
        if run.leash is not None:
            self._context.event_loop.forget(run.leash.fileno())
            run.leash.close()
            run.leash = None
        run.close_sockets()

    def _close_control(self, run: ProgramRun) -> None:
        if run.control is not None:
            self._context.event_loop.forget(run.control.fileno())
            run.control.close()
            run.control = None
