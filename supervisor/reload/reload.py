"""`reload`: take a changed configuration while the host runs, as a transaction.

Everything that can be wrong is found before anything changes: the file is read, profiles and filters are made, the
host is measured again (in a child: heartbeats are judged meanwhile), and the authority checks boot token and seal
number exactly as at the boot. Any trouble until then ends with sentences, and the old state stays. Then the new state
is taken as a whole, and `rollout.py` carries it out.

One reload at a time; a request meanwhile gets the next one, which reads the file anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgpack

from tlsrt.channels.control.authority_channel import CheckedMessage, MovedMessage
from tlsrt.channels.control.authority_requests import ONLY_ADDS
from tlsrt.config.fixed_keys import taken_keys
from tlsrt.errors import ConfigError
from tlsrt.supervisor.messages.changed_rules import pack_rules, rules_of
from tlsrt.supervisor.process.children import remove_new
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.reload import report
from tlsrt.supervisor.reload.additions import Additions
from tlsrt.supervisor.reload.background_measurement import BackgroundMeasurement, packed_survey, refusal, survey_of
from tlsrt.supervisor.reload.decision import ChangedCode, found_in, measured_again, steps_between
from tlsrt.supervisor.reload.plan import ReloadStep, Way, configuration, needs_move, only_adds
from tlsrt.supervisor.reload.report import LoopReport
from tlsrt.supervisor.reload.rollout import Rollout, adopt
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context, Reading, Reloadable, Renewal
from tlsrt.supervisor.supervision.feature import Answer, ControlVerb, Feature, MessageHandler, Reply
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers
from tlsrt.supervisor.supervision.programs import Programs
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.running_changes import RunningChanges

NAME = "reload"
_MORE = (
    "files of the door have changed, and so has the configuration or a profile, which is taken only on "
    "request: `tlsrt-supervisor reload` takes all of it"
)
CHECK_S = 60.0  # to measure and to check; a file system that hangs must not hold up the next reload for ever


class Reload(Feature):
    """All reloads of one life. `read` reads the configuration."""

    def __init__(
        self, context: Context, loops: Loops, restarter: Restarter, authority: AuthorityProcess,
        changes: RunningChanges, listeners: ComponentListeners, programs: Programs,
        read: Callable[[Reloadable], Reading] | None,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._restarter = restarter
        self._authority = authority
        self._changes = changes
        self._listeners = listeners
        self._programs = programs
        self._read_config = read
        self._pending = PendingAnswers[bool](context.event_loop)  # whether more is asked for than the files of the door
        self._running: list[int] = []  # the answers that the running reload owes
        self._number = 0
        self._door_only = False  # no request is for more than the files of the door
        self._known: tuple[str, ...] = ()  # refusals that were said before
        self._has_ended = False
        self._steps: tuple[ReloadStep, ...] = ()
        self._new_policy = False
        self._moves = False  # the epoch: for changed profiles or another policy
        self._settings: list[str] = []  # keys of the configuration that are taken, and that are told nowhere else
        self._door = ""  # what changes at the door
        self._warnings: list[str] = []
        self._renewal: Renewal | None = None
        self._measurer: BackgroundMeasurement | None = None
        self._timer: Timer | None = None
        self._held: list[int] = []  # boot token and measurement, until they are taken
        self._additions: Additions | None = None
        self._rollout: Rollout | None = None

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"checked": self._checked, "moved": self._epoch_moved}

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"reload": ControlVerb(lambda request, reply: self.ask(reply))}

    def ask(self, reply: Reply) -> None:
        """Reload, now or after the running one; `reply` gets the report, or `refused` with sentences."""
        self._pending.hold(reply, True)
        self._next()

    def ask_door(self, reply: Reply, known: Sequence[str]) -> None:
        """Reload files of the door if nothing else has changed; do not repeat a `known` refusal."""
        self._pending.hold(reply, False)
        self._known = tuple(known)
        self._next()

    def authority_booted(self) -> None:
        if self._rollout is not None:
            self._rollout.authority_booted()

    def loop_changed(self, loop: Loop) -> None:
        if self._rollout is not None:
            self._rollout.loop_changed(loop)

    def stopping(self) -> None:
        self._has_ended = True
        if self._measurer is not None:
            self._measurer.cancel()
        if self._rollout is not None:
            self._rollout.cancel()
        self._clear()
        self._pending.answer_all({"error": "stopping"})

    def go_on(self) -> None:
        """Begin what was asked for meanwhile: another change has ended."""
        self._next()

    def _next(self) -> None:
        if self._has_ended:
            self.stopping()
        if self._changes.is_reloading or not self._pending:
            return
        self._running = [number for number, _ in self._pending.items()]
        self._door_only = not any(wants_all for _, wants_all in self._pending.items())
        self._changes.is_reloading = True
        self._number += 1
        if not self._is_again:
            self._context.events.emit("reloading", "supervisor")
        self._carefully(self._read)

    @property
    def _is_again(self) -> bool:
        """Whether this is tried again by itself, after a refusal that was said."""
        return self._door_only and bool(self._known)

    # Before anything changes

    def _carefully(self, step: Callable[[], None]) -> None:
        """Take a step that may be refused."""
        try:
            step()
        except Exception as error:
            self._refuse(refusal(error))

    def _read(self) -> None:
        if self._read_config is None or not self._authority.is_booted:
            raise ConfigError("tlsrt has not started yet: try again when it says that it is ready")
        if self._changes.is_rekeying:
            raise ConfigError("master_key is being rotated: reload again when that is done")
        reading = self._read_config(self._context.current)
        if (survey := reading.survey) is None:
            self._made(reading.renewal({}))
            return
        self._in_background(
            f"the packages of components could not be looked through in {CHECK_S:g} s",
            lambda: packed_survey(survey),
            lambda result: self._carefully(lambda: self._made(reading.renewal(survey_of(result)))),
        )

    def _made(self, renewal: Renewal) -> None:
        """Go on with what was read and can be confined: decide, and measure the host."""
        self._renewal = renewal
        self._warnings = list(renewal.warnings)
        self._new_policy = renewal.config.policy != self._context.current.config.policy
        self._settings = taken_keys(self._context.current.config, renewal.config)
        self._plan()
        measured = self._authority.files.measurement
        before = _entries(os.pread(measured, os.fstat(measured).st_size, 0))
        self._in_background(
            f"the host could not be measured and checked in {CHECK_S:g} s",
            lambda: measured_again(self._context.current, renewal, before),
            self._measured,
        )

    def _in_background(
        self, late: str, look: Callable[[], dict[str, bytes]], on_done: Callable[[bytes | ConfigError], None]
    ) -> None:  # fmt: skip
        """Have a child look at files, and go on with what it has found; say that it is `late`."""
        if self._timer is not None:
            self._timer.cancel()

        def done(result: bytes | ConfigError) -> None:
            self._measurer = None
            on_done(result)

        self._measurer = BackgroundMeasurement(self._context.event_loop, look, done)
        self._timer = self._context.event_loop.call_later(CHECK_S, lambda: self._too_slow(late))

    def _plan(self, changed: Collection[str] = ()) -> None:
        """Decide what happens to each process; the code of some of them has `changed`."""
        assert self._renewal is not None
        stopped = [loop.name for loop in self._loops.all if self._loops.restart_policy.is_stopped(loop.name)]
        self._steps = steps_between(self._context.current, self._renewal, self._loops.all, changed, stopped)
        self._moves = self._new_policy or needs_move(self._steps)

    def _too_slow(self, late: str) -> None:
        if self._measurer is not None:
            self._measurer.cancel()
        self._refuse([f"{late}, so nothing was changed: reload again when the disk has less to do"])

    def _measured(self, result: bytes | ConfigError) -> None:
        if isinstance(result, ConfigError):
            self._refuse(result.problems)
            return
        self._carefully(lambda: self._ask_authority(*found_in(result)))

    def _ask_authority(self, measurement: bytes, found: ChangedCode) -> None:
        assert self._renewal is not None
        entries = _entries(measurement)
        read = self._renewal.digests
        if {"config": read["config"], **configuration(entries)} != read:
            raise ConfigError("the configuration was changed while it was read: reload again")
        measured = self._authority.files.measurement
        before = _entries(os.pread(measured, os.fstat(measured).st_size, 0))
        self._plan(found.processes)
        if found.fixed:
            if self._context.current.config.measure == "strict":
                raise ConfigError(f"{found.fixed}; so nothing was changed: stop tlsrt and start it again")
            self._warnings.append(found.fixed)
        if self._door_only and (self._moves or configuration(before) != configuration(entries)):
            raise ConfigError(_MORE)
        self._additions = Additions(self._renewal, [step.name for step in self._steps if step.way is Way.ADDED])
        self._listeners.prepare(self._renewal.config)
        lent = self._renewal.children.files.open_door_files()  # closed here
        try:
            master, boot_token = self._renewal.children.files.open_boot_files(-1)
            self._held = [boot_token]
            os.close(master)
            self._held.append(sealed_memory(measurement))
            lent.insert(0, sealed_memory(pack_rules(rules_of(self._renewal.config))))
            policy, *door = lent
            token, measured = self._held
            moves = (ONLY_ADDS if only_adds(self._steps) else 1) if self._moves else 0
            sent = self._authority.channel.check_reload(self._number, token, measured, policy, door, moves=moves)
        finally:
            for descriptor in lent:
                os.close(descriptor)
        if not sent:
            self.authority_lost()

    def authority_lost(self) -> None:
        """Refuse what the authority had not checked yet; later its death changes nothing."""
        if self._changes.is_reloading and self._held:
            self._refuse(["the authority ended while it checked the new state, so nothing was changed: reload again"])

    def _checked(self, message: CheckedMessage) -> None:
        """Go on: the authority has compared with the boot token; `door` says what will change there."""
        number, is_good, said, door = message
        sentences = [str(sentence) for sentence in said]
        if number != self._number or not self._held:
            if is_good:
                self._authority.channel.move(number)  # it came too late, and holds back keys until this
        elif is_good:
            self._warnings += sentences
            self._door = door
            self._take()
        else:
            self._refuse(sentences)

    def _refuse(self, sentences: Sequence[str]) -> None:
        for sentence in () if self._is_again and tuple(sentences) == self._known else sentences:
            self._context.console.bad(NAME, "refused", sentence)
            self._context.events.emit("reload_refused", "supervisor", sentence)
        self._end({"refused": list(sentences)})

    # From here on only forward

    def _take(self) -> None:
        assert self._renewal is not None
        renewal = self._renewal
        self._context.current.replace(renewal)
        self._authority.files.take(*self._held)
        self._authority.channel.taken(self._number)
        self._held = []
        self._change_listeners()
        if self._additions is not None:
            self._additions.take(self._loops)
            self._additions = None
        self._clear()
        if self._moves:
            self._changes.is_rolling_out = True
            self._rollout = Rollout(
                self._context,
                self._loops,
                self._restarter,
                self._authority,
                self._steps,
                self._number,
                self._rolled_out,
            )
            self._rollout.begin()
            return
        self._authority.managed_by = renewal.children
        for loop in self._loops.all:
            adopt(loop, renewal.children)
        reports = [self._unchanged(loop) for loop in self._loops.all]
        self._report(self._authority.epoch, reports, has_moved=False)

    def _change_listeners(self) -> None:
        """Open and close doors of components: a process that inherits others is a new one."""
        come, gone = self._listeners.take()
        for word, event, listeners in (("closed", "listening_ended", gone), ("open", "listening", come)):
            for one in listeners:
                self._context.events.emit(event, one.process, one.sentence)
                self._context.console.plain("listener", word, one.sentence)

    def _unchanged(self, loop: Loop) -> LoopReport:
        outcome = report.STOPPED if self._loops.restart_policy.is_stopped(loop.name) else "unchanged"
        return LoopReport(loop.name, outcome, self._context.current.children.sandbox(loop.name).digest.hex())

    def _epoch_moved(self, message: MovedMessage) -> None:
        if self._rollout is not None:
            self._rollout.moved(message.number, message.epoch)

    def _rolled_out(self, epoch: int, reports: list[LoopReport]) -> None:
        self._rollout = None
        self._changes.is_rolling_out = False
        self._report(epoch, reports, has_moved=True)

    def _report(self, epoch: int, reports: list[LoopReport], *, has_moved: bool) -> None:
        answer: dict[str, Any] = report.document(
            epoch, has_moved, self._new_policy, self._door, reports, self._warnings, self._settings
        )
        self._context.events.emit("reloaded", "supervisor", epoch=epoch, failed=answer["failed"])
        report.tell(self._context.console, NAME, answer)
        self._end(answer)

    # The end

    def _end(self, answer: Answer) -> None:
        self._clear()
        self._changes.is_reloading = False
        self._programs.sweep()
        running, self._running = self._running, []
        for number in running:
            self._pending.answer(number, answer)
        self._context.event_loop.call_later(0, self._next)

    def _clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._renewal is not None:
            remove_new(self._renewal.children, self._context.current.children)  # nothing is new in one that was taken
        self._timer, self._measurer, self._renewal = None, None, None
        for descriptor in self._held:
            os.close(descriptor)
        self._held = []
        self._listeners.cancel()
        if self._additions is not None:
            self._additions.close()
        self._additions = None


def _entries(measurement: bytes) -> Mapping[str, bytes]:
    entries: dict[str, bytes] = msgpack.unpackb(measurement, raw=False)
    return entries
