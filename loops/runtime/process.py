"""A loop process, from the sandbox's first step to its last heartbeat.

Theory of operation. The supervisor forks; the process is already in its own world (sandbox step 1) when `run` starts.
Then, in this order: privileges go (step 2) and are reported; the operator's components are imported and none may
have started a thread (step 3); event loop and channel come up and the sandbox is sealed (step 4). Only then, and only
if the supervisor finds from outside that all of it is true (step 5), does the authority answer `join` with keys. The
loop is ready with its first committed epoch, and active when its components have started.

Two control channels: life (fixed-size records, to the supervisor) and trust (keys, from the authority). The beat
comes from this event loop itself, with its measured lateness, and its number is the name of this thread by then
(channels/control/heartbeat_name.py), so that a loop which hangs cannot seem alive, whatever its other threads do.
"""

from __future__ import annotations

import asyncio
import logging
import math
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tlsrt.budget import Budget
from tlsrt.channels.calls.ending import Ending
from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.control.life import LIFE, FailCode, LoopState
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.channels.control.trust import PRIMARY, TRUST
from tlsrt.channels.event_loop import EventLoop
from tlsrt.channels.frames.frame import parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.verifier import Verifier
from tlsrt.config.code_look import ProcessCode
from tlsrt.config.components import ComponentConfig
from tlsrt.config.listeners import Interface
from tlsrt.config.schema import Config
from tlsrt.config.secrets import Sealings
from tlsrt.errors import ConfigError, PeerError, SandboxError
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.component_disk import start_disks
from tlsrt.loops.component.listeners import listeners_of
from tlsrt.loops.dispatch.fast_path import ReceiveFastPath
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.dispatch.tracer import Tracer
from tlsrt.loops.runtime.authority_client import AuthorityClient
from tlsrt.loops.runtime.bound_listeners import inherited_by
from tlsrt.loops.runtime.component_host import ComponentHost
from tlsrt.loops.runtime.free_heap import FreeHeap
from tlsrt.loops.runtime.grants import ProcessGrants
from tlsrt.loops.runtime.heartbeat import Heartbeat
from tlsrt.loops.runtime.imports import (
    LoopFailure,
    check_code,
    check_decoys,
    check_disk,
    check_placement,
    check_tasks,
    import_components,
    start_code,
    start_sentence,
)
from tlsrt.loops.runtime.jobs import ProcessJobs
from tlsrt.loops.runtime.library_settings import prepare_libraries, tell_ifaddr
from tlsrt.loops.runtime.life_orders import LifeOrders, Orders
from tlsrt.loops.runtime.life_reports import LifeReports
from tlsrt.loops.runtime.primary_watch import PrimaryWatch
from tlsrt.loops.runtime.process_figures import ProcessFigures
from tlsrt.loops.runtime.programs import ProcessPrograms
from tlsrt.loops.runtime.refusals import Refusals
from tlsrt.loops.runtime.rest import Rest
from tlsrt.loops.runtime.role import LoopRole
from tlsrt.loops.runtime.run import run_to_end
from tlsrt.loops.runtime.temporary_files import prepare_temporary
from tlsrt.loops.runtime.thread_watch import ThreadWatch
from tlsrt.loops.runtime.trust_conversation import TrustConversation
from tlsrt.loops.runtime.work_threads import AskedThreads
from tlsrt.sandbox.apply.enter import Confinement
from tlsrt.sandbox.apply.imports import end_imports
from tlsrt.text import sentence as one_line

FINISH_S = 0.5  # for the kernel to take the last answers
SETTLE_S = 0.05  # for the last answers to pass the gate and their readers, before the end of our sessions is told


