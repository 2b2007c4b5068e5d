"""The peers of the row `call`: brokers, buses and gRPC, each a few processes and one client that measures itself."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.processes import child, cpu_ns, module, python_environment, threads, tree, wait_until
from bench.programs import ROOT, environment, need_modules, program, unpacked
from bench.row import Case, CaseMissing, PeerMissing, Sample

ANSWER_S = 30.0  # beyond the burst itself
BUS_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
<limit name="max_message_size">1000000000</limit><limit name="max_replies_per_connection">50000</limit></busconfig>
"""
OWN_NAMESPACE = """mount --bind "$1" /run && shift
if [ -n "$1" ]; then mount -t overlay overlay -o "lowerdir=$1:/usr/bin" /usr/bin; fi && shift
exec "$@"
"""


def sample_of(result: dict[str, Any], cpu: int) -> Sample:
    """Turn what a driver or client measured, and the CPU ns of everybody, into a sample."""
    return {
        "rate": result["count"] / result["seconds"],
        "p50_us": result["p50_us"],
        "p99_us": result["p99_us"],
        "cpu_us": cpu / 1000 / result["count"],
    }


class TalkingPeer:
    """Tells a client process the burst as a line of JSON, and reads its figures."""

    def __init__(
        self, client: subprocess.Popen[bytes], roles: Collection[int], bytes_max: int = 1 << 30, *,
        servers_only: bool = False,
    ) -> None:  # fmt: skip
        self._client = client
        self._bytes_max = bytes_max
        self._line()  # it is ready
        counted = roles if servers_only else (*roles, client.pid)
        self.pids = [pid for role in counted for pid in tree(role)]

    def burst(self, case: Case, seconds: float) -> Sample:
        if case.number("size") * case.number("outstanding") > self._bytes_max:
            raise CaseMissing(f"cannot keep {case.name} under way")
        assert self._client.stdin is not None
        before = cpu_ns(self.pids)
        self._client.stdin.write(json.dumps({**case.options, "seconds": seconds}).encode() + b"\n")
        self._client.stdin.flush()
        result = json.loads(self._line(seconds))
        return sample_of(result, cpu_ns(self.pids) - before)

    def _line(self, seconds: float = 0.0) -> bytes:
        assert self._client.stdout is not None
        if not select.select([self._client.stdout], [], [], seconds + ANSWER_S)[0]:
            raise RuntimeError("the peer hangs")
        line = self._client.stdout.readline()
        if not line:
            raise RuntimeError("the peer has ended")
        return line


def on_one_core(pids: Collection[int]) -> None:
    """Place all threads of these processes on the first core that we may use."""
    core = min(os.sched_getaffinity(0))
    for thread in threads(pids):
        os.sched_setaffinity(thread, {core})


@contextmanager
def talking(
    folder: Path, roles: Sequence[Sequence[str]], others: Sequence[int] = (), *, placed: bool = False,
    bytes_max: int = 1 << 30, servers_only: bool = False,
) -> Iterator[TalkingPeer]:  # fmt: skip
    """Run one process a role, the last of which is the measuring client."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                child(
                    module(*role), talk=role is roles[-1], listen=role is roles[-1], errors=folder / "errors",
                    env=python_environment(),
                )
            )
            for role in roles
        ]  # fmt: skip
        try:
            servers = [*others, *(process.pid for process in running[:-1])]
            peer = TalkingPeer(running[-1], servers, bytes_max, servers_only=servers_only)
        except RuntimeError as error:
            raise PeerMissing(f"{error}: {(folder / 'errors').read_text()[-200:].strip()}") from error
        if placed:
            on_one_core(peer.pids)
        yield peer


def open_broker(kind: str, *, placed: bool = False) -> Callable[[Path], AbstractContextManager[TalkingPeer]]:
    """Return what opens a ZeroMQ broker of a kind: raw, proxy or curve."""

    def opened(folder: Path) -> AbstractContextManager[TalkingPeer]:
        import zmq

        if kind == "curve" and not zmq.has("curve"):
            raise PeerMissing("this libzmq has no CurveZMQ")
        roles = [("bench.peers.brokers", kind, role, str(folder)) for role in ("broker", "worker", "client")]
        return talking(folder, roles, placed=placed)

    return opened


def open_grpc(folder: Path) -> AbstractContextManager[TalkingPeer]:
    need_modules("grpc")
    return talking(folder, [("bench.peers.grpc_echo", role, f"unix:{folder}/socket") for role in ("server", "client")])


def _on_bus(folder: Path, path: Path, bus: subprocess.Popen[bytes]) -> AbstractContextManager[TalkingPeer]:
    def listening() -> bool:
        if bus.poll() is not None:
            raise PeerMissing(f"the bus does not start: {(folder / 'errors').read_text()[-200:].strip()}")
        return path.exists()

    wait_until(listening, "the bus")
    roles = [("bench.peers.dbus_echo", role, str(path)) for role in ("server", "client")]
    return talking(folder, roles, [bus.pid], bytes_max=1 << 20)


@contextmanager
def open_dbus_daemon(folder: Path) -> Iterator[TalkingPeer]:
    need_modules("dbus_fast")
    config, path = folder / "bus.conf", folder / "bus"
    config.write_text(BUS_CONFIG.format(socket=path))
    argv = [str(program("dbus-daemon")), f"--config-file={config}", "--nofork", "--nopidfile"]
    with child(argv, errors=folder / "errors", env=environment()) as bus, _on_bus(folder, path, bus) as peer:
        yield peer


@contextmanager
def open_dbus_broker(folder: Path) -> Iterator[TalkingPeer]:
    """dbus-broker with its launcher, in a mount namespace where both are under /usr/bin."""
    need_modules("dbus_fast")
    config, path, run = folder / "bus.conf", folder / "bus", folder / "run"
    config.write_text(BUS_CONFIG.format(socket=path))
    run.mkdir()
    launcher = program("dbus-broker-launch")
    over = str(ROOT / "usr/bin") if unpacked(launcher) else ""
    argv = [
        "unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", OWN_NAMESPACE, "sh",
        str(run), over,
        *module("bench.peers.launch_dbus_broker", str(config), str(path), "/usr/bin/dbus-broker-launch"),
    ]  # fmt: skip
    env = {**environment(), "PYTHONPATH": python_environment()["PYTHONPATH"]}
    with child(argv, errors=folder / "errors", env=env) as bus, _on_bus(folder, path, bus) as peer:
        yield peer
