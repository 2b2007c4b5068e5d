"""Trial of this host: a forked child goes through every layer and tells how each ended.

    trial = examine(profile, spawn, own)       in a process like the supervisor, inside the launcher's namespaces

The child applies the very functions of `layers.py`, one after another; a layer that fails is noted and left out, as
if it had been waived. Then it waits, and is looked at from outside, as a loop is. A layer on which something outside
kills the child (a container's filter, say) is left out of a second trial.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from tlsrt.errors import SandboxError
from tlsrt.sandbox.apply.enter import unreadable
from tlsrt.sandbox.apply.layers import LAYERS, LayerContext, LayerStep
from tlsrt.sandbox.profile.profile import ATTESTATION, Profile
from tlsrt.sandbox.seccomp.notify import REPORTS, take_listener
from tlsrt.sandbox.verify.attest import attest
from tlsrt.sandbox.verify.differences import NamespaceSet

_PATIENCE_S = 10.0
_FIRST_SEAL = next(layer for layer in LAYERS if layer.step is LayerStep.SEAL_STAGE_1)
CODE = "code"  # not a layer: whether the uid of a loop can read what it runs


class ProbeChild(Protocol):
    """What `spawn` of the supervisor gives."""

    @property
    def pidfd(self) -> int: ...
    @property
    def host_pid(self) -> int: ...


Spawn = Callable[[Callable[[], int], bool], ProbeChild]  # body, with a pid namespace of its own


@dataclass(slots=True)
class Trial:
    """How it went: layers that hold, and for each that does not the reason, in order."""

    held: list[str] = field(default_factory=list[str])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    fatal: set[str] = field(default_factory=set[str])  # those of them that end the process that tries: no waiver helps


def examine(profile: Profile, spawn: Spawn, own: NamespaceSet, failed: Mapping[str, str]) -> Trial:
    """Try every layer of the profile for real. `failed` are those known to fail, with their reasons.

    The profile's writable folders must be there. Raises OSError when not even a fork works.
    """
    known = dict(failed)
    fatal: set[str] = set()
    while True:
        trial, culprit = _try(profile, spawn, own, known)
        trial.fatal = fatal
        if culprit is None or culprit in known:
            return trial
        if culprit != REPORTS:
            fatal.add(culprit)
        known[culprit] = trial.failed[culprit]


def _try(profile: Profile, spawn: Spawn, own: NamespaceSet, known: Mapping[str, str]) -> tuple[Trial, str | None]:
    """Go through all layers once. Returns the trial, and the layer without which it must be tried again."""
    trial = Trial(failed=dict(known))
    profile = replace(profile, layers=tuple(name for name in profile.layers if name not in known))
    reader, writer = os.pipe2(os.O_CLOEXEC)
    go, let_go = os.pipe2(os.O_CLOEXEC)
    death, death_end = os.pipe2(os.O_CLOEXEC)
    watcher = Watcher(profile.is_watched)
    try:
        context = LayerContext(frozenset({writer, go}), death, watcher.child_end)
        child, namespace_reason = _spawned(spawn, lambda: _live(profile, context, writer, go), profile)
        os.close(writer)
        writer = -1
        watcher.begin(child.pidfd)
        started = _listen(reader, watcher, trial)
        if namespace_reason and "pid_namespace" in trial.failed:
            trial.failed["pid_namespace"] = namespace_reason
        if started is None:
            _look(child, profile, own, trial)
        os.write(let_go, b"g")
        culprit = _end(child, started, trial)
        if watcher.reason and started is None:  # else it was only the child's end
            trial.failed[REPORTS] = watcher.reason
            culprit = REPORTS
    finally:
        watcher.close()
        for descriptor in (reader, writer, go, let_go, death, death_end):
            if descriptor >= 0:
                os.close(descriptor)
    return trial, culprit


def _spawned(spawn: Spawn, body: Callable[[], int], profile: Profile) -> tuple[ProbeChild, str]:
    if "pid_namespace" in profile.layers:
        try:
            return spawn(body, True), ""
        except OSError as error:
            return spawn(body, False), str(error.strerror or error)
    return spawn(body, False), ""


class Watcher:
    """Takes the listener of the child's first filter, as the supervisor does of a loop."""

    def __init__(self, is_watched: bool) -> None:
        self._ours: socket.socket | None = None
        self.child_end: int | None = None
        self._theirs: socket.socket | None = None
        self._listener = -1
        self._pidfd = -1
        self.reason = ""  # why it could not be taken
        if is_watched:
            self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            self._ours.setblocking(False)
            self.child_end = self._theirs.fileno()

    def begin(self, pidfd: int) -> None:
        """After the fork: the child has its end."""
        self._pidfd = pidfd
        if self._theirs is not None:
            self._theirs.close()

    def descriptors(self) -> list[int]:
        """Return what to wait for."""
        return [self._ours.fileno()] if self._ours is not None else []

    def take(self) -> None:
        """Take what was offered; the child goes on, or fails to seal itself."""
        listener = take_listener(self._ours.fileno(), self._pidfd) if self._ours is not None else None
        if listener is None or self._ours is None:
            return
        self._listener = listener
        if listener < 0:
            self.reason = "the supervisor cannot take the listener of a filter (pidfd_getfd is refused)"
        self._ours.close()
        self._ours = None

    def close(self) -> None:
        """Give everything back."""
        for end in (self._ours, self._theirs):
            if end is not None:
                end.close()
        if self._listener >= 0:
            os.close(self._listener)


