"""The sealed process of a component under test: the steps of a loop, and a conversation in place of a gate."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlsrt.channels.event_loop import EventLoop
from tlsrt.config.components import ComponentConfig
from tlsrt.config.import_path import also_measured
from tlsrt.errors import SandboxError
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.component_disk import disk_threads_of
from tlsrt.loops.component.work import Work
from tlsrt.loops.component.worker_pool import WorkerLimits
from tlsrt.loops.runtime.imports import LoopFailure, import_components
from tlsrt.loops.runtime.library_settings import prepare_libraries
from tlsrt.loops.runtime.temporary_files import prepare_temporary
from tlsrt.loops.runtime.thread_watch import ThreadWatch
from tlsrt.loops.runtime.work_threads import AskedThreads
from tlsrt.sandbox.apply.enter import enter_world
from tlsrt.sandbox.apply.imports import end_imports
from tlsrt.sandbox.apply.root_filesystem import RootPlan
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.testing.handed_workers import AskedWorkers
from tlsrt.testing.hosted import HostedComponent
from tlsrt.testing.socket_carrier import SocketCarrier


@dataclass(frozen=True, slots=True)
class SealedStart:
    """What such a process begins with; the descriptors are open in it."""

    component: ComponentConfig
    profile: Profile
    plan: RootPlan | None
    importable: frozenset[str]
    secrets: Mapping[str, bytes]
    talk: int  # its end of the conversation
    log: int  # becomes standard output and standard error
    reports: int
    workers: int  # over which it asks the test for workers
    limits: Mapping[str, WorkerLimits]  # of its workers


def run_sealed(start: SealedStart) -> int:
    """In the child: all steps of the sandbox, then the component, until the other end says stop or is gone."""
    os.dup2(start.log, 1, inheritable=False)
    os.dup2(start.log, 2, inheritable=False)
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
    log = logging.getLogger(start.component.process)
    also_measured(start.importable)
    confinement = enter_world(
        start.profile, {start.talk, start.workers}, death_pipe=start.talk, reports=start.reports, plan=start.plan
    )
    prepare_libraries(start.profile, ())
    confinement.drop()
    prepare_temporary(Path(confinement.path("/state")))
    watch = ThreadWatch(confinement.is_single_task)
    try:
        ((_, component),) = import_components([start.component], log, watch)
    except LoopFailure as failure:
        log.error("%s", failure)
        return 70
    try:
        confinement.assert_one_task()
    except SandboxError:
        log.error("%s", watch.sentence())
        return 70
    loop = EventLoop()
    threads = AskedThreads(start.component.needs.threads, log)

    def start_threads() -> None:
        for disk in disk_threads_of(component):
            disk.start()

    confinement.seal(start_threads)
    end_imports()
    threads.prepare(loop, start.component.address, is_known=confinement.profile.tasks_at_once is not None)
    state = Path(confinement.path("/state"))
    loop.run_until_complete(_converse(start, component, state, threads.work))
    return 0


async def _converse(start: SealedStart, component: Component, state: Path, work: Work | None) -> None:
    carrier = SocketCarrier(socket.socket(fileno=start.talk))
    hosted = HostedComponent(
        component, carrier, address=start.component.address, options=start.component.options, state=state, work=work,
        secrets=start.secrets,
        programs=AskedWorkers(start.workers, start.limits, logging.getLogger(start.component.address)),
    )  # fmt: skip
    carrier.start(hosted.conversation.on_message, hosted.ended.set)
    await hosted.ended.wait()
    carrier.close()
