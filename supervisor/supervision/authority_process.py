"""The supervisor's side of the authority: spawn, attest, boot, reap and restart its process.

The authority is the only process that holds keys. It gets the key files as descriptors that were opened but never
read, once it has sealed itself and was attested; one that is not what its profile says, then or in a
later round, is killed. It has the trust ends of all loops by fork; those stay open here, so that an authority that
comes again finds what was sent meanwhile, and no loop notices. The death of the authority stops nothing at once: the
loops refuse by themselves when its feed is silent.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from tlsrt.channels.control.authority_channel import (
    AUTHORITY_CHANNEL,
    AuthorityBeatMessage,
    BootedMessage,
    StorageMessage,
)
from tlsrt.channels.control.seqpacket import NoFields, control_pair
from tlsrt.errors import EX_UNAVAILABLE, ConfigError, PeerError, SandboxError, TlsrtError
from tlsrt.supervisor.process.attestation import differences_of
from tlsrt.supervisor.process.children import AuthorityStart
from tlsrt.supervisor.process.exit_reason import Cause, Death, KillReason, cause_of_death
from tlsrt.supervisor.process.instance_lock import shared_lock
from tlsrt.supervisor.process.logs import last_line
from tlsrt.supervisor.process.signals import LINGER_S, send_signal
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation
from tlsrt.supervisor.supervision.authority_channel import AuthorityChannel
from tlsrt.supervisor.supervision.authority_incarnation import AuthorityIncarnation
from tlsrt.supervisor.supervision.authority_reports import AuthorityReports
from tlsrt.supervisor.supervision.backoff import RestartBackoff, RestartIntensity
from tlsrt.supervisor.supervision.boot_files import BootFiles
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, Features, MessageHandler
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor
from tlsrt.supervisor.supervision.loop import Loop

NAME = "authority"
_OWN = {  # about the process itself
    "sealed", "booted", "refused", "beat", "storage", "keys", "score", "kept", "certificate_time", "account_key",
    "archive_key",
}  # fmt: skip
MESSAGES = AUTHORITY_CHANNEL.sent_by(NAME) - _OWN  # that features take


class AuthorityProcess(Feature):
    """The one authority, over all its incarnations.

    It inherits the trust ends of the loops. `features` are told of its life, and take the messages that are not about
    the process itself.
    """

    def __init__(
        self, context: Context, boot_nonce: int, boot_id: bytes, log: int, monitor: HeartbeatMonitor, log_path: str,
        loops: Sequence[Loop], features: Features,
    ) -> None:  # fmt: skip
        self._context = context
        self._loops = loops
        self._features = features
        self.reports = AuthorityReports(lambda: context.event_loop.now, self._warn)
        self.channel = AuthorityChannel(NAME, lambda: self.kill("does not read its authority channel"))
        self._handlers: Mapping[str, MessageHandler] = {
            "sealed": self._sealed,
            "booted": self._booted,
            "refused": lambda message: self._refuse([str(sentence) for sentence in message.sentences]),
            "beat": self._beat,
            "storage": self._storage,
            **self.reports.handlers,
        }
        self._boot_nonce = boot_nonce  # the descriptor of a sealed file: no byte of it is in this process
        self._boot_id = boot_id
        self._log = log
        self._log_path = log_path
        self._monitor = monitor
        policy = context.current.config.supervision.restart
        self._backoff = RestartBackoff(policy, context.chance)
        self._intensity = RestartIntensity(policy)
        self._ever_booted = False
        self.process = AuthorityIncarnation()  # the one that lives, or the next one
        self.managed_by = context.current.children  # what spawned its last process, or has adopted it
        self.files = BootFiles()
        self.spawned_at = 0.0
        self.epoch = 0
        self.lateness_us = 0
        self.restarts = 0
        self.last_death: Death | None = None
        self.sessions: Mapping[str, int] = {}
        self.is_stopping = False
        self.given_up = False

    @property
    def is_booted(self) -> bool:
        return self.process.booted_at is not None

    @property
    def is_attested(self) -> bool:
        return self.process.is_attested

    @property
    def unwritten(self) -> str:
        """Return why its state is not on the disk as it should be."""
        return self.process.unwritten

    @property
    def is_killed(self) -> bool:
        """Tell whether it was killed, and is there still."""
        return self.process.kill_reason is not None

    @property
    def state(self) -> str:
        """Return one word for status."""
        if self.process.child is None:
            return "failed" if self.given_up else "down"
        if self.is_stopping:
            return "stopping"
        return "active" if self.is_booted else "booting"

    def stopping(self) -> None:
        self.is_stopping = True

    # Start

    def spawn(self) -> None:
        """Fork the authority; it seals itself, says so, and waits for `boot`."""
        ours, theirs = control_pair()
        self.managed_by = self._context.current.children
        config = self._context.current.config
        rules = self._context.current.children.call_rules(NAME)
        if rules is not None:
            self.process.syscall_monitor = SyscallMonitor(self._context.event_loop, rules, self._violated)
        start = AuthorityStart(
            config, theirs, self._trust_ends(), config.state_dir / NAME, self._log, (self._context.lock,),
            self.process.syscall_monitor.child_end if self.process.syscall_monitor is not None else None,
        )  # fmt: skip
        self.spawned_at = self._context.event_loop.now
        self.channel.open(ours)
        problem = ""
        try:
            with shared_lock(self._context.lock) as share:
                self.process.child = self.managed_by.spawn_authority(replace(start, keep=(share,)))
        except (OSError, TlsrtError) as error:
            problem = f"cannot be forked: {error}"
        os.close(theirs)
        if self.process.syscall_monitor is not None:
            self.process.syscall_monitor.forked(self.process.child)
        if self.process.child is None:
            self._clean_up(Death(Cause.FORK, problem, at=time.time()))
            return
        self._context.events.emit("spawned", NAME, pid=self.process.child.host_pid, restarts=self.restarts)
        self._context.event_loop.watch(ours, lambda events: self._hear())
        self._context.event_loop.watch(self.process.child.pidfd, lambda events: self._died())
        seconds = self._context.current.config.limits.ready_timeout_s
        self.process.set_deadline(
            self._context.event_loop.call_later(
                seconds, partial(self.kill, f"not booted in {seconds:g} s", Cause.DEADLINE)
            )
        )

    def _trust_ends(self) -> dict[str, int]:
        known = {loop.name for loop in self._context.current.config.loops}  # a removed one may still be ending
        ends = {loop.name: loop.process.authority_end for loop in self._loops if loop.name in known}
        return {name: end for name, end in ends.items() if end >= 0}

    def boot(self) -> None:
        """Hand over the boot nonce and the files, as soon as it is attested; `booted` or `refused` is the answer."""
        self.process.is_boot_due = True
        self._boot_if_attested()

    def _boot_if_attested(self) -> None:
        if not (self.process.is_boot_due and self.is_attested):
            return
        self.process.is_boot_due = False
        try:
            self._hand_over()
        except ConfigError as error:  # a file that existed at the start is missing
            self._refuse(list(error.problems))
        except OSError as error:
            self._refuse([f"cannot open {error.filename}: {error.strerror}"])

    def _hand_over(self) -> None:
        with self.files.handed(self._context.current.children.files) as handed:
            self.channel.boot(self._boot_id, (*handed, self._boot_nonce))

    def attest(self) -> bool:
        """Attest the authority; kill it if it differs from its profile. Tell whether it passed."""
        if self.process.child is None or self.process.kill_reason is not None:
            return False
        differences = differences_of(NAME, self.process.child, self.managed_by, self.process.syscall_monitor)
        if differences:
            self.process.differs = True
            self._context.events.emit("difference", NAME, differences[0])
            self.kill(f"attestation: {'; '.join(differences)}", Cause.ATTESTATION)
        return differences == []

    # What it is told

    def replace(self) -> None:
        """Let the authority end, and come again at once under its new profile."""
        self.process.is_being_replaced = True
        self._monitor.forget(NAME)
        self.channel.stop()
        seconds = self._context.current.config.limits.stop_timeout_s
        self.process.set_deadline(None)
        self.process.set_deadline(
            self._context.event_loop.call_later(seconds, partial(self.kill, "did not stop", Cause.DEADLINE))
        )

    def stop(self) -> None:
        """Ask the authority to end."""
        self.is_stopping = True
        self._monitor.forget(NAME)
        self.process.set_deadline(None)
        self.channel.stop()

    def _violated(self, violation: Violation) -> None:
        """The authority runs our code only: any call that it may not make is a bug or an attack, and ends it."""
        self._context.console.bad(NAME, "killed", violation.sentence)
        self._context.events.emit("violation", NAME, violation.sentence, call=violation.call, ends=True)
        self.kill(f"violation: {violation.sentence}", Cause.POLICY)

    def kill(self, reason: str, cause: Cause = Cause.PROTOCOL) -> None:
        """Kill the authority; it comes again with the same boot nonce."""
        if self.process.child is None:
            return
        self._context.events.emit("killed", NAME, reason, cause=str(cause))
        self.process.kill_reason = self.process.kill_reason or KillReason(cause, reason)
        self._monitor.forget(NAME)
        self._close_channel()
        send_signal(self.process.child, signal.SIGKILL)
        self._context.current.children.clear(NAME)

    # What it says

    def _hear(self) -> None:
        try:
            while (received := self.channel.receive()) is not None:
                name, message, descriptors = received
                if name == "kept":
                    self.files.keep_door(descriptors)
                elif name == "account_key":
                    self.files.keep_account_key(descriptors[0])
                elif name == "archive_key":
                    self.files.keep_archive_key(descriptors[0])
                elif (handler := self._handlers.get(name)) is not None:
                    handler(message)
                else:
                    self._features.take(name, message)
        except PeerError as error:
            if error.reason == "closed":
                self._close_channel()  # its pidfd says the rest; a living one is ended by its silence
            else:
                self.kill(f"authority protocol: {error.reason}")

    def _sealed(self, message: NoFields) -> None:
        self.process.is_attested = self.attest()
        if self.is_attested:
            self.channel.state = "attested"
            self._context.events.emit("attested", NAME)
        self._boot_if_attested()

    def _storage(self, message: StorageMessage) -> None:
        problem = self.process.unwritten = message.problem
        if problem:
            self._context.events.emit("reported", NAME, problem)
            self._context.console.bad(NAME, "state", problem)
        else:
            self._context.console.warning(
                NAME, "its state is on the disk again"
            )  # who read of the loss reads of its end

    def _warn(self, sentence: str) -> None:
        self._context.events.emit("reported", NAME, sentence)
        self._context.console.bad(NAME, "warning", sentence)

    def _refuse(self, sentences: list[str]) -> None:
        """It does not boot. At the start that ends everything; later the next one may: a disk that was full has room.

        Meanwhile every verifier refuses by itself, 3 s after the last beat of the feed.
        """
        if self._ever_booted:
            self.kill(f"did not boot again: {'; '.join(sentences)}", Cause.BOOT)
        else:
            self._features.refused(ConfigError(sentences))

    def _booted(self, message: BootedMessage) -> None:
        epoch, warnings = message
        if self._ever_booted and epoch <= self.epoch:
            self._refuse([f"its state is older than the host: epoch {epoch} after epoch {self.epoch}; a roll-back"])
            return
        now = self._context.event_loop.now
        if epoch != self.epoch:
            self._context.events.emit("epoch", NAME, epoch=epoch)
        self.epoch = epoch
        self.reports.booted(warnings)
        self.process.set_deadline(None)
        self.process.booted_at = now
        self.channel.state = "booted"
        self._ever_booted = True
        self._monitor.watch(NAME, now)
        took_ms = round((now - self.spawned_at) * 1000)
        pid = self.process.child.host_pid if self.process.child is not None else None
        self._context.events.emit("active", NAME, pid=pid, took_ms=took_ms)
        self._features.authority_booted()

    def _beat(self, message: AuthorityBeatMessage) -> None:
        lateness_us, epoch, sessions = message
        now = self._context.event_loop.now
        self._monitor.beat(NAME, now)
        if not self.process.has_beaten:
            self._monitor.settle(NAME, now)
        self.process.has_beaten = True
        self.lateness_us = lateness_us
        self._features.beat(NAME, lateness_us)
        self.sessions = {name: count for name, count in sessions.items() if type(name) is str and type(count) is int}
        if epoch != self.epoch:
            self._context.events.emit("epoch", NAME, epoch=epoch)
            self.epoch = epoch
            self._features.epoch_begun()

    # Exit

    def _died(self) -> None:
        reason = self._context.current.children.reap(self.process.child) if self.process.child is not None else None
        if self.process.child is None or reason is None:
            return
        self._hear()  # its last words, perhaps `refused`, may lie in the channel
        self._context.event_loop.forget(self.process.child.pidfd)
        os.close(self.process.child.pidfd)
        self.process.child = None
        kills = self._context.current.children.oom_kills(NAME)
        self._clean_up_last(cause_of_death(reason, self.process.kill_reason, oom_kills=kills, at=time.time()))

    def _clean_up_last(self, death: Death) -> None:
        if self._context.current.children.clear(NAME):
            self._clean_up(death)
        else:
            self._context.event_loop.call_later(LINGER_S, partial(self._clean_up_last, death))

    def _clean_up(self, death: Death) -> None:
        now = self._context.event_loop.now
        ended, self.process = self.process, AuthorityIncarnation()
        ended.close()
        served_s = now - ended.booted_at if ended.booted_at is not None else 0.0
        self.last_death = death
        self._monitor.forget(NAME)
        self._close_channel()
        self._context.events.emit_death(NAME, death, served_s, is_wanted=ended.is_being_replaced or self.is_stopping)
        if self.is_stopping:
            self._features.authority_ended()
            return
        self._features.authority_lost()
        if ended.is_being_replaced:
            self._respawn()
            return
        if not self._ever_booted and (ended.differs or death.code == EX_UNAVAILABLE):
            why = str(death) if ended.differs else last_line(self._log_path) or str(death)
            self._features.refused(SandboxError(NAME, why))  # its sandbox failed: the next one would, too
            return
        delay_s = self._backoff.died(served_s)
        if self._intensity.died(now):
            self.given_up = True
            self._context.events.emit("given_up", NAME, str(death))
            self._context.console.bad(NAME, "failed", f"{self.last_death}; died too often")
            self._features.failed(EX_UNAVAILABLE)
            return
        self._context.events.emit("backoff", NAME, delay_s=delay_s)
        when = f"again in {delay_s:.3g} s" if delay_s else "again at once"
        self._context.console.bad(NAME, "died", f"{self.last_death}; {when}")
        self._context.event_loop.call_later(delay_s, self._respawn)

    def _respawn(self) -> None:
        if self.is_stopping:
            return
        self.restarts += 1
        self.spawn()
        if self.process.child is not None:
            self.boot()

    def _close_channel(self) -> None:
        self.channel.close(self._context.event_loop.forget)
