"""The supervisor of sealed tests: forks a confined process for each component that a test runs, and hears of its calls.

It is started once for a test run, by the launcher, in the namespaces of a supervisor. Over its standard input, a UNIX
socket, comes a request for each component: a line of JSON, and with it four descriptors: the component's end of the
conversation, a socket for what is told about it (lines of JSON), a file for its log, and a socket over which it asks
the test for its workers. The profile is the one that a
host would make: the request becomes a configuration, which is read by the code that reads every other.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tlsrt.config.import_path import is_checkout, only_measured
from tlsrt.config.load import parse_config
from tlsrt.config.packages import code_of, code_roots
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.loops.component.worker_pool import WorkerLimits
from tlsrt.sandbox.apply.root_plan import planned_root
from tlsrt.sandbox.profile.compose import profile_for_loop
from tlsrt.sandbox.profile.profile import Profile
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.supervisor.launch.child_entries import preload_loops
from tlsrt.supervisor.launch.child_programs import call_rules_of
from tlsrt.supervisor.process.event_loop import EventLoop
from tlsrt.supervisor.process.name_files import write_name_files
from tlsrt.supervisor.process.spawn import reap, spawn
from tlsrt.supervisor.process.syscall_monitor import SyscallMonitor, Violation
from tlsrt.supervisor.process.uids import other_uid_base, own_identity
from tlsrt.testing.sealed_child import SealedStart, run_sealed

REQUEST_BYTES = 1 << 20
_DESCRIPTORS = 4


class SealedHost:
    """Forks and watches. One event loop, no threads: it forks as a supervisor does."""

    def __init__(self, requests: socket.socket, folder: Path) -> None:
        self._requests = requests
        self._folder = folder
        self._event_loop = EventLoop()
        self._files = ProfileFiles()
        self._is_over = False
        self._count = 0

    def run(self) -> int:
        """Serve requests until the test run ends."""
        self._event_loop.watch(self._requests.fileno(), lambda events: self._receive())
        while not self._is_over:
            self._event_loop.run_once()
        return 0

    def _receive(self) -> None:
        data, descriptors, _, _ = socket.recv_fds(self._requests, REQUEST_BYTES, _DESCRIPTORS)
        if not data:
            self._is_over = True
            return
        talk, told, log, workers = descriptors
        with socket.socket(fileno=told) as ours:
            try:
                self._start(json.loads(data), talk, ours.dup(), log, workers)
            except (ConfigError, SandboxError, OSError) as error:
                _tell(ours, failed=str(error))
            finally:
                os.close(talk)
                os.close(log)
                os.close(workers)

    def _start(self, request: Mapping[str, Any], talk: int, told: socket.socket, log: int, workers: int) -> None:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(mode=0o711)
        _import_from(request["path"])
        config = _config(request, folder)
        (component,) = [one for one in config.components if one.address == request["address"]]
        profile = self._profile(config, component.process, Path(request["state"]), folder)
        pins = NamePins()  # a test asks no name server
        write_name_files(profile, pins)
        root = planned_root(profile)
        rules = call_rules_of(profile, pins)
        if rules is None:
            raise SandboxError("seccomp_reports", "calls of a sealed test must be reported")
        start = SealedStart(
            component, profile, root.plan, code_of(config).names if not is_checkout() else frozenset(),
            {name: value.encode() for name, value in request["secrets"].items()}, talk, log, -1,
            workers, {name: WorkerLimits(*limits) for name, limits in request["workers"].items()},
        )  # fmt: skip
        monitor = SyscallMonitor(self._event_loop, rules, lambda violation: self._violated(told, pidfds, violation))
        pidfds: list[int] = []
        child = spawn(lambda: run_sealed(replace(start, reports=monitor.child_end)))
        pidfds.append(child.pidfd)
        monitor.forked(child)

        def ended(events: int) -> None:
            reason = reap(child)
            if reason is None:
                return
            self._event_loop.forget(child.pidfd)
            monitor.close()
            os.close(child.pidfd)
            with told:
                _tell(told, ended=str(reason))
            shutil.rmtree(folder, ignore_errors=True)

        self._event_loop.watch(child.pidfd, ended)

    def _profile(self, config: Config, process: str, state: Path, folder: Path) -> Profile:
        identity = own_identity(config)
        uid = identity.uid(process)
        code = code_roots(config, config.components_of(process))
        profile = profile_for_loop(
            config, config.loop(process), uid, self._files, rootless=identity.rootless, code=code
        )
        places = {"/state": state, "/channel": folder / "channel"}
        write = tuple((places.get(inside, host), inside) for host, inside in profile.write)
        for host, inside in write:
            if inside in places:
                host.mkdir(exist_ok=True)
                if not identity.rootless:
                    os.chown(host, uid, uid)
                host.chmod(0o700)
        layers = tuple(layer for layer in profile.layers if layer != "cgroup")
        return replace(profile, write=write, layers=layers)

    def _violated(self, told: socket.socket, pidfds: list[int], violation: Violation) -> None:
        _tell(told, refused=violation.sentence)
        if violation.ends and pidfds:
            signal.pidfd_send_signal(pidfds[0], signal.SIGKILL)


def _tell(told: socket.socket, **what: str) -> None:
    try:
        told.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        return  # the test has ended


def _import_from(path: list[str]) -> None:
    """Look for components where the test run does, behind what is there already."""
    sys.path += [entry for entry in path if entry not in sys.path and os.path.isdir(entry)]
    if not is_checkout():
        only_measured()


def _config(request: Mapping[str, Any], folder: Path) -> Config:
    """Return the configuration of a host with this one component."""
    component = {"class": request["class"], **{key: request[key] for key in ("options", "needs", "imports")}}
    tree: dict[str, Any] = {
        "version": 1,
        "install": bytes(16).hex(),
        "master_key": {"provider": "file", "path": "master.key"},
        "boot_token": "boot.token",
        "door": {"host": "127.0.0.1", "port": 0, "certificate": "c", "key": "k", "client_ca": "ca"},
        "components": {request["address"]: {name: value for name, value in component.items() if value}},
    }
    if (base := other_uid_base()) is not None:
        tree["sandbox"] = {"uid_base": base}
    return parse_config(yaml.safe_dump(tree).encode(), folder / "tlsrt.yaml")


def main(arguments: list[str]) -> int:
    """In the launcher's namespaces: serve the socket at standard input."""
    preload_loops("native")
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-sealed-"))
    folder.chmod(0o711)
    try:
        return SealedHost(socket.socket(fileno=os.dup(0)), folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