def _live(profile: Profile, context: LayerContext, writer: int, go: int) -> int:
    """In the child: every layer, each announced before, and answered after."""

    def say(*words: str) -> None:
        os.write(writer, json.dumps(words).encode() + b"\n")

    for layer in LAYERS:
        if layer is _FIRST_SEAL:  # what a loop reads later, it must be able to read now
            _tell_unreadable(profile, say)
        if layer.name not in profile.layers:
            continue
        say("begin", layer.name)
        try:
            layer.apply(profile, context)
        except (OSError, SandboxError) as error:
            say("failed", layer.name, error.reason if isinstance(error, SandboxError) else str(error.strerror or error))
            profile = replace(profile, layers=tuple(name for name in profile.layers if name != layer.name))
            continue
        context.applied.append(layer.name)
        say("held", layer.name)
    say("done")
    os.read(go, 1)
    return 0


def _tell_unreadable(profile: Profile, say: Callable[..., None]) -> None:
    closed = unreadable(profile)
    if closed:
        say("failed", CODE, f"uid {os.getuid()} cannot read {closed[0]}")
    else:
        say("held", CODE)


def _listen(reader: int, watcher: Watcher, trial: Trial) -> str | None:
    """Hear the child until it is done. Returns the layer that it had begun if it ends before, else None."""
    begun = "the first layer"
    rest = b""
    while True:
        ready = select.select([reader, *watcher.descriptors()], [], [], _PATIENCE_S)[0]
        if not ready:
            return begun
        watcher.take()
        if reader not in ready:
            continue
        piece = os.read(reader, 65536)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            word, *names = json.loads(line)
            if word == "done":
                return None
            if word == "begin":
                begun = names[0]
            elif word == "held":
                trial.held.append(names[0])
            else:
                trial.failed[names[0]] = names[1]
        if not piece:
            return begun


def _look(child: ProbeChild, profile: Profile, own: NamespaceSet, trial: Trial) -> None:
    """Attest the child, as the supervisor attests a loop of the same profile."""
    waived = frozenset(trial.failed) - {CODE}
    differences = attest(child.host_pid, replace(profile, waived=waived), own, max_tasks=1)
    if differences:
        trial.failed[ATTESTATION] = "; ".join(differences)
    else:
        trial.held.append(ATTESTATION)


def _end(child: ProbeChild, begun: str | None, trial: Trial) -> str | None:
    """Wait for the end of the child; returns the layer to blame if it was killed."""
    if not select.select([child.pidfd], [], [], _PATIENCE_S)[0]:
        with suppress(OSError):
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
    result = os.waitid(os.P_PIDFD, child.pidfd, os.WEXITED)
    os.close(child.pidfd)
    if begun is None:
        return None
    status = result.si_status if result is not None else 0
    is_signal = result is not None and result.si_code != os.CLD_EXITED
    how = signal.Signals(status).name if is_signal and status in set(signal.Signals) else f"exit code {status}"
    trial.failed[begun] = f"the process that tried it was ended ({how})"
    return begun