class LoopProcess:
    """The process of one loop. `make_role` makes what its kind of loop adds, in the event loop and before the seal."""

    def __init__(
        self, config: Config, name: str, incarnation: int, life: int, trust: int, listeners: Mapping[str, int],
        confinement: Confinement, make_role: Callable[[LoopProcess], LoopRole],
        sealings: Mapping[str, Sealings] = MappingProxyType({}),
        interfaces: Mapping[str, Interface] = MappingProxyType({}), code: ProcessCode | None = None,
    ) -> None:  # fmt: skip
        self._code = code or ProcessCode()
        self._sealings = sealings
        self.config = config
        self.name = name
        self.incarnation = incarnation
        self.listeners = listeners
        self._interfaces = interfaces
        self.confinement = confinement
        self.log = logging.getLogger(name)
        self.refusals = Refusals(self.log)
        self.verifier = Verifier(config.sessions_remembered)
        self.arrivals = ReceiveFastPath(self.verifier)
        self.hosts: dict[str, ComponentHost] = {}
        self.trust = ControlChannel(trust, TRUST)
        self._make_role = make_role
        self._life = ControlChannel(life, LIFE)
        say = ("ask", "alert", "ask_runtime")
        self.grants = ProcessGrants(config, name, *(partial(self._life.send, word) for word in say))
        self._state = LoopState.SPAWNED
        self._exit_code = 0
        self._ended = asyncio.Event()
        self._task: asyncio.Task[None] | None = None  # a task that nothing holds may be collected
        self._heartbeat = Heartbeat(name, self._life, self._beat)
        self._was_busy = False  # when it was drained
        self._tracer = Tracer()
        self._free_heap = FreeHeap()
        self._threads = AskedThreads(confinement.profile.threads, self.log)

    # -- steps 2 to 4 of the sandbox, then the event loop -----------------------------------------------------

    def run(self) -> int:
        """Return the exit code of the process."""
        try:
            mine = inherited_by(self.config.listeners, self.name, self.listeners, self._interfaces)
            prepare_libraries(self.confinement.profile, mine)
            report = self.confinement.drop()
            self._life.send("confined", self.confinement.profile.digest(), report.digest())
            placed = self.config.components_of(self.name)
            self._programs = ProcessPrograms(placed, self._life, self._tracer)
            check_placement(self.name, placed)
            if any(not one.builtin for one in placed):
                prepare_temporary(Path(self.confinement.path("/state")))
            self.grants.paths.install()
            watch = ThreadWatch(self.confinement.is_single_task)
            components = import_components(placed, self.log, watch)
            tell_ifaddr(self._interfaces.values())
            check_decoys(components, self.config.deception)
            check_disk(components)
            check_tasks(self.confinement, watch)
            loop = EventLoop()
            self.batch = WriteBatch(loop)
            self.shares = ProcessorShares(self.batch, self)
            self._jobs = ProcessJobs(
                self.trust.send, self.shares, boottime_ms, self._tracer, is_gate=self.name == PRIMARY
            )
            loop.run_until_complete(self._take_role())
            for config, component in components:
                self._add_host(config, component)
            check_code(self._code, self.log)
            self.confinement.seal(lambda: start_disks(component for _, component in components))
            end_imports()
            is_known = self.confinement.profile.tasks_at_once is not None
            self._threads.prepare(loop, ", ".join(self.hosts) or self.name, is_known=is_known)
            self._life.send("sealed")
            run_to_end(loop, self._main(), self.log)
            return self._exit_code
        except LoopFailure as failure:
            self.log.error("%s", failure)
            self._fail(failure.code, failure.index)
        except SandboxError as error:
            self.log.error("%s", error)
            self._fail(FailCode.SANDBOX, 0)
        except PeerError as error:
            self.log.error("control channel: %s", error.reason)
        except MemoryError:
            self.log.error("out of memory: its limit is memory_mb in the configuration")
            self._fail(FailCode.MEMORY, 0)
        except Exception:
            self.log.exception("internal error")
            self._fail(FailCode.INTERNAL, 0)
        return 70

    def _fail(self, code: FailCode, index: int) -> None:
        with suppress(PeerError):  # the supervisor has ended
            self._life.send("failed", int(code), index)

    def _add_host(self, config: ComponentConfig, component: Component) -> None:
        state = Path(self.confinement.path("/state")) / config.name
        state.mkdir(mode=0o700, exist_ok=True)
        host = self.hosts[config.address] = ComponentHost(
            config, component, self.verifier, self.role.channel, boottime_ms, state, self.shares,
            waiting_max=self.config.limits.queue_frames, batch=self.batch, failures=self,
            grants=self.grants.of(config), programs=self._programs,
            is_measured=self.config.metrics.place is not None, tracer=self._tracer,
            work=self._threads.work if config.needs.threads else None,
            sealings=self._sealings.get(config.address, {}), jobs=self._jobs,
            listeners=listeners_of(config.address, self.config.listeners, self.listeners, self._interfaces),
        )  # fmt: skip
        host.responder.hold()
        self.arrivals.add(host)

    # -- the event loop ---------------------------------------------------------------------------------------

    async def _take_role(self) -> None:
        self.role = self._make_role(self)

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        self.authority = AuthorityClient(
            self.verifier, {name: host.endpoint for name, host in self.hosts.items()}, self.role.monitor,
            {name: host.secrets for name, host in self.hosts.items()}, self._jobs,
        )  # fmt: skip
        self.conversation = TrustConversation(
            self.trust, self.authority, self.verifier, self, takes_descriptors=self.role.monitor is not None
        )
        self._reports = LifeReports(self._life, self._heartbeat, [*self.hosts.values()], self._threads)
        self._rest = Rest(self, self.conversation, self._heartbeat, self.verifier, boottime_ms)
        self._figures = ProcessFigures(self.hosts, self.role.figures, self.log, self._tracer)
        self._orders = LifeOrders(self._life, lambda: self._state, self._own_orders())
        self.primary = PrimaryWatch(self.hosts, self.verifier, self.role)
        # PID 1 of a namespace gets only signals it handles.
        loop.add_signal_handler(signal.SIGTERM, self._end, 0, "stopped")
        loop.add_reader(self._life.fileno(), self._on_life)
        loop.add_reader(self.trust.fileno(), self.conversation.read)
        self._state = LoopState.SEALED
        self.conversation.join()
        self._heartbeat.start()
        await self._ended.wait()
        if self._exit_code == 0:
            await self.role.channel.finish(FINISH_S)
            if self._was_busy:
                await asyncio.sleep(SETTLE_S)

    @property
    def waits_for_keys(self) -> bool:
        return self._state in (LoopState.SEALED, LoopState.ATTESTED)

    def on_trust(self) -> None:
        if self.authority.committed and self._state == LoopState.SEALED:
            self._state = LoopState.READY
            self._life.send("ready")
        self.primary.look()
        self._rest.on_trust()
        self._heartbeat.go_along()

    def on_trust_lost(self, reason: str) -> None:
        self._end(70, f"trust channel: {reason}")

    def end_calls_before(self, epoch: int) -> None:
        for host in self.hosts.values():
            host.caller.pending.end_before(epoch)

    def end_calls(self, ending: Ending) -> None:
        self.arrivals.forget_sessions(ending.sessions)
        for host in self.hosts.values():
            host.end_calls(ending)
        self._jobs.end(ending)

    def lock(self, epoch: int) -> None:
        """Take no keys and run no component from now on. `epoch` is only what our heartbeats say."""
        if self.verifier.epochs:
            raise PeerError("locked_with_keys")
        self.authority.is_locked = True
        self.authority.committed = epoch
        self.hosts.clear()
        self._reports.forget_components()

    def _own_orders(self) -> Orders:
        return {
            "activate": lambda fields, descriptors: self._spawn(self._activate()),
            "drain": lambda fields, descriptors: self._spawn(self._drain(fields[0] / 1000)),
            "stop": lambda fields, descriptors: self._end(0, "stopped"),
            "primary_up": lambda fields, descriptors: self.primary.note(fields[0]),
            "primary_down": lambda fields, descriptors: self.primary.note(0),
            "link": lambda fields, descriptors: self.role.link(fields.process, descriptors[0]),
            "unlink": lambda fields, descriptors: self.role.unlink(fields.process),
            "spans": self._tracer.hear,
            "may_rest": lambda fields, descriptors: self._rest.allow(),
            "ask_beat": lambda fields, descriptors: self._heartbeat.beat_now(),
            "figures": lambda fields, descriptors: self._figures.page_came(descriptors[0]),
            **self.grants.orders,
            **self._programs.orders,
        }

    def _on_life(self) -> None:
        try:
            self._orders.read()
        except PeerError as error:
            self._end(70, f"life channel: {error.reason}")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)

    async def _activate(self) -> None:
        await self.grants.devices_come()
        for index, host in enumerate(self.hosts.values()):
            try:
                await host.start()
            except Exception as error:
                is_clear = isinstance(error, ConfigError)  # its sentence follows, and says what to do
                self.log.error("component %s does not start", host.config.address, exc_info=not is_clear)
                self._end(70, start_sentence(host.config.address, error))
                self._fail(start_code(error), index)  # after it: the supervisor shows the last line of the log
                return
        self._state = LoopState.ACTIVE
        self._life.send("active")
        self._reports.begin(asyncio.get_running_loop().time())
        self.role.on_active()

    async def _drain(self, timeout_s: float) -> None:
        self._state = LoopState.DRAINING
        self._rest.end()
        self._was_busy = any(host.responder.running for host in self.hosts.values())
        await self.role.before_drain(timeout_s)
        for host in reversed(self.hosts.values()):
            try:
                await host.stop(timeout_s)
            except Exception:
                self.log.exception("component %s does not stop", host.config.address)
        try:
            self._life.send("drained")
        except PeerError as error:
            self._end(70, f"life channel: {error.reason}")

    def component_failed(self, address: str, sentence: str) -> None:
        """End the process, for a component that cannot go on."""
        if self._exit_code == 0:
            self._end(70, f"component {address} has failed: {one_line(sentence)}")
            index = [*self.hosts].index(address) if address in self.hosts else 0
            self._fail(FailCode.TASK, index)  # after it: the supervisor shows the last line of the log

    def _end(self, code: int, why: str) -> None:
        self.log.info("%s", why)
        self._exit_code = code
        self._ended.set()

    def _beat(self, now: float) -> None:
        self.refusals.next_beat()
        now_ms = boottime_ms()
        for host in self.hosts.values():
            host.endpoint.retire(now_ms)
        self.role.each_beat(now_ms)
        self.conversation.each_beat()
        if self._state in (LoopState.READY, LoopState.ACTIVE, LoopState.DRAINING):
            if not self.authority.is_locked and not self.verifier.is_synchronised(now_ms) and self._rest.misses_feed:
                self.conversation.ask_anew()
            try:
                self._reports.send(
                    self.role.channel.depth, self.role.frames_in, self.role.frames_out, self.refusals.count,
                    self.role.sessions, self.authority.committed,
                )  # fmt: skip
            except PeerError as error:
                if error.reason != "hung":
                    self._end(70, f"life channel: {error.reason}")
        self._figures.each_beat(is_rare=not self._rest.is_awake)
        self._free_heap.each_beat()
        if self._state is LoopState.ACTIVE:
            self._reports.check(now)
            for host in self.hosts.values():
                host.timers.each_beat()
            self._rest.each_beat(now, (self.role.frames_in, self.role.frames_out, self.refusals.count))

    def is_quiet(self) -> bool:
        """Tell whether nothing is in flight that needs beats."""
        is_known = self._state is LoopState.ACTIVE and not self.authority.is_locked and not self.authority.prepared
        return is_known and not self.role.channel.depth and all(host.is_quiet for host in self.hosts.values())

    def next_look(self, now: float) -> float:
        """Return at which time of the event loop a beat has something to do; infinite for never."""
        timers = min((host.timers.next_look() for host in self.hosts.values()), default=math.inf)
        return min(self._reports.next_look(now), now + timers)

    # -- frames -------------------------------------------------------------------------------------------------

    def take(self, data: bytes) -> None:
        """Take a frame that the gate forwarded; the recipient checks again."""
        if not self._rest.is_awake and self._rest.holds_untrusted(data):
            return
        try:
            host, opened = self.arrivals.open_untrusted(data, boottime_ms())
            host.on_opened_untrusted(opened)
        except PeerError as error:
            self.refusals.note(error.reason)
            self.role.on_refused_frame(data, error.reason)
            if error.reason == Budget.REMEMBERED:
                self._turn_away_untrusted(data)

    def _turn_away_untrusted(self, data: bytes) -> None:
        """Answer an authentic frame of a session for which there is no room: its sender must not wait in vain."""
        header = parse_header_untrusted(parse_frame_untrusted(data).header)
        host = self.hosts.get(header.dst)
        if host is not None:
            host.responder.answer_unremembered(header)

    def on_refused_session(self, session: bytes, reason: str) -> None:
        """Take note that a request which had waited for its turn could not be read."""
        self.refusals.note(reason)
        self.role.on_refused_session(session, reason)

    def on_over_budget(self, session: bytes, budget: Budget) -> None:
        """Report whose subject uses more than its share of this loop."""
        self.role.on_over_budget(session, budget)
