"""secondary/time beside a real chronyd that may not set the clock (`-x`), and a server whose clock is ahead."""

from __future__ import annotations

import os
import socket
import statistics
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.running_host import RunningHost, running
from tools.programs import need, need_unpacked

TIME, PROCESS = "secondary/time", "secondary.time"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="chronyd is started by root")
CONFIG = """
server 127.0.0.1 port {ntp} iburst minpoll -4 maxpoll -4
port 0
cmdport {command}
bindcmdaddress 127.0.0.1
bindcmdaddress {folder}/chronyd.sock
pidfile {folder}/chronyd.pid
"""


def free_datagram_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Chrony:
    """A server of stratum 2 that is 20 ms ahead (RFC 4330), and a chronyd that follows it and sets nothing."""

    def __init__(self) -> None:
        self.program = need_unpacked("chrony", "usr/sbin/chronyd")
        self.command = free_datagram_port()
        self._folder = Path(tempfile.mkdtemp(prefix="tlsrt-chrony-"))
        self._server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._server.bind(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        self._process: subprocess.Popen[bytes] | None = None

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                asked, peer = self._server.recvfrom(512)
                now = int((time.time() + 2208988800 + 0.02) * 2**32)
                head = struct.pack("!BBbbII4s", 0x24, 2, 6, -20, 0, 0, b"\x7f\0\0\1")
                self._server.sendto(head + struct.pack("!Q", now) + asked[40:48] + struct.pack("!QQ", now, now), peer)

    def start(self) -> None:
        config = self._folder / "chrony.conf"
        places = {"ntp": self._server.getsockname()[1], "command": self.command, "folder": self._folder}
        config.write_text(CONFIG.format(**places))
        words = [str(self.program), "-x", "-d", "-u", "root", "-f", str(config)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def freeze(self) -> None:
        assert self._process is not None
        psutil.Process(self._process.pid).suspend()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None

    def close(self) -> None:
        self.stop()
        self._server.close()


@pytest.fixture(scope="module")
def chrony() -> Iterator[Chrony]:
    need("xdg-dbus-proxy")
    chrony = Chrony()
    yield chrony
    chrony.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, chrony: Chrony) -> Iterator[RunningHost]:
    for host in running(request):
        words = ["--option", f"chrony_port={chrony.command}", "--allow", 'client/admin: "*"']
        words += ["--needs", f'egress=[{{to: ["127.0.0.1:{chrony.command}/udp"], why: a test}}]']
        host.cli("component", "add", TIME, "--yes", *words)
        host.wait_for(f"^{PROCESS} +active")
        yield host


def test_without_chronyd_it_says_so(host: RunningHost) -> None:
    with host.client() as client:
        found = client.call(TIME, "status")
    assert found["by"] is None and "chronyd: it does not run, or has no command port" in found["by_unknown_because"]


def test_chronyd_is_named_with_its_server_and_offset(host: RunningHost, chrony: Chrony) -> None:
    chrony.start()
    with host.client() as client:
        found: dict[str, Any] = {}

        def is_measured(_: object) -> bool:
            found.update(client.call(TIME, "status"))
            return found["stratum"] is not None

        host.until(is_measured, "an answer of chronyd with a source", timeout_s=30)
        took = [_timed(client, "status") for _ in range(100)]
    assert found["by"] == "chronyd" and found["by_unknown_because"] is None and found["is_synchronised"] is True
    assert found["server"] == "127.0.0.1" and found["stratum"] == 3 and found["uncertainty_ms"] > 0
    assert 15 < found["offset_ms"] < 25 and found["last_sync_wall_ms"] > 1_700_000_000_000
    quantiles = statistics.quantiles(took, n=100)
    print(f"status through TLS: {quantiles[49]:.1f} ms (p50), {quantiles[98]:.1f} ms (p99)")


def _timed(client: Any, method: str) -> float:
    begun = time.perf_counter()
    client.call(TIME, method)
    return (time.perf_counter() - begun) * 1e3


def test_one_that_hangs_is_told(host: RunningHost, chrony: Chrony) -> None:
    chrony.freeze()
    with host.client() as client:
        found = client.call(TIME, "status")
    assert found["by"] is None and "chronyd: it does not answer in 2 s" in found["by_unknown_because"]
    assert found["offset_ms"] is None and host.loop(PROCESS)["restarts"] == 0
