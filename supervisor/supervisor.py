"""The supervisor: privileged, keyless, one epoll loop.

It takes the lock, makes folders and sockets, imports everything once, forks the authority and the loops, and from
then on only listens: to life channels, to the authority, to pidfds, to the control socket, to signals and to the clock.
It reads no key byte, parses nothing that a loop wrote beyond fixed-size records, and starts no thread.
"""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tlsrt.config.key_schedule import boot_id
from tlsrt.config.schema import Config
from tlsrt.errors import EX_UNAVAILABLE, ConfigError, SandboxError, TlsrtError
from tlsrt.supervisor.control import status
from tlsrt.supervisor.control.audit_heads import AuditHeads
from tlsrt.supervisor.control.canary_files import CanaryFiles
from tlsrt.supervisor.control.client_requests import ClientRequests
from tlsrt.supervisor.control.decoys import DecoyReport
from tlsrt.supervisor.control.detection_requests import DetectionRequests
from tlsrt.supervisor.control.lock import LockWatch
from tlsrt.supervisor.control.lock_verbs import LockVerbs
from tlsrt.supervisor.control.peer_credentials import is_kin
from tlsrt.supervisor.control.restart import RestartRequest
from tlsrt.supervisor.control.server import ControlSocket, Request
from tlsrt.supervisor.control.session_requests import SessionRequests
from tlsrt.supervisor.control.status_stream import StatusStream
from tlsrt.supervisor.control.supervision_status import supervision_document
from tlsrt.supervisor.events.readers import HostEvents
from tlsrt.supervisor.launch.folders import last_line, make_folder, make_folders, open_log
from tlsrt.supervisor.launch.instance_lock import WAIT_S, host_pid, take_lock
from tlsrt.supervisor.process.children import Common, Parts, Renewal
from tlsrt.supervisor.process.console import Console
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.exit_reason import cause_of_word
from tlsrt.supervisor.process.listeners import (
    DECOY,
    DOOR,
    channel_listeners,
    decoy_listener,
    door_listener,
    remove_sockets,
)
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.process.proc import memory_kib
from tlsrt.supervisor.process.spawn import reap_strangers
from tlsrt.supervisor.reload.file_watcher import FileWatcher
from tlsrt.supervisor.reload.key_rotation import KeyRotation
from tlsrt.supervisor.reload.reload import Reload
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor, HeartbeatPolicy
from tlsrt.supervisor.supervision.loop import PRIMARY, Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.shutdown import Shutdown
from tlsrt.supervisor.supervision.startup_report import StartupReport
from tlsrt.supervisor.supervision.states import LoopEvent
from tlsrt.supervisor.supervision.watchdog import Watchdog

FATAL_EVENTS = ("offence", "unprepared", "unattested", "anomaly")  # of the authority about a loop


