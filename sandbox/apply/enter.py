"""Entering the sandbox: the order of the steps, enforced.

    enter_world(profile, keep)        what the process can see    (then: our own imports)
    Confinement.drop() -> Report      what the process can do, and seal stage 1    (then: foreign imports)
    Confinement.assert_one_task()     nothing may have started a thread that the seal would miss
    Confinement.seal() -> Report      seal stage 2    (after event loop and sockets)

A step out of order is a MisuseError. A layer that fails is a SandboxError, unless the operator waived it by name;
then the report says so. The report of `drop` is made before foreign code runs; a later one is information only.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tlsrt.errors import MisuseError, SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.layers import LAYERS, LayerContext, LayerStep, make_filters
from tlsrt.sandbox.apply.root_filesystem import RootPlan
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.seccomp.notify import close_taken_listener

_ENDING_TASK_S = 0.1  # a joined Python thread is still a task for a moment


@dataclass(frozen=True, slots=True)
class ConfinementReport:
    """What was applied. Layer names in order, (layer, reason) of waived ones, (layer, digest) of filters."""

    layers: tuple[str, ...]
    waived: tuple[tuple[str, str], ...]
    digests: tuple[tuple[str, bytes], ...]

    def digest(self) -> bytes:
        """Return one digest over all filters that were applied."""
        made = hashlib.sha256()
        for layer, value in self.digests:
            made.update(layer.encode() + b"\0" + value)
        return made.digest()


class Confinement:
    """One process on its way into the sandbox; made by `enter_world` only."""

    def __init__(self, profile: Profile, context: LayerContext) -> None:
        self.profile = profile
        self._context = context
        self._next = "enter_world"
        self._layers = context.applied
        self._waived: list[tuple[str, str]] = []
        self._status = -1  # only where something outside forbids unshare(2)
        self._digests: list[tuple[str, bytes]] = []

    def _begin(self, step: str, following: str) -> None:
        if self._next != step:
            raise MisuseError(f"cannot {step} now: the next step of the sandbox is {self._next}")
        self._next = "nothing: a step failed"
        self._following = following

    def _end(self) -> None:
        self._next = self._following

    def _apply(self, step: LayerStep) -> None:
        for layer in LAYERS:
            if layer.step is not step or layer.name not in self.profile.layers:
                continue
            try:
                digest = layer.apply(self.profile, self._context)
            except (OSError, SandboxError) as error:
                reason = error.reason if isinstance(error, SandboxError) else str(error.strerror)
                if layer.name not in self.profile.waived:
                    raise SandboxError(layer.name, reason) from error
                self._waived.append((layer.name, reason))
                continue
            self._layers.append(layer.name)
            if digest is not None:
                self._digests.append((layer.name, digest))

    def _world(self) -> None:
        self._begin("enter_world", "drop")
        known = {layer.name for layer in LAYERS}
        for name in self.profile.layers:
            if name not in known:
                raise SandboxError(name, "there is no such layer")
        self._apply(LayerStep.WORLD)
        if self.profile.reopened and "mount_namespace" not in self._layers:
            raise SandboxError(  # by the rule that lets it open anew what it is handed
                "mount_namespace", f"{self.profile.name} would reach all devices and settings: no waiver is good for it"
            )
        with suppress(OSError):  # without /proc and unshare, `assert_one_task` says so
            self._status = syscalls.task_status()
        self._end()

    def drop(self) -> ConfinementReport:
        """Give up uid, groups, capabilities and every way to new ones; then seal stage 1.

        Raises SandboxError for a layer that fails, and for a folder of the profile that the uid cannot read.
        """
        self._begin("drop", "assert_one_task")
        self._apply(LayerStep.DROP)
        self._check_readable()
        self._apply(LayerStep.SEAL_STAGE_1)
        if self._context.reports is not None and "seccomp_reports" not in self._layers:
            os.close(self._context.reports)
        self._end()
        return self.report()

    def assert_one_task(self) -> None:
        """Check that this process is a single task. Waits 0.1 s at most for threads that are just ending.

        Raises SandboxError: filters and Landlock rules are per task, a thread would escape them.
        """
        self._begin("assert_one_task", "seal")
        end = time.monotonic() + _ENDING_TASK_S
        while not self.is_single_task():
            if time.monotonic() > end:
                raise SandboxError("one_task", "code started a thread before the sandbox was sealed")
            time.sleep(0.001)
        if self._status >= 0:
            os.close(self._status)
            self._status = -1
        self._end()

    def is_single_task(self) -> bool:
        """Tell whether there is no thread now. Raises SandboxError where that cannot be known."""
        try:
            return syscalls.is_single_task(self._status)
        except OSError as error:
            raise SandboxError("one_task", f"cannot count the tasks of this process: {error.strerror}") from error

    def seal(self, start_threads: Callable[[], None] | None = None) -> ConfinementReport:
        """Seal stage 2: after this the process can only do its work. Returns the whole report.

        `start_threads` starts the last threads that there will be, after the Landlock rules, which are of one task and
        inherited, and before the last filter, which is of all tasks and lets no new ones be made.
        """
        self._begin("seal", "nothing: the sandbox is sealed")
        self._apply(LayerStep.SEAL_FILES)
        for descriptor in self._context.held.values():
            os.close(descriptor)  # ".." of it leads to the host's files
        self._context.held.clear()
        if start_threads is not None:
            start_threads()
        self._apply(LayerStep.SEAL_CALLS)
        self._end()
        return self.report()

    def hand_over_listener(self) -> None:
        """Wait until the supervisor has the listener of the first filter, where there is no seal that would wait.

        Raises SandboxError if it was not taken.
        """
        for listener in self._context.listeners:
            close_taken_listener(self._context.reports, listener)
        self._context.listeners.clear()

    def report(self) -> ConfinementReport:
        """Return what was applied so far."""
        return ConfinementReport(tuple(self._layers), tuple(self._waived), tuple(self._digests))

    def path(self, inside: str) -> str:
        """Return where a writable folder of the profile is. `inside`, or the host's path if the root was waived."""
        if "mount_namespace" in self._layers:
            return inside
        return next(str(host) for host, name in self.profile.write if name == inside)

    def _check_readable(self) -> None:
        for path in unreadable(self.profile):
            raise SandboxError(
                "uid", f"uid {os.getuid()} of {self.profile.name} cannot read {path}: make it readable for others"
            )


def unreadable(profile: Profile) -> list[Path]:
    """Return what of a profile's files and folders this process cannot read."""
    return [path for path in profile.read if not os.access(path, os.R_OK | os.X_OK if os.path.isdir(path) else os.R_OK)]


def enter_world(
    profile: Profile, keep: Collection[int], *, death_pipe: int | None = None, reports: int | None = None,
    plan: RootPlan | None = None, once: int = 0,
) -> Confinement:  # fmt: skip
    """Leave the host's world for that of the profile. `keep` and descriptors 0, 1, 2 stay open (0 is /dev/null).

    `death_pipe` is a pipe or socket whose other end only the supervisor holds; it stays open, and `drop` checks it.
    `reports` is a socket to the supervisor, over which `drop` hands it the listener of the first filter; then closed.
    `plan` is what the root is built by, if that was planned before the fork. `once` is the number of one execve.
    Raises SandboxError naming the layer that failed.
    """
    make_filters(profile)  # now: once its memory is limited there may be none for it
    confinement = Confinement(profile, LayerContext(frozenset(keep), death_pipe, reports, plan, once))
    confinement._world()
    return confinement
