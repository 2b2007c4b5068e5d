"""An outside witness of every system call of a host's processes: strace(1), which only root can hold over them.

`Witness.command` runs a host from its first to its last call, `attached` looks at processes that run already. What was
seen comes back as `Seen`, one a call, with the process it belongs to; a process is known by a host pid, and a thread by
the clone(2) that made it.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OPTIONS = ("-f", "-s", "256")
_LINE = re.compile(r"(\d+) +(.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\w+)(?: ([A-Z]+) )?")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_UNFINISHED = " <unfinished ...>"
_PATHS = re.compile(r'(?:(AT_FDCWD|\d+), )?"((?:[^"\\]|\\.)*)"')
_SUN_PATH = re.compile(r'sun_path=(@?)"([^"]*)"')
WITH_PATHS = frozenset({
    "open", "openat", "openat2", "creat", "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "execve", "execveat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "rename",
    "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "truncate", "chmod",
    "fchmodat", "chown", "fchownat", "lchown", "statfs", "chdir", "chroot", "utimensat", "getxattr", "listxattr",
    "inotify_add_watch",
})  # fmt: skip
WITH_SOCKETS = frozenset({"connect", "bind", "sendto", "sendmsg"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One call: whose it was, how many filters were on by then, its name, arguments, result, and errno if it failed."""

    process: str
    filters: int
    call: str
    arguments: str
    errno: str

    def paths(self) -> list[str]:
        """Return the paths that it names; one that begins at an open folder comes without a slash."""
        if self.call in WITH_SOCKETS:
            return [at + path for at, path in _SUN_PATH.findall(self.arguments)]
        if self.call not in WITH_PATHS:
            return []
        return [path for _, path in _PATHS.findall(self.arguments) if path]


class Strace:
    """Where strace writes, and what it has seen."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.command = ("strace", "-D", "-q", *OPTIONS, "-o", str(file))

    @contextmanager
    def attached(self, pids: Mapping[str, int]) -> Iterator[None]:
        """Look at running processes until the block ends."""
        command = ["strace", *OPTIONS, "-o", str(self.file)]
        for pid in pids.values():
            command += ["-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            waiting = set(pids.values())
            for line in process.stderr:
                found = re.search(r"Process (\d+) attached", line)
                assert found, line
                waiting.discard(int(found[1]))
                if not waiting:
                    break
            yield
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)

    def seen(self, names: Mapping[int, str], *, filters: int = 0) -> Iterator[Seen]:
        """Yield the calls of the processes with these host pids; `filters` says how many each has at the beginning."""
        owner = dict(names)
        count = dict.fromkeys(names.values(), filters)
        parts: dict[int, str] = {}
        with self.file.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                match = _LINE.match(line)
                if match is None:
                    continue
                task, text = int(match[1]), match[2]
                if text.endswith(_UNFINISHED):
                    parts[task] = text.removesuffix(_UNFINISHED)
                    continue
                if resumed := _RESUMED.match(text):
                    text = parts.pop(task, "") + resumed[1]
                call = _CALL.match(text)
                name = owner.get(task)
                if call is None or name is None:
                    continue
                if call[1].startswith("clone") and "CLONE_THREAD" in call[2] and call[3].isdigit():
                    owner[int(call[3])] = name
                if call[1] == "seccomp" and "SET_MODE_FILTER" in call[2] and call[3].isdigit():
                    count[name] += 1
                    continue
                yield Seen(name, count[name], call[1], call[2], call[4] or "")