class Supervisor:
    """One life of a host, from the lock to the last process."""

    def __init__(
        self,
        config: Config,
        parts: Parts,
        console: Console,
        *,
        rootless: bool = False,
        warnings: Sequence[str] = (),
        death_pipe: int | None = None,
        age_s: float = 0.0,
        heartbeat: HeartbeatPolicy | None = None,
        lock_wait_s: float = WAIT_S,
        renew: Callable[[Common], Renewal] | None = None,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self._config = config
        self._parts = parts
        self._console = console
        self._rootless = rootless
        self._death_pipe = death_pipe
        self._warnings = tuple(warnings)
        self._age_s = age_s  # how long ago the operator's command began
        self._heartbeat = heartbeat or HeartbeatPolicy()
        self._lock_wait_s = lock_wait_s
        self._renew = renew
        self._chance = chance  # of delays between restarts
        self._exit_code: int | None = None
        self._result = 0
        self._refusal: TlsrtError | None = None

    def run(self) -> int:
        """Live until stopped; return the exit code.

        Raises AlreadyRunning and ConfigError before anything runs; ConfigError when the authority refuses to boot and
        SandboxError when this host cannot confine a process, after everything was stopped again.
        """
        event_loop = EventLoop()
        self._started_at = event_loop.now
        try:
            self._begin(event_loop)
            while self._exit_code is None:
                event_loop.run_once()
            if self._refusal is not None:
                raise self._refusal
            return self._exit_code
        finally:
            self._abandon()
            event_loop.close()

    # Start

    def _begin(self, event_loop: EventLoop) -> None:
        config = self._config
        make_folder(config.state_dir)
        lock = take_lock(config.state_dir / "lock", wait_s=self._lock_wait_s)
        self._parts.claim()
        make_folders(config, self._parts.uid)
        sockets = channel_listeners(config, self._parts.uid)
        sockets[DOOR] = door_listener(config.door)
        if config.deception.endpoint is not None:
            sockets[DECOY] = decoy_listener(config.deception.endpoint)
        listeners: Mapping[str, Mapping[str, int]] = {PRIMARY: sockets}
        boot_files = [*self._parts.open_boot_files(-1), *self._parts.open_door_files(), self._parts.open_ca_key()]
        for descriptor in boot_files:
            os.close(descriptor)  # this was only the check: what is missing is said before anything runs
        self._common = Common(config, self._parts, event_loop, self._console, lock)
        self._common.chance = self._chance or self._common.chance
        self._build(listeners)
        self._take_signals(event_loop)
        self._say_warnings()
        self._files.start()
        self._fork_all()

    def _build(self, listeners: Mapping[str, Mapping[str, int]]) -> None:
        config, common = self._config, self._common
        self._boot_nonce = secrets.token_bytes(32)
        monitor = HeartbeatMonitor(self._heartbeat)
        self._monitor = monitor
        restart_policy = RestartPolicy(config.supervision, [loop.name for loop in config.loops], common.chance)
        loops = [
            Loop(config.loop(name), index, open_log(config, name), str(config.log_dir / f"{name}.log"))
            for index, name in enumerate(restart_policy.order)
        ]
        self._authority = AuthorityProcess(
            common, self._boot_nonce, open_log(config, AUTHORITY), monitor, str(config.log_dir / "authority.log")
        )
        self._loops = Loops(common, self._authority, loops, listeners, monitor, restart_policy)
        self._restarts = Restarter(common, self._loops)
        began_at = self._started_at - self._age_s
        self._announcer = StartupReport(common, loops, self._authority, began_at)
        self._rounds = Watchdog(common, self._loops, self._authority)
        self._shutdown = Shutdown(common, self._loops, self._authority, self._end)
        self._reload = Reload(common, self._loops, self._authority, self._renew, self._taken)
        self._door_watch = FileWatcher(common.event_loop, lambda: common.config.door, self._reload.ask_door)
        if config.door.watch:
            self._door_watch.begin()
        self._sessions = SessionRequests(common, self._authority)
        self._response = DetectionRequests(self._sessions, self._authority)
        self._reload.is_blocked = lambda: self._rotation.is_replacing
        self._anchors = AuditHeads(common, self._authority)
        self._restart = RestartRequest(common, self._loops, lambda: self._reload.move is not None)
        self._lock = LockWatch(common, self._loops, self._authority)
        self._announcer.is_locked = lambda: self._lock.record is not None
        self._lock_verbs = LockVerbs(common, self._loops, self._authority, self._lock, self._sessions)
        self._events = HostEvents(common, loops, self._authority, boot_id(self._boot_nonce).hex())
        self._files = CanaryFiles(common, self._authority)
        self._decoys = DecoyReport(common, self._authority, self._files)
        self._rotation = KeyRotation(common, self._loops, self._authority, lambda: self._reload.is_running)
        monitor.on_suspect = self._events.sources.suspected
        self._shutdown.on_begin = self._stopping
        self._authority.trust_ends = lambda: {m.name: m.authority_end for m in loops if m.authority_end >= 0}
        self._authority.on_booted = self._booted
        self._authority.on_epoch = self._rounds.attest_all
        self._authority.on_event = self._event
        self._authority.on_said["respawn"] = self._respawn
        self._authority.on_refused = self._refused
        self._authority.on_unconfined = self._unconfined
        self._authority.on_given_up = partial(self._fail, EX_UNAVAILABLE)
        self._authority.on_checked = self._reload.checked
        self._authority.on_lost = self._authority_lost
        self._authority.on_rekeyed = self._rotation.checked
        self._authority.on_rotated = self._rotation.rotated
        self._authority.on_moved = self._moved
        self._loops.on_active = self._active
        self._loops.on_down = self._restarts.down
        self._loops.on_unwell = self._restarts.unwell
        self._loops.on_changed = self._restarts.look
        self._loops.on_beat = self._beat
        self._restarts.on_failed = self._given_up
        self._restarts.on_unconfined = self._hopeless
        self._restarts.on_exit = partial(self._fail, EX_UNAVAILABLE)
        self._control = ControlSocket(common.event_loop, config.run_dir, lambda pid: is_kin(pid, self._kin()))
        self._control.on_bug = partial(self._console.bad, "supervisor", "bug")
        self._add_verbs(self._control)

    def _take_signals(self, event_loop: EventLoop) -> None:
        event_loop.take_signals(
            {
                signal.SIGTERM: self._shutdown.begin,
                signal.SIGINT: self._interrupt,
                signal.SIGHUP: lambda: self._reload.ask(lambda answer: None),  # the console says how it went
                signal.SIGCHLD: self._reap_strangers,
            },
            ignored=(signal.SIGPIPE,),
        )
        if self._death_pipe is not None:
            event_loop.watch(self._death_pipe, self._launcher_gone, 0)  # only its hang-up

    def _launcher_gone(self, events: int) -> None:
        if self._death_pipe is not None:
            self._common.event_loop.forget(self._death_pipe)
            self._death_pipe = None
        self._shutdown.begin()

    def _fork_all(self) -> None:
        for loop in self._loops.all:
            self._loops.starter.prepare(loop)
        self._authority.spawn()
        self._parts.preload()  # while the authority imports what it needs
        for loop in self._loops.all:
            self._loops.spawn(loop)
        self._authority.files.measurement = sealed_memory(
            self._parts.measure()
        )  # while the children build their sandboxes
        if self._authority.child is not None:
            self._authority.boot()
        self._rounds.begin()

    def _say_warnings(self) -> None:
        for warning in self._warnings:
            self._console.warning("supervisor", warning)

    # What happens

    def _booted(self) -> None:
        self._announcer.authority_booted()
        self._lock.authority_booted()
        for loop in self._loops.all:
            if loop.is_trusted:
                self._loops.announce(loop)
        if self._reload.move is not None:
            self._reload.move.authority_booted()
        self._rotation.authority_booted()

    def _authority_lost(self) -> None:
        self._events.relay.lost()
        self._lock.authority_lost()
        self._reload.authority_lost()
        self._rotation.authority_lost()
        self._sessions.lost()
        self._response.lost()

    def _refused(self, sentences: list[str]) -> None:
        self._refuse(ConfigError(sentences))

    def _unconfined(self, reason: str) -> None:
        self._refuse(SandboxError(AUTHORITY, reason))

    def _hopeless(self, loop: Loop) -> None:
        self._refuse(SandboxError(loop.name, last_line(loop.log_path) or str(loop.last_death or "unknown")))

    def _refuse(self, error: TlsrtError) -> None:
        """End because of an error that the command line will say; what has not served yet is killed without words."""
        self._events.refused(str(error))
        self._refusal = self._refusal or error
        if any(loop.was_active for loop in self._loops.all):
            self._shutdown.begin()
        else:
            self._shutdown.quiet = True
            self._shutdown.hurry()

    def _fail(self, code: int) -> None:
        self._result = self._result or code
        self._shutdown.begin()

    def _interrupt(self) -> None:
        if self._shutdown.is_running:
            self._shutdown.hurry()
        else:
            self._shutdown.begin()

    def _event(self, word: str, sentence: str) -> None:
        """The authority says something; an offence, or a loop that was late for an epoch, ends that loop."""
        self._console.bad(AUTHORITY, word, sentence)
        self._events.sources.reported(word, sentence)
        name = sentence.partition(":")[0]
        for loop in self._loops.all:
            if word in FATAL_EVENTS and loop.name == name:
                reason = f"{word}: {sentence.partition(': ')[2]}"
                self._loops.kill(loop, LoopEvent.VIOLATED, reason, cause_of_word(word))

    def _respawn(self, fields: list[Any]) -> None:
        """The authority has a loop replaced for what it did; one that was replaced meanwhile is innocent."""
        name, incarnation, sentence = fields
        self._console.bad(AUTHORITY, "anomaly", f"{name}: {sentence}")
        self._events.sources.reported("anomaly", f"{name}: {sentence}")
        for loop in self._loops.all:
            if loop.name == name and loop.incarnation == incarnation:
                self._loops.kill(loop, LoopEvent.VIOLATED, f"anomaly: {sentence}", cause_of_word("anomaly"))

    # A reload

    def _taken(self, renewal: Renewal) -> None:
        self._config, self._parts, self._warnings = renewal.config, renewal.parts, renewal.warnings

    def _moved(self, number: int, epoch: int) -> None:
        if self._reload.move is not None:
            self._reload.move.moved(number, epoch)

    def _active(self, loop: Loop) -> None:
        self._announcer.loop_active(loop)
        self._look(loop)

    def _given_up(self, loop: Loop) -> None:
        self._announcer.settled()
        self._look(loop)

    def _beat(self, loop: Loop) -> None:
        self._events.beat(loop)
        self._look(loop)

    def _look(self, loop: Loop) -> None:
        self._rotation.look()
        self._restart.look()
        self._lock_verbs.look()
        if self._reload.move is not None:
            self._reload.move.look()

    # Verbs

    def _add_verbs(self, control: ControlSocket) -> None:
        """Say who answers which verb; what a verb does lives in the module of what it is about."""
        control.add("status", self._status_verb)
        control.add_stream("follow_status", StatusStream(self._common.event_loop, self.status).serve)
        control.add_held("stop", self._stop_verb)
        control.add_later("restart", self._restart.ask)
        control.add_later("reload", lambda request, reply: self._reload.ask(reply))
        control.add_later("sessions", self._sessions.sessions)
        control.add_later("revoke", self._sessions.revoke)
        control.add_later("restore", self._sessions.restore)
        clients = ClientRequests(self._sessions)
        control.add_later("client_add", clients.add)
        control.add_later("client_list", clients.list)
        control.add_later("client_renew", clients.renew)
        control.add_later("client_revoke", clients.revoke)
        control.add_later("client_set", clients.set)
        control.add_later("lock", self._lock_verbs.lock)
        control.add_later("unlock", self._lock_verbs.unlock)
        control.add_later("anomalies", self._response.anomalies)
        control.add_later("release", self._response.release)
        control.add_later(
            "rotate", lambda request, reply: self._rotation.ask(reply, master=bool(request.get("master")))
        )
        control.add_later("honeypot_test", self._decoys.ask)
        self._events.add_verbs(control)

    def _status_verb(self, request: Request) -> dict[str, object]:
        return self.status()

    def _stop_verb(self, request: Request) -> dict[str, object]:
        self._common.event_loop.call_later(0, self._shutdown.begin)  # the answer leaves first
        return {"stopping": True, "pid": host_pid()}

    def _reap_strangers(self) -> None:
        """Collect orphans of loops that became ours because we are the first process of the pid namespace."""
        reap_strangers(self._kin())

    def _kin(self) -> list[int]:
        children = [*(loop.child for loop in self._loops.all), self._authority.child]
        return [child.pid for child in children if child is not None]

    # Status and end

    def status(self) -> status.Document:
        """Return the status document."""
        now = self._common.event_loop.now
        children = {loop.name: loop.child for loop in self._loops.all}
        children[AUTHORITY] = self._authority.child
        parts_of = {loop.name: loop.parts for loop in self._loops.all}
        view = status.StatusInput(
            now, self._started_at, host_pid(), self._rootless, boot_id(self._boot_nonce).hex(),
            self._shutdown.is_running, (*self._warnings, *self._decoys.warnings, *self._files.warnings),
            self._parts.limits(), self._reload.move is not None, self._parts, self._rounds.stuck.of,
            supervision_document(self._loops.restart_policy, self._loops.all, now), self._lock.document(),
            self._response.quarantined, self._anchors.document(),
        )  # fmt: skip
        return status.document(
            view,
            self._config,
            self._authority,
            self._loops.all,
            {name: (parts_of.get(name) or self._parts).sandbox(name) for name in children},
            {name: memory_kib(child.host_pid) for name, child in children.items() if child is not None},
            {name: self._monitor.pulse(name, now) for name in children},
            {name: self._loops.violations.of(name) for name in children},
        )

    def _stopping(self) -> None:
        self._events.stopping()
        self._restart.cancel()
        self._door_watch.cancel()
        self._reload.cancel()
        self._sessions.cancel()
        self._lock_verbs.cancel()
        self._rotation.cancel()

    def _end(self) -> None:
        self._events.stopped(self._result)
        remove_sockets(self._config)
        self._files.close()
        self._control.close()
        self._parts.release()
        self._exit_code = self._result
        if self._shutdown.quiet:
            return
        self._console.plain("supervisor", "stopped", "" if not self._result else f"exit code {self._result}")

    def _abandon(self) -> None:
        """Whatever went wrong here: leave no process behind."""
        loops: Loops | None = getattr(self, "_fleet", None)
        children = [*(loop.child for loop in loops.all), self._authority.child] if loops is not None else []
        for child in children:
            if child is not None:
                try:
                    signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
                    os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
                except (ProcessLookupError, ChildProcessError):
                    continue
        self._parts.release()
