"""Canary files: one in the root of every process, one in the state folder, and those of the configuration.

Who opens one in a root is known by the root: no other process has it, and nothing of the host can reach it by accident,
as it lies in the tmpfs that the process made for itself. inotify(7) looks at inodes, so a watch that is added through
/proc/PID/root hears an open in another mount namespace; it needs no privilege beyond reading there, which fanotify(7)
would. Files of the host may be opened by any process there, a backup too: those accesses are reported, and not charged.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from tlsrt.config.canaries import STATE_CANARY
from tlsrt.config.files import write_new
from tlsrt.errors import ConfigError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.apply.root_filesystem import CANARY, CANARY_BYTES
from tlsrt.supervisor.events.event import HostEvent
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature

IN_OPEN, IN_IGNORED = 0x20, 0x8000  # <sys/inotify.h>
HOST = "host"
EVENTS_BYTES = 64 * 1024
_EVENT = struct.Struct("=iIII")  # watch, mask, cookie, length of the name that follows
_DEAF = "opening the canary file {path} is not noticed: {why}"


@dataclass(frozen=True, slots=True)
class _Watched:
    subject: str
    path: str


class CanaryFiles(Feature):
    """All watches of one life of a host."""

    def __init__(self, context: Context, authority: AuthorityProcess) -> None:
        self._context = context
        self._authority = authority
        self._descriptor = -1
        self._watched: dict[int, _Watched] = {}
        self.warnings: list[str] = []

    def start(self) -> None:
        """Watch the files of the host, prove that an access is noticed, and watch each new process."""
        config = self._context.current.config
        if not config.deception.watch_files:
            return
        try:
            self._descriptor = syscalls.inotify_init()
        except OSError as error:
            self._say(_DEAF.format(path="of any process", why=error.strerror))
            return
        own = config.state_dir / STATE_CANARY
        self._plant(own)
        for path in (own, *config.deception.files):
            self._add(str(path), HOST, str(path))
        if problem := self.prove():
            self._say(problem)
        self._context.event_loop.watch(self._descriptor, lambda events: self._read())
        self._context.events.listeners.append(self._on_event)

    def _plant(self, path: Path) -> None:
        """Write the canary of the state folder; one that is there stays."""
        if os.path.lexists(path):
            return
        try:
            write_new(path, os.urandom(CANARY_BYTES), 0o600)
        except ConfigError as error:
            self._say(str(error))

    def _add(self, path: str, subject: str, shown: str, root: str = "/") -> None:
        try:
            self._watched[syscalls.inotify_add_watch(self._descriptor, path, IN_OPEN)] = _Watched(subject, shown)
        except OSError as error:
            if not os.path.exists(root):
                return
            self._say(
                _DEAF.format(path=shown if subject == HOST else f"of {subject}", why=os.strerror(error.errno or 0))
            )

    def prove(self) -> str:
        """Prove with our own file that an access is noticed; return why not, empty if it is.

        Other accesses meanwhile are reported as ever.
        """
        if self._descriptor < 0:
            return ""
        path = self._context.current.config.state_dir / STATE_CANARY
        others = self._opened()
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC))
        except OSError as error:
            return _DEAF.format(path=path, why=error.strerror)
        found = self._opened()
        self._tell(others + [watched for watched in found if watched.path != str(path)])
        is_heard = any(watched.path == str(path) for watched in found)
        return "" if is_heard else _DEAF.format(path=path, why="inotify says nothing of it")

    def _on_event(self, event: HostEvent) -> None:
        """Watch the canary of a process that has passed its attestation."""
        if event.name.name != "attested":
            return
        child = self._authority.process.child
        pid = event.fields.get("pid") if event.subject != AUTHORITY else child.host_pid if child is not None else None
        if isinstance(pid, int):
            self._add_root(event.subject, pid)

    def _add_root(self, subject: str, pid: int) -> None:
        if "mount_namespace" not in self._context.current.children.sandbox(subject).layers:
            return  # it has no root of its own, as its waiver says
        root = f"/proc/{pid}/root"
        try:
            if os.stat(root + CANARY).st_dev != os.stat(root + "/").st_dev:
                self._say(_DEAF.format(path=f"of {subject}", why="its profile shows another file there"))
                return
        except OSError as error:
            if os.path.exists(root):  # else it has died meanwhile, as in a start that was refused, and that is told
                self._say(_DEAF.format(path=f"of {subject}", why=os.strerror(error.errno or 0)))
            return
        self._add(root + CANARY, subject, CANARY, root)

    def _opened(self) -> list[_Watched]:
        """Return what was opened since the last time, each once; forget what was removed."""
        found: list[_Watched] = []
        try:
            data = os.read(self._descriptor, EVENTS_BYTES)
        except BlockingIOError:
            return found
        at = 0
        while at + _EVENT.size <= len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, at)
            at += _EVENT.size + length
            if mask & IN_IGNORED:
                self._watched.pop(watch, None)
            elif mask & IN_OPEN and watch in self._watched and self._watched[watch] not in found:
                found.append(self._watched[watch])
        return found

    def _read(self) -> None:
        self._tell(self._opened())

    def _tell(self, opened: list[_Watched]) -> None:
        for watched in opened:
            self._context.console.bad(watched.subject, "touched", f"the canary file {watched.path} was opened")
            self._context.events.emit(
                "decoy_touched", watched.subject, f"file {watched.path}", decoy=f"file {watched.path}"
            )
            if watched.subject != HOST:
                self._authority.channel.ask("file_touched", watched.subject, watched.path)

    def _say(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            self._context.console.warning("decoys", sentence)

    def stopped(self, exit_code: int) -> None:
        if self._descriptor >= 0:
            self._context.event_loop.forget(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
