"""Cameras that lie: one that sends garbage, one that never answers, and a program that a camera has captured.

The last one stands for an ffmpeg that runs what a camera sent it: the operator's part names another executable.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hosts.running_host import RunningHost, running
from tools.programs import need

from tlsrt import Client, Unavailable

CAMERA, PROCESS = "third/camera", "third.camera"
# It tries what it is not given, and writes without end what is no picture.
CAPTURED = """#!/bin/sh
(cat /etc/passwd; cat /proc/1/environ; echo x > /tmp/x; exec 3<>/dev/tcp/127.0.0.1/22) 2>/dev/null
while :; do echo "root:x:0:0 this is no picture, whatever it may be that reads it"; done
"""


@pytest.fixture(scope="module")
def liars() -> Iterator[dict[str, int]]:
    """Servers at ports of RTSP: one sends garbage to all, one says nothing."""
    servers = {name: socket.create_server(("127.0.0.1", 0)) for name in ("garbage", "silent")}
    kept: list[socket.socket] = []

    def serve(name: str) -> None:
        while True:
            try:
                client, _ = servers[name].accept()
            except OSError:
                return
            kept.append(client)
            if name == "garbage":
                with suppress(OSError):
                    client.sendall(os.urandom(100_000) + b"RTSP/1.0 200 OK\r\nContent-Length: 99999999\r\n\r\n")

    threads = [threading.Thread(target=serve, args=[name]) for name in servers]
    for one in threads:
        one.start()
    yield {name: one.getsockname()[1] for name, one in servers.items()}
    for server in servers.values():
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for one in threads:
        one.join()
    for client in kept:
        client.close()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, liars: dict[str, int]) -> Iterator[RunningHost]:
    need("ffmpeg")
    sources = [f'{name}: {{rtsp: "rtsp://127.0.0.1:{port}/x", stall_s: 0.5}}' for name, port in liars.items()]
    sources.append("good: {pattern: true, width: 160, height: 90}")
    rule = ", ".join(f'"127.0.0.1:{port}"' for port in liars.values())
    for host in running(request):
        words = ["--option", f"sources={{{', '.join(sources)}}}"]
        words += ["--needs", f"programs.ffmpeg.egress=[{{to: [{rule}], why: liars}}]"]
        added = host.cli("component", "add", CAMERA, "--yes", *words)
        assert added.returncode == 0, added.stderr
        yield host


def test_what_they_send_is_no_frame_and_harms_no_other(host: RunningHost) -> None:
    client = host.client()
    for name in ("garbage", "silent", "garbage"):
        with pytest.raises(Unavailable, match=f"camera {name}: "):
            client.call(CAMERA, "snapshot", name, timeout_s=30)
        assert client.call(CAMERA, "snapshot", "good", timeout_s=30)["data"][:2] == b"\xff\xd8"
    loop = host.loop(PROCESS)
    assert (loop["state"], loop["violations"], loop["restarts"]) == ("active", 0, 0)


def test_a_captured_program_reaches_nothing_and_its_component_lives(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("captured")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    script = folder / "ffmpeg"
    script.write_text(CAPTURED)
    script.chmod(0o755)
    for host in running(request):
        words = ["--option", "sources={a: {pattern: true}, b: {pattern: true, format: gray, width: 16, height: 16}}"]
        words += ["--needs", f"programs.ffmpeg.run={script}", "--needs", "programs.ffmpeg.also_runs=[/usr/bin/cat]"]
        added = host.cli("component", "add", CAMERA, "--yes", *words)
        assert added.returncode == 0, added.stderr
        client = host.client()
        with pytest.raises(Unavailable, match="what it writes is no pictures"):
            client.call(CAMERA, "snapshot", "a", timeout_s=30)
        raw = client.call(CAMERA, "snapshot", "b", timeout_s=30)["data"]
        assert len(raw) == 256, "what it says is taken for a picture of the declared size, and no more"
        assert_nothing_was_reached(host, client)


def assert_nothing_was_reached(host: RunningHost, client: Client) -> None:
    seen = b"".join(one["data"] for one in client.stream(CAMERA, "frames", "b", count=50))
    assert b"this is no picture" in seen
    assert b"root:x:0:0:root" not in seen
    loop = host.loop(PROCESS)
    assert (loop["state"], loop["violations"], loop["restarts"]) == ("active", 0, 0)
