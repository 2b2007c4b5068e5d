"""A process that has imported both commands and runs them in forks of itself: a third of a second faster each time.

    server = CommandServer(python)
    server.run(["seal", "--config", path], cwd=folder)

The fork is as the interpreter would begin: isolated, with the arguments, folder and environment of now, and with
nothing but modules in its memory, as the server itself runs no command. One server does for many hosts.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from hosts.environment import MadeEnvironment

_SERVER = """
import contextlib, gc, importlib, json, os, pkgutil, signal, site, socket, sys, traceback

def command(request, output, errors):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.closerange(3, max(map(int, os.listdir("/proc/self/fd"))) + 1)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    if request["environ"]:
        sys.executable, sys.prefix, packages, code = request["environ"]
        sys.exec_prefix, site.PREFIXES = sys.prefix, [sys.prefix]
        sys.path.append(packages)
        sys.path.append(code)
    module = client if request["name"] == "tlsrt" else main
    sys.argv = [request["path"] or module.__file__, *request["words"]]
    sys.exit(module.main())

def ended(request, output, errors):
    try:
        command(request, output, errors)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code

from tlsrt.channels.cli import main as client
from tlsrt.supervisor.cli import main
import tlsrt.supervisor.cli as verbs
for module in pkgutil.walk_packages(verbs.__path__, "tlsrt.supervisor.cli."):
    with contextlib.suppress(ImportError):  # of an extra that is not installed
        importlib.import_module(module.name)
for name in ("init", "load", "measure", "component_options", "declared_calls", "host_paths", "policy_methods"):
    importlib.import_module(f"tlsrt.config.{name}")
for name in ("control.client", "launch.fitting", "process.uids"):
    importlib.import_module(f"tlsrt.supervisor.{name}")
importlib.import_module("tlsrt.sandbox.profile.profile_files")
gc.freeze()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a process that asks waits for another descriptor
requests = socket.socket(fileno=int(sys.argv[1]))
while True:
    data, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 3)
    if not data:
        break
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if (pid := os.fork()) == 0:
            os._exit(ended(json.loads(data), *descriptors[:2]))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(descriptors[2], str(code).encode())
        os._exit(0)
    for descriptor in descriptors:
        os.close(descriptor)
"""
_LIMIT_S = 60


class CommandServer:
    """Runs the commands of one interpreter, several at once if it is asked to.

    `environment` is what the interpreter begins with, if that is not ours.
    """

    def __init__(self, python: Path, environment: Mapping[str, str] | None = None) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [str(python), "-I", "-B", "-c", _SERVER, str(theirs.fileno())], pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, cwd="/", env=environment,
            )  # fmt: skip

    def run(
        self, words: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None,
        made: MadeEnvironment | None = None, name: str = "tlsrt-supervisor", path: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run one command, in the environment of now if none is given; return its exit code, output and errors.

        With an environment that a test has `made`, the command has the import path of that one's interpreter. `path` is
        where the program lies, for those that say so.
        """
        request = {
            "words": [*words],
            "name": name,
            "path": path and str(path),
            "folder": str(cwd),
            "environment": dict(environment or os.environ),
            "environ": made and [*map(str, (made.python, made.folder, made.site, made.code))],
        }
        reader, writer = os.pipe()
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, open(reader, "rb") as ended:
            try:
                message = json.dumps(request).encode()
                socket.send_fds(self._requests, [message], [output.fileno(), errors.fileno(), writer])
            finally:
                os.close(writer)
            code = int(_within_limit(ended.fileno()))
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess([*words], code, *texts)

    def close(self) -> None:
        """End the server; its commands have ended."""
        self._requests.close()
        self._process.wait(_LIMIT_S)


def _within_limit(descriptor: int) -> bytes:
    assert select.select([descriptor], [], [], _LIMIT_S)[0], "the command does not end"
    code = os.read(descriptor, 16)
    assert code, "the command server has ended"
    return code


@cache
def command_server() -> CommandServer:
    """Return the server of the running interpreter."""
    server = CommandServer(Path(sys.executable))
    atexit.register(_close, server, os.getpid())
    return server


def _close(server: CommandServer, pid: int) -> None:
    if os.getpid() == pid:  # not in a child that some test forked
        server.close()
