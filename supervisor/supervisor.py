"""The supervisor: privileged, keyless, one epoll loop.

It takes the lock, makes folders and sockets, imports everything once, forks the authority and the loops, and from then
on only listens: to life channels, to the authority, to pidfds, to the control socket, to signals and to the clock.
It reads no key byte, takes nothing that a loop wrote for more than fixed-size records and words, and starts no thread.
What it does beside that are features (`supervision/feature.py`); `_build` has the list of them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from random import SystemRandom

from tlsrt.config.schema import Config
from tlsrt.config.supervision import PRIMARY
from tlsrt.supervisor.control.audit_heads import AuditHeads
from tlsrt.supervisor.control.canary_files import CanaryFiles
from tlsrt.supervisor.control.certificates import Certificates
from tlsrt.supervisor.control.decoys import DecoyReport
from tlsrt.supervisor.control.event_feed import EventFeed
from tlsrt.supervisor.control.figures import HostFigures
from tlsrt.supervisor.control.host_acts import HostActs
from tlsrt.supervisor.control.lock import LockControl
from tlsrt.supervisor.control.manager_notices import ManagerNotices
from tlsrt.supervisor.control.page_record import PageRecord
from tlsrt.supervisor.control.peer_credentials import is_kin
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.control.restart import RestartRequest
from tlsrt.supervisor.control.runtime_acts import RuntimeActs
from tlsrt.supervisor.control.server import ControlSocket
from tlsrt.supervisor.control.status import Standing, StartFacts, Status
from tlsrt.supervisor.control.stop import StopRequest
from tlsrt.supervisor.events.host_events import HostEvents
from tlsrt.supervisor.events.log_output import LogOutput, LogSink
from tlsrt.supervisor.process.boot_nonce import new_boot_nonce
from tlsrt.supervisor.process.children import Children
from tlsrt.supervisor.process.component_listeners import ComponentListeners
from tlsrt.supervisor.process.console import Console
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.folders import make_folder, make_folders
from tlsrt.supervisor.process.instance_lock import WAIT_S, take_lock
from tlsrt.supervisor.process.listeners import DECOY, DOOR, channel_listeners, remove_sockets
from tlsrt.supervisor.process.logs import open_log
from tlsrt.supervisor.process.memfd import sealed_memory
from tlsrt.supervisor.process.metrics_listener import metrics_listener, remove_metrics_socket
from tlsrt.supervisor.process.passed_listeners import PassedListeners
from tlsrt.supervisor.process.service_manager import Manager, ServiceManager
from tlsrt.supervisor.process.undo_processes import UndoProcesses
from tlsrt.supervisor.reload.dry_run import DryRun
from tlsrt.supervisor.reload.file_watcher import FileWatcher
from tlsrt.supervisor.reload.key_rotation import KeyRotation
from tlsrt.supervisor.reload.reload import Reload
from tlsrt.supervisor.supervision.acme_process import AcmeProcess
from tlsrt.supervisor.supervision.alerts import Alerts
from tlsrt.supervisor.supervision.authority_process import MESSAGES, AuthorityProcess
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.buses import Buses
from tlsrt.supervisor.supervision.context import Context, Reading, Reloadable
from tlsrt.supervisor.supervision.devices import Devices
from tlsrt.supervisor.supervision.egress_meter import EgressMeter
from tlsrt.supervisor.supervision.export_process import ExportProcess
from tlsrt.supervisor.supervision.feature import Features
from tlsrt.supervisor.supervision.findings import Findings
from tlsrt.supervisor.supervision.fork_server_watch import ForkServerWatch
from tlsrt.supervisor.supervision.heartbeat import HeartbeatMonitor, HeartbeatPolicy
from tlsrt.supervisor.supervision.helper_process import HelperProcess, NetworkHelperProcess
from tlsrt.supervisor.supervision.helper_requests import HelperRequests
from tlsrt.supervisor.supervision.host_event_feeds import HostEventFeeds
from tlsrt.supervisor.supervision.learner_process import LearnerProcess
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.metrics_process import MetricsProcess
from tlsrt.supervisor.supervision.names import Names
from tlsrt.supervisor.supervision.own_processes import OwnProcesses
from tlsrt.supervisor.supervision.process_feeds import ProcessFeeds
from tlsrt.supervisor.supervision.program_run import ProgramSlots
from tlsrt.supervisor.supervision.programs import Programs
from tlsrt.supervisor.supervision.resolver_process import ResolverProcess
from tlsrt.supervisor.supervision.restart_policy import RestartPolicy
from tlsrt.supervisor.supervision.restarter import Restarter
from tlsrt.supervisor.supervision.running_changes import RunningChanges
from tlsrt.supervisor.supervision.shutdown import Shutdown
from tlsrt.supervisor.supervision.startup_report import StartupReport
from tlsrt.supervisor.supervision.watchdog import Watchdog


class Supervisor:
    """One life of a host, from the lock to the last process."""

    def __init__(
        self,
        config: Config,
        children: Children,
        console: Console,
        *,
        measure: Callable[[], bytes],
        rootless: bool = False,
        warnings: Sequence[str] = (),
        death_pipe: int | None = None,
        age_s: float = 0.0,
        heartbeat: HeartbeatPolicy | None = None,
        lock_wait_s: float = WAIT_S,
        read: Callable[[Reloadable], Reading] | None = None,
        chance: Callable[[], float] | None = None,
        log: LogSink | None = None,
        manager: Manager | None = None,
        passed: PassedListeners | None = None,
        undos: UndoProcesses | None = None,
    ) -> None:
        self._current = Reloadable(config, children, tuple(warnings))
        self._measure = measure
        self._console = console
        self._rootless = rootless
        self._death_pipe = death_pipe
        self._age_s = age_s  # how long ago the operator's command began
        self._heartbeat = heartbeat or HeartbeatPolicy()
        self._lock_wait_s = lock_wait_s
        self._read = read
        self._manager = manager or ServiceManager()
        self._log = log
        self._passed = passed or PassedListeners(self._manager)
        self._undos = undos or UndoProcesses()
        self._chance = chance or SystemRandom().random  # of delays between restarts
        self._processes: OwnProcesses | None = None  # none before they can be

    def run(self) -> int:
        """Live until stopped; return the exit code.

        Raises AlreadyRunning and ConfigError before anything runs; ConfigError when the authority refuses to boot and
        SandboxError when this host cannot confine a process, after everything was stopped again.
        """
        event_loop = EventLoop()
        self._started_at = event_loop.now
        try:
            self._begin(event_loop)
            while not self._shutdown.is_done:
                event_loop.run_once()
            self._finish()
            if self._shutdown.error is not None:
                raise self._shutdown.error
            return self._shutdown.exit_code
        finally:
            self._abandon()
            event_loop.close()

    # Start

    def _begin(self, event_loop: EventLoop) -> None:
        config, children = self._current.config, self._current.children
        self._check_files()  # what is missing is said before anything is made
        make_folder(config.state_dir)
        lock = take_lock(config.state_dir / "lock", wait_s=self._lock_wait_s)
        children.claim()
        children.reserve()
        make_folders(config, children.uid)
        sockets = channel_listeners(config, children.uid)
        listeners = {PRIMARY: sockets}
        of_door = listeners.setdefault(config.door.runs_in, {})
        of_door[DOOR] = self._passed.door(config.door)
        if config.deception.endpoint is not None:
            of_door[DECOY] = self._passed.decoy(config.deception.endpoint)
        self._passed.settle()
        component_listeners = ComponentListeners(config, children.answering_group)
        self._context = Context(self._current, event_loop, self._console, lock, chance=self._chance)
        self._processes = self._build(listeners, component_listeners, metrics_listener(config.metrics.place))
        self._take_signals(event_loop, self._processes)
        self._say_warnings()
        for listener in component_listeners.all:
            self._context.events.emit("listening", listener.process, listener.sentence)
        self._canaries.start()
        self._fork_all()

    def _check_files(self) -> None:
        files = self._current.children.files
        for descriptor in (*files.open_boot_files(-1), *files.open_door_files(), files.open_ca_key()):
            os.close(descriptor)

    def _build(
        self, listeners: Mapping[str, dict[str, int]], component_listeners: ComponentListeners, metrics_socket: int = -1
    ) -> OwnProcesses:  # fmt: skip
        """Make what lives as long as the host, and the list of features in the order of notification."""
        config, context = self._current.config, self._context
        nonce, boot_id = new_boot_nonce()
        boot = boot_id.hex()
        features = Features()
        monitor = HeartbeatMonitor(self._heartbeat, features.heartbeat_suspected)
        policy = RestartPolicy(config.supervision, [loop.name for loop in config.loops], context.chance)
        each = [
            Loop(
                config.loop(name), index, open_log(config, name), str(config.log_dir / f"{name}.log"),
                on_moved=features.loop_moved,
            )
            for index, name in enumerate(policy.order)
        ]  # fmt: skip
        authority = self._authority = AuthorityProcess(
            context,
            nonce,
            boot_id,
            open_log(config, AUTHORITY),
            monitor,
            str(config.log_dir / "authority.log"),
            each,
            features,
        )
        loops = self._loops = Loops(
            context, authority, each, listeners, component_listeners, monitor, policy, features
        )  # fmt: skip
        changes = RunningChanges()
        slots = ProgramSlots(context, changes)
        programs = Programs(context, loops, slots, component_listeners, self._undos)
        restarter = Restarter(context, loops, features)
        restart = RestartRequest(context, loops, restarter, changes)
        stop = StopRequest(context, loops, restarter, restart, changes)
        resolver = self._resolver = ResolverProcess(context)
        names = Names(context, resolver)
        export = ExportProcess(context, loops, names, os.uname().nodename)
        output = LogOutput(context, self._log, config.log_dir, export)
        events = HostEvents(context, authority.channel, boot, len(each))
        helper = HelperProcess(context)
        network_helper = NetworkHelperProcess(context)
        requests = OperatorRequests(context, authority)
        acme = AcmeProcess(context)
        certificates = Certificates(context, authority, requests, acme, (resolver.look, names.look))
        devices = Devices(context, loops, helper)
        lock = LockControl(context, loops, restarter, authority, requests)
        self._reload = Reload(
            context, loops, restarter, authority, changes, component_listeners, programs, self._read
        )  # fmt: skip
        audit = AuditHeads(context)
        self._canaries = CanaryFiles(context, authority)
        decoys = DecoyReport(context, authority, self._canaries)
        helper_requests = HelperRequests(context, loops, helper, network_helper, devices, requests)
        self._shutdown = Shutdown(context, loops, authority, helper_requests.undoing, features)
        learner = LearnerProcess(context, authority.channel)
        services = helper, network_helper, resolver, acme, learner
        process_feeds = ProcessFeeds(context, loops, authority, (*services, export))
        figures = HostFigures(
            context,
            loops,
            authority,
            monitor,
            lock,
            requests,
            audit,
            self._shutdown,
            services,
            self._started_at,
            certificates,
        )
        metrics = MetricsProcess(context, loops, figures, config.metrics.place, metrics_socket)
        self._watchdog = Watchdog(context, loops, authority, (*services, metrics, export), features)
        status = Status(
            context, loops, authority, monitor, self._watchdog, self._shutdown, changes,
            Standing(
                lock, requests, audit, self._canaries, decoys, helper, network_helper, devices, programs, resolver,
                names, metrics, export, certificates, learner,
            ),
            StartFacts(self._started_at, self._rootless, boot),
        )  # fmt: skip
        watcher = FileWatcher(context.event_loop, lambda: context.current.config.door, self._reload.ask_door)
        if config.door.watch:
            watcher.begin()
        features.register(
            (
                restarter,  # what a loop's state means for others is decided before anything else hears of it
                events,
                EventFeed(context.event_loop, context.events),
                StartupReport(context, loops, authority, component_listeners, self._started_at - self._age_s),
                lock,  # the authority hears of a lock before it hears of any loop
                self._watchdog,
                ForkServerWatch(context),
                authority,
                loops,
                helper,
                network_helper,
                resolver,
                acme,
                learner,
                metrics,
                names,
                EgressMeter(context),
                devices,
                HostEventFeeds(context, loops, helper),
                process_feeds,
                helper_requests,
                Alerts(context, authority),
                programs,
                Buses(context, programs),
                restart,
                stop,
                RuntimeActs(
                    context,
                    loops,
                    stop,
                    requests,
                    self._shutdown,
                    authority.files,
                    status.document,
                    HostActs(context, loops, restart, lock, requests),
                ),
                watcher,
                self._reload,
                DryRun(context, loops, authority, changes, self._reload, self._read),
                PageRecord(context, requests),
                KeyRotation(context, loops, authority, changes),
                requests,
                certificates,
                audit,
                self._canaries,
                decoys,
                Findings(context, loops, events.reported),
                status,
                ManagerNotices(context, loops, lock, self._manager),
                self._shutdown,
                output,  # almost the last, to hear what all others have said
                export,  # which sends that
            ),
            MESSAGES,
        )
        self._features = features
        processes = OwnProcesses(context, loops, authority, (*services, metrics, export), programs)
        self._control = ControlSocket(
            context.event_loop, config.run_dir, features.verbs(), is_kin=lambda pid: is_kin(pid, processes.pids),
            on_bug=lambda bug: self._console.warning("supervisor", f"a bug of tlsrt: {bug}"),
        )  # fmt: skip
        return processes

    def _take_signals(self, event_loop: EventLoop, processes: OwnProcesses) -> None:
        event_loop.take_signals(
            {
                signal.SIGTERM: self._shutdown.begin,
                signal.SIGINT: self._shutdown.interrupt,
                signal.SIGHUP: lambda: self._reload.ask(lambda answer: None),  # the console says how it went
                signal.SIGCHLD: processes.reap_strangers,
            },
            ignored=(signal.SIGPIPE,),
        )
        if self._death_pipe is not None:
            event_loop.watch(self._death_pipe, self._launcher_gone, 0)  # only its hang-up

    def _launcher_gone(self, events: int) -> None:
        if self._death_pipe is not None:
            self._context.event_loop.forget(self._death_pipe)
            self._death_pipe = None
        self._shutdown.begin()

    def _fork_all(self) -> None:
        for loop in self._loops.all:
            self._loops.starter.prepare(loop)
        self._current.children.preload_common()
        self._authority.spawn()
        self._current.children.preload()  # while the authority imports what it needs
        self._resolver.look()  # so that names are there when components begin
        for loop in self._loops.all:
            self._loops.spawn(loop)
        self._authority.files.measurement = sealed_memory(self._measure())  # while the children build their sandboxes
        if self._authority.process.child is not None:
            self._authority.boot()
        self._watchdog.begin()

    def _say_warnings(self) -> None:
        for warning in self._current.warnings:
            self._console.warning("supervisor", warning)

    def _finish(self) -> None:
        """Let go of everything, after the last process has ended."""
        remove_sockets(self._current.config)
        remove_metrics_socket(self._current.config.metrics.place)
        self._context.current.children.release()
        self._control.close()  # last: `stop` waits for it
        if not self._shutdown.quiet:
            code = self._shutdown.exit_code
            self._console.plain("supervisor", "stopped", f"exit code {code}" if code else "")

    def _abandon(self) -> None:
        """Whatever went wrong here: leave no process behind."""
        if self._processes is not None:
            self._processes.kill()
        self._current.children.release()
