"""`reload`: take a changed configuration while the host runs, as a transaction.

Everything that can be wrong is found before anything changes: the file is read, profiles and filters are made, the
host is measured again (in a child: heartbeats are judged meanwhile), and the authority checks boot token and seal
number exactly as at the boot. Any trouble until then ends with sentences, and the old state stays. Then the new state
is taken as a whole, and `rollout.py` carries it out.

One reload at a time; whoever asks meanwhile gets the next one, which reads the file anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack

from tlsrt.channels.control.life import LoopState
from tlsrt.errors import ConfigError, TlsrtError
from tlsrt.supervisor.launch.background_measurement import BackgroundMeasurement
from tlsrt.supervisor.messages.policy import pack_policy
from tlsrt.supervisor.process.children import Common, Renewal
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.reload import report
from tlsrt.supervisor.reload.plan import (
    ReloadStep,
    Way,
    files_sentence,
    fixed_files,
    needs_move,
    step_for,
)
from tlsrt.supervisor.reload.report import LoopReport
from tlsrt.supervisor.reload.rollout import Rollout, adopt
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops

NAME = "reload"
_MORE = (
    "files of the door have changed, and so has the configuration or a profile, which is taken only when somebody "
    "asks: `tlsrt-supervisor reload` takes all of it"
)
CHECK_S = 60.0  # to measure and to check; a file system that hangs must not hold up the next reload for ever

Answer = dict[str, object]
Reply = Callable[[Answer], None]


class Reload:
    """All reloads of one life. `renew` reads the configuration; `on_taken` is told of a new state in force."""

    def __init__(
        self, common: Common, loops: Loops, authority: AuthorityProcess, renew: Callable[[Common], Renewal] | None,
        on_taken: Callable[[Renewal], None],
    ) -> None:  # fmt: skip
        self._common = common
        self._loops = loops
        self._authority = authority
        self._renew = renew
        self._on_taken = on_taken
        self._waiting: list[Reply] = []
        self._replies: list[Reply] = []
        self._number = 0
        self._wants_all = False  # somebody who waits does
        self._door_only = False  # nobody asked for more than the files of the door
        self._known: tuple[str, ...] = ()  # refusals that were said before
        self._is_running = False
        self._has_ended = False
        self._steps: tuple[ReloadStep, ...] = ()
        self._new_policy = False
        self._moves = False  # the epoch: for changed profiles or another policy
        self._door = ""  # what changes at the door
        self._warnings: list[str] = []
        self._renewal: Renewal | None = None
        self._measurer: BackgroundMeasurement | None = None
        self._timer: Timer | None = None
        self._held: list[int] = []  # boot token and measurement, until they are taken
        self.is_blocked: Callable[[], bool] = lambda: False  # another master_key is under check
        self.move: Rollout | None = None

    def ask(self, reply: Reply) -> None:
        """Reload, now or after the one under way; `reply` gets the report, or `refused` with sentences."""
        self._waiting.append(reply)
        self._wants_all = True
        self._next()

    def ask_door(self, reply: Reply, known: Sequence[str]) -> None:
        """Reload if nothing but files of the door has changed; a refusal that is `known` is not said again."""
        self._waiting.append(reply)
        self._known = tuple(known)
        self._next()

    @property
    def is_running(self) -> bool:
        return self._is_running

    def cancel(self) -> None:
        """The host ends: say so to all who wait."""
        self._has_ended = True
        if self._measurer is not None:
            self._measurer.cancel()
        if self.move is not None:
            self.move.cancel()
        self._clear()
        replies, self._replies, self._waiting = [*self._replies, *self._waiting], [], []
        for reply in replies:
            reply({"error": "stopping"})

    def _next(self) -> None:
        if self._has_ended:
            self.cancel()
        if self._is_running or not self._waiting:
            return
        self._replies, self._waiting = self._waiting, []
        self._door_only, self._wants_all = not self._wants_all, False
        self._is_running = True
        self._number += 1
        if not self._is_again:
            self._common.events.emit("reloading", "supervisor")
        self._carefully(self._read)

    @property
    def _is_again(self) -> bool:
        """Whether this is tried again by itself, after a refusal that was said."""
        return self._door_only and bool(self._known)

    # Before anything changes

    def _carefully(self, step: Callable[[], None]) -> None:
        """Take a step that may be refused; a bug of ours must not end a host that runs well."""
        try:
            step()
        except ConfigError as error:
            self._refuse(error.problems)
        except TlsrtError as error:
            self._refuse([str(error)])
        except OSError as error:
            self._refuse([f"cannot read {error.filename or 'the new state'}: {error.strerror}"])
        except Exception as error:
            self._refuse([f"InternalError: {type(error).__name__}: {error} (a bug of tlsrt; nothing was changed)"])

    def _read(self) -> None:
        if self._renew is None or not self._authority.is_booted:
            raise ConfigError("tlsrt has not started yet: try again when it says that it is ready")
        if self.is_blocked():
            raise ConfigError("master_key is being rotated: reload again when that is done")
        renewal = self._renewal = self._renew(self._common)
        self._warnings = list(renewal.warnings)
        self._new_policy = renewal.config.policy != self._common.config.policy
        self._steps = (self._step(AUTHORITY), *(self._step_of(loop) for loop in self._loops.all))
        self._moves = self._new_policy or needs_move(self._steps)
        self._measurer = BackgroundMeasurement(self._common.event_loop, renewal.measure, self._measured)
        self._timer = self._common.event_loop.call_later(CHECK_S, self._too_slow)

    def _step_of(self, loop: Loop) -> ReloadStep:
        """Return the step of a loop; one that was given up is tried again, whatever it was given up for."""
        step = self._step(loop.name)
        if step.way is not Way.RESTART and loop.state is LoopState.FAILED:
            return ReloadStep(loop.name, Way.RESTART, ("it was given up before",))
        return step

    def _step(self, name: str) -> ReloadStep:
        assert self._renewal is not None
        old, new = self._common.parts, self._renewal.parts
        same = old.sandbox(name).digest == new.sandbox(name).digest
        return step_for(name, old.profiles.get(name), new.profiles.get(name), same_digest=same)

    def _too_slow(self) -> None:
        if self._measurer is not None:
            self._measurer.cancel()
        self._refuse([f"the host could not be measured and checked in {CHECK_S:g} s, so nothing was changed"])

    def _measured(self, result: bytes | ConfigError) -> None:
        self._measurer = None
        if isinstance(result, ConfigError):
            self._refuse(result.problems)
            return
        self._carefully(lambda: self._ask_authority(result))

    def _ask_authority(self, measurement: bytes) -> None:
        assert self._renewal is not None
        entries = _entries(measurement)
        if entries.get("config", self._renewal.config_digest) != self._renewal.config_digest:
            raise ConfigError("the configuration was changed while it was read: reload again")
        measured = self._authority.files.measurement
        before = _entries(os.pread(measured, os.fstat(measured).st_size, 0))
        if names := fixed_files(before, entries):
            if self._common.config.measure == "strict":
                raise ConfigError(f"{files_sentence(names)}; so nothing was changed: stop tlsrt and start it again")
            self._warnings.append(files_sentence(names))
        if self._door_only and (self._moves or before.get("config") != entries.get("config")):
            raise ConfigError(_MORE)
        door = self._renewal.parts.open_door_files()
        try:
            master, boot_token = self._renewal.parts.open_boot_files(-1)
        except ConfigError:
            for descriptor in door:
                os.close(descriptor)
            raise
        os.close(master)
        self._held = [boot_token, sealed_memory(measurement)]
        token, measured = self._held
        policy = sealed_memory(pack_policy(self._renewal.config.policy))
        try:
            sent = self._authority.check_reload(self._number, token, measured, policy, door, moves=self._moves)
        finally:
            for descriptor in (policy, *door):
                os.close(descriptor)
        if not sent:
            self.authority_lost()

    def authority_lost(self) -> None:
        """The authority has died. Before it has said yes that is the end of a reload, later it changes nothing."""
        if self._is_running and self._held:
            self._refuse(["the authority ended while it checked the new state, so nothing was changed: reload again"])

    def checked(self, number: int, is_good: bool, sentences: Sequence[str], door: str) -> None:
        """The authority has compared with the boot token; `door` says what will change there."""
        if number != self._number or not self._held:
            if is_good:
                self._authority.move(number)  # it came too late, and holds back keys until this
        elif is_good:
            self._warnings += sentences
            self._door = door
            self._take()
        else:
            self._refuse(sentences)

    def _refuse(self, sentences: Sequence[str]) -> None:
        for sentence in () if self._is_again and tuple(sentences) == self._known else sentences:
            self._common.console.bad(NAME, "refused", sentence)
            self._common.events.emit("reload_refused", "supervisor", sentence)
        self._end({"refused": list(sentences)})

    # From here on only forward

    def _take(self) -> None:
        assert self._renewal is not None
        renewal = self._renewal
        renewal.parts.take()
        self._common.config, self._common.parts = renewal.config, renewal.parts
        self._authority.files.take(*self._held)
        self._authority.taken(self._number)
        self._held = []
        self._clear()
        self._on_taken(renewal)
        if self._moves:
            self.move = Rollout(self._common, self._loops, self._authority, self._steps, self._number, self._moved)
            self.move.begin()
            return
        self._authority.parts = renewal.parts
        for loop in self._loops.all:
            adopt(loop, renewal.parts)
        reports = [self._unchanged(loop) for loop in self._loops.all]
        self._report(self._authority.epoch, reports, has_moved=False)

    def _unchanged(self, loop: Loop) -> LoopReport:
        return LoopReport(loop.name, "unchanged", self._common.parts.sandbox(loop.name).digest.hex())

    def _moved(self, epoch: int, reports: list[LoopReport]) -> None:
        self.move = None
        self._report(epoch, reports, has_moved=True)

    def _report(self, epoch: int, reports: list[LoopReport], *, has_moved: bool) -> None:
        answer: dict[str, Any] = report.document(
            epoch, has_moved, self._new_policy, self._door, reports, self._warnings
        )
        self._common.events.emit("reloaded", "supervisor", epoch=epoch, failed=answer["failed"])
        say = self._common.console.bad if answer["failed"] else self._common.console.plain
        for line in report.lines(answer):
            say(NAME, "failed" if answer["failed"] else "done", line)
        self._end(answer)

    # The end

    def _end(self, answer: Answer) -> None:
        self._clear()
        self._is_running = False
        replies, self._replies = self._replies, []
        for reply in replies:
            reply(answer)
        self._common.event_loop.call_later(0, self._next)

    def _clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._measurer, self._renewal = None, None, None
        for descriptor in self._held:
            os.close(descriptor)
        self._held = []


def _entries(measurement: bytes) -> Mapping[str, bytes]:
    entries: dict[str, bytes] = msgpack.unpackb(measurement, raw=False)
    return entries
