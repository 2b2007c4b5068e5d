"""The program of the start server: run, and not imported, so that no host has a module of it. See start_server.py.

    exec(compile(TEXT OF THIS FILE, PATH, "exec"), {"__name__": "forking_start"}), its channel's number in argv

Each module that is imported here is one that the supervisor of every host has imported when it forks its first loop.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import importlib
import io
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import traceback
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from tlsrt.config.import_path import package_folders
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.launch import launcher

_IMPORTED = (
    "tlsrt.supervisor.launch.supervise", "tlsrt.supervisor.launch.start", "tlsrt.supervisor.launch.child_programs",
    "tlsrt.supervisor.launch.host_check", "tlsrt.supervisor.launch.log_sink", "tlsrt.supervisor.launch.required_calls",
    "tlsrt.supervisor.events.log_output", "tlsrt.supervisor.supervisor", "tlsrt.loops.entry",
)  # fmt: skip
_PR_SET_MM, _PR_SET_MM_MAP, _NO_FILE = 35, 14, 0xFFFFFFFF
_REQUEST_BYTES = 1 << 20
_HALF = 1 << 20  # of what /proc shows: the words, then the environment


class _Shown:
    """What proc_pid_cmdline(5) and proc_pid_environ(5) show of this process and its forks."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 2 * _HALF, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._library = ctypes.CDLL(None)
        self._library.sbrk.restype = ctypes.c_void_p

    def set(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Put these in the place of what was executed: prctl(2), PR_SET_MM_MAP; all else of the map is as it is."""
        ranges: list[int] = []
        for at, texts in ((0, words), (_HALF, [f"{name}={value}" for name, value in environment.items()])):
            data = b"".join(os.fsencode(text) + b"\0" for text in texts)
            self._memory[at : at + len(data)] = data
            ranges += [self._address + at, self._address + at + len(data)]
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            fields = ["", "", "", *file.read().rpartition(")")[2].split()]  # numbered as in proc_pid_stat(5)
        code = [int(fields[number]) for number in (26, 27, 45, 46, 47)]
        packed = struct.pack("=12Q2I", *code, self._library.sbrk(0), int(fields[28]), *ranges, 0, 0, _NO_FILE)
        kept = ctypes.create_string_buffer(packed, len(packed))
        syscalls.prctl(_PR_SET_MM, _PR_SET_MM_MAP, ctypes.addressof(kept), len(packed))


def _begin(shown: _Shown, words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Do what execve(2) does, and the interpreter before its first line."""
    for number in [int(entry) for entry in os.listdir("/proc/self/fd")]:
        try:
            if number > 2 and fcntl.fcntl(number, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
                os.close(number)
        except OSError:
            continue  # that of the list itself
    os.environ.clear()
    os.environ.update(environment)
    shown.set(words, environment)
    syscalls.name_thread(os.fsencode(os.path.basename(words[0])))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    for number, name in ((1, "stdout"), (2, "stderr")):  # nothing is known of what they were before
        old = getattr(sys, name)
        raw = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        new = io.TextIOWrapper(raw, old.encoding, old.errors, line_buffering=number == 2)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    sys.argv = ["-c", *words[words.index("-c") + 2 :]]


def _end_with(run: Callable[[], object]) -> NoReturn:
    """Run to the end of the process, as an interpreter does, but for taking itself apart."""
    code = 1
    try:
        run()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _launch(shown: _Shown, request: Mapping[str, Any]) -> NoReturn:
    """In the fork: the launcher. What it executes goes on in its own fork."""
    execve, program = os.execve, request["program"]

    def execute(path: str, words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
        os.execve = execve
        _begin(shown, words, environment)
        module = sys.modules["__main__"] = types.ModuleType("__main__")  # what it defines is found there by its name
        _end_with(lambda: exec(compile(program, "<string>", "exec"), module.__dict__))

    _begin(shown, request["words"], request["environment"])
    os.execve = execute  # type: ignore[assignment]
    syscalls.die_with_parent(signal.SIGKILL)  # a test run that is killed leaves no host behind
    sys.exit(launcher.launch(request["arguments"], program=program))


def _next_host(requests: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Fork for each request; return it in the fork, and None in the server, at its end."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, _REQUEST_BYTES, 3)
        if not data:
            return None
        pid = syscalls.fork(as_sibling=True)
        if pid == 0:
            return json.loads(data), descriptors
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(pid).encode())


def _imported_later(child_entries: types.ModuleType) -> dict[str, types.ModuleType]:
    """Import what an authority alone imports, put it away, and have it there again at that import; return it.

    So no other process finds it among its modules; a late prelude finds it. Where one of them was imported in another
    way, the import is real.
    """
    before, real = set(sys.modules), child_entries.import_for_sealed
    importlib.import_module(child_entries.AUTHORITY_RUNTIME)
    later = {name: sys.modules.pop(name) for name in [name for name in sys.modules if name not in before]}

    def import_for_sealed(*names: str) -> None:
        if later.keys() & {*names} and not later.keys() & sys.modules.keys():
            sys.modules.update(later)
        real(*names)

    import_for_sealed.put_away = later  # type: ignore[attr-defined]
    child_entries.import_for_sealed = import_for_sealed  # type: ignore[attr-defined]
    return later


def _serve(requests: socket.socket) -> None:
    syscalls.die_with_parent(signal.SIGKILL)
    own, shown = {str(folder) for folder in package_folders()}, _Shown()
    try:
        shown.set([sys.executable], os.environ)
    except OSError:
        return
    for name in _IMPORTED:
        importlib.import_module(name)
    # What a start does before its first fork, done for all: the host that is forked finds it done.
    child_entries = importlib.import_module("tlsrt.supervisor.launch.child_entries")
    child_entries.import_for_sealed(*child_entries.COMMON, child_entries.RUNTIME)
    later = _imported_later(child_entries)
    importlib.import_module("tlsrt.supervisor.process.crypto_warm_up").warm_up_crypto()
    importlib.import_module("tlsrt.supervisor.process.spawn").freeze_first()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for us all, and the tests end in order
    modules = {**sys.modules, **later}
    files = [getattr(module, "__file__", None) for name, module in modules.items() if name.startswith("tlsrt")]
    requests.send(json.dumps([file for file in files if file]).encode())
    if (given := _next_host(requests)) is None:
        return
    request, descriptors = given
    requests.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["folder"])
    if request["environ"]:
        sys.executable, packages, code = request["environ"]
        first = sum(entry not in own for entry in sys.path)  # behind the standard library
        sys.path[first:first] = [packages]
        sys.path.append(code)
    _end_with(lambda: _launch(shown, request))


_serve(socket.socket(fileno=int(sys.argv[1])))
