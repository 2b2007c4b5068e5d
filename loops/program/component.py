"""The Python side of a component that is a program: it keeps the program running, and speaks for it.

Theory of operation. The class is made from the configuration (`component_class`): a method for each entry of `offers`,
whose arguments are checked here before the program sees them, and whose result is checked before a caller does. The
program is one kept run after the other. While one runs, `_serve` hears its notices (NOTIFY_SOCKET), speaks with it
(descriptor 3), and carries bytes between its standard input and output and its device, if it is granted one.

Ready is a run that has said so, if it has a way to, and has passed a check once, if there is one. Well is one that
passes its checks; before it is ready it has `start_s`. Both are asked by the runtime as of any component, so what
follows from not being well is what follows there: the process is started again, and its program with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from tlsrt.config.components import ComponentConfig
from tlsrt.config.offers import OfferConfig
from tlsrt.config.program_kind import CHECK, MAIN, checked_listener, host_of, words_of
from tlsrt.errors import Busy, Failed, ProgramError, Unavailable
from tlsrt.loops.component.component import Component
from tlsrt.loops.component.device import Device
from tlsrt.loops.component.method import MethodSpec, Parameter
from tlsrt.loops.component.program import Program
from tlsrt.loops.component.types import Mismatch
from tlsrt.loops.component.validate import compile_shape
from tlsrt.loops.program.conversation import ConversationEnded
from tlsrt.loops.program.json_rpc import Notification
from tlsrt.loops.program.link import CLOSED, Link
from tlsrt.loops.program.notice import read_notice_untrusted
from tlsrt.loops.program.probe import probe_http, probe_tcp
from tlsrt.loops.program.watchdog import Watchdog, WatchdogError
from tlsrt.text import printable

NEXT_S = 5.0  # that a call waits for a run: as long as one for a component that is started again
END_S = 1.0  # from the end of a program's descriptor 3 to its own
_LINE_MOST = 400
_CHECK_OUTPUT = 64 << 10


class _Run:
    """What is known of the run that there is."""

    def __init__(self, number: int, link: Link | None, *, has_said_so: bool, has_passed: bool) -> None:
        self.number = number
        self.link = link
        self.has_said_so = has_said_so  # that it is ready
        self.has_passed = has_passed  # a check
        self.was_ready = False


class ProgramComponent(Component):
    """A program."""

    program_config: ClassVar[ComponentConfig]

    async def start(self) -> None:
        """Have the program run from now on."""
        config = self.program_config
        self._running: _Run | None = None
        self._talks = asyncio.Event()  # there is a run that can be asked
        self._trouble = "it has not begun"
        self._unready_since = asyncio.get_running_loop().time()
        self._listener = checked_listener(config)
        self._device = self.device(config.needs.devices[0].name) if config.needs.devices else None
        self._kept = self.keep_running(
            MAIN, *words_of(config.args[0]), serve=self._serve, reads_output=self._device is not None
        )

    async def ready(self) -> str | None:
        """Say whether the program is ready to be called."""
        run = self._running
        self._trouble = self._unready(run) or (await self._look() if run is not None and not run.has_passed else "")
        if self._trouble or run is None:
            return self._trouble
        run.has_passed = run.was_ready = True
        return None

    def _unready(self, run: _Run | None) -> str:
        if run is None:
            return f"it does not run: {self._kept.last}" if self._kept.last else "it has not begun"
        if self._device is not None and not self._device.is_present:
            return f"its device {self._device.name} is not there"
        return "" if run.has_said_so else "it has not said READY=1"

    async def healthy(self) -> str | None:
        """Say whether the program is well."""
        run = self._running
        if run is None or not run.was_ready:
            late_s = asyncio.get_running_loop().time() - self._unready_since
            is_late = late_s > self.program_config.health.start_s
            return f"not ready after {late_s:.0f} s: {self._trouble}" if is_late else None
        return await self._look() or None

    async def _look(self) -> str:
        """Return what the check finds wrong; nothing without one."""
        health, listener = self.program_config.health, self._listener
        try:
            async with asyncio.timeout(health.timeout_s * 0.9):  # before the runtime gives up: we can say more
                if health.exec is not None:
                    return await self._run_check(words_of(health.exec.args[0]))
                if listener is not None and health.http is not None:
                    _, _, path = health.http.partition("/")
                    return await probe_http(host_of(listener), listener.port, f"/{path}")
                if listener is not None:
                    with self._tlsrt_listeners.look_at(listener.name) as watched:
                        return await probe_tcp(host_of(listener), listener.port, watched)
        except TimeoutError:
            what = "its check does not end" if listener is None else f"port {listener.port} does not answer"
            return f"{what} within {health.timeout_s:g} s"
        return ""

    async def _run_check(self, words: tuple[str, ...]) -> str:
        try:
            result = await self.run(CHECK, *words, most=_CHECK_OUTPUT)
        except (ProgramError, Busy) as error:
            return f"its check cannot be run: {error}"
        said = result.stderr.strip().rpartition("\n")[2]
        return f"its check ended with status {result.status}{f': {said}' if said else ''}" if result.status else ""

    # One run

    async def _serve(self, run: Program) -> None:
        config = self.program_config
        has_check = self._listener is not None or config.health.exec is not None
        link = Link(run.talk, self, self.log) if config.programs[0].talks else None
        state = self._running = _Run(run.number, link, has_said_so=not config.notifies, has_passed=not has_check)
        try:
            self._kept.restart(await self._until_trouble(run, state))
            await _ever()
        finally:
            self._running = None
            self._talks.clear()
            if state.was_ready:
                self._unready_since = asyncio.get_running_loop().time()
            if link is not None:
                link.close()

    async def _until_trouble(self, run: Program, state: _Run) -> str:
        """Speak with it and hear it, until it must not go on; return why."""
        trouble = ""
        try:
            async with asyncio.TaskGroup() as tasks:
                if state.link is not None:
                    tasks.create_task(_speak(state.link))
                    self._talks.set()
                if self._device is not None:
                    tasks.create_task(_read_device(self._device, run))
                    tasks.create_task(self._write_device(self._device, run))
                if self.program_config.notifies:
                    watchdog = Watchdog(self.program_config.watchdog_s)
                    tasks.create_task(self._hear(run, state, watchdog))
                    tasks.create_task(watchdog.watch())
                await _ever()
        except* (ConversationEnded, WatchdogError) as group:
            trouble = str(group.exceptions[0])  # nothing is awaited here: 3.11 makes a group of a cancellation
        return trouble

    async def _write_device(self, device: Device, run: Program) -> None:
        """Write to the device what the program writes; what it writes while that is away is dropped, and told once."""
        if device.mode == "r":
            await run.log_output()
            return
        lost = -1
        async for data in run:
            try:
                await device.write(data)
            except Unavailable:
                if lost != device.connections:
                    self.log.warning("device %s is not there: what the program writes to it is dropped", device.name)
                lost = device.connections

    async def _hear(self, run: Program, state: _Run, watchdog: Watchdog) -> None:
        """Take its notices. Raises WatchdogError for one that says that it is not well."""
        async for data in run.notices():
            notice = read_notice_untrusted(data)
            if notice.trigger:
                raise WatchdogError("it has said WATCHDOG=trigger")
            if notice.watchdog:
                watchdog.alive()
            elif notice.ready:
                watchdog.ready()
            if notice.reloading or notice.stopping:
                state.has_said_so = False
            state.has_said_so = state.has_said_so or notice.ready
            if notice.status is not None:
                self.set_status(notice.status)

    # What it says, and is asked

    def heard_untrusted(self, notification: Notification) -> str:
        """Take what the program tells over its descriptor 3; return what is wrong with it."""
        params = notification.params
        if notification.method == "event":
            topic = params.get("topic")
            if not isinstance(topic, str) or topic not in self.topics:
                return f"publishes on {printable(str(topic), 40)!r}, which its `topics` do not declare"
            self.publish(topic, params.get("value"))
            return ""
        if notification.method in ("log", "status") and isinstance(text := params.get("text"), str):
            if notification.method == "log":  # as what it writes, so that the journal names the program
                number = self._running.number if self._running is not None else 0
                self.log.info("%s #%s: %s", MAIN, number, printable(text, _LINE_MOST))
            else:
                self.set_status(printable(text, _LINE_MOST))
            return ""
        return f"notifies of {printable(notification.method, 40)!r}, which is not understood"

    async def _link(self) -> Link:
        """Return the link to the run that there is, or to the next one: no run has been asked yet."""
        try:
            async with asyncio.timeout(NEXT_S):
                while (run := self._running) is None or run.link is None or run.link.is_closed:
                    self._talks.clear()
                    await self._talks.wait()
        except TimeoutError:
            raise Unavailable("the program does not run") from None
        return run.link

    async def _ask(self, spec: MethodSpec, arguments: Mapping[str, object]) -> object:
        result = await (await self._link()).call(spec.name, arguments)
        try:
            return spec.returns.check(result)
        except Mismatch as error:
            self.log.warning("the program has answered %s with what it does not return: %s", spec.name, error.reason)
            raise Failed(f"{spec.name}: the program's answer{error.path}: {error.reason}") from None


async def _read_device(device: Device, run: Program) -> None:
    """Give the program what its device says, as fast as it reads."""
    async for data in device:
        await run.write(data)


async def _speak(link: Link) -> None:
    """Speak with a run to its end. Raises ConversationEnded, also for one that goes on with its descriptor closed."""
    await link.run()
    await asyncio.sleep(END_S)
    raise ConversationEnded(CLOSED)


async def _ever() -> None:
    """Wait until this task is cancelled, as it is with the end of its run."""
    await asyncio.get_running_loop().create_future()


def component_class(config: ComponentConfig) -> type[ProgramComponent]:
    """Return the class of a component that is a program. Raises MisuseError."""
    doc = f"{config.title or 'A program'}\n\nIt runs {config.run}."
    own = {"__doc__": doc, "program_config": config, "topics": dict(config.topics)}
    kind: type[ProgramComponent] = type("ProgramComponent", (ProgramComponent,), own)
    kind.__tlsrt_methods__ = {offer.name: _method(offer) for offer in config.offers}
    return kind


def _method(offer: OfferConfig) -> MethodSpec:
    """Return a method that asks the program."""

    async def ask(component: ProgramComponent, /, **arguments: object) -> object:
        return await component._ask(spec, arguments)

    parameters = tuple(
        Parameter(name, compile_shape(one.annotation), not one.has_default, one.default if one.has_default else None)
        for name, one in offer.arguments.items()
    )
    returns = compile_shape(offer.returns.annotation)
    spec = MethodSpec(offer.name, offer.says, ask, parameters, returns, stream=False, idempotent=offer.idempotent)
    return spec
