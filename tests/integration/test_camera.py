"""Cameras as an operator adds them, in the full sandbox: a test pattern, a film, a real RTSP server with a login."""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.plugged_line import PTYS, Line
from hosts.running_host import RunningHost, free_port, running
from tools.programs import need

from tlsrt import Busy, Client, InvalidArgument, NotFound, Unavailable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices are opened by root")
CAMERA, PROCESS = "third/camera", "third.camera"
LOGIN = "user:p@ss'w%41rd/?#"
SERVER = Path(__file__).parents[1] / "hosts" / "rtsp_server.py"
ALLOWED = [
    "--allow", "client/kiosk: [list, frames, snapshot]",
    "--allow", 'client/admin: "*"',
]  # fmt: skip


class RtspServer:
    """A server with a login, which a test ends and starts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["/usr/bin/python3", str(SERVER), str(self.port), *LOGIN.split(":", 1)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
        self.process = None


@pytest.fixture(scope="module")
def rtsp() -> Iterator[RtspServer]:
    need("gst-rtsp-server")
    server = RtspServer(free_port())
    server.start()
    yield server
    server.end()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of a red picture, in a folder that programs may read."""
    folder = tmp_path_factory.mktemp("films")
    for above in (folder, *folder.parents[:2]):
        above.chmod(0o755)
    path = folder / "it's red.mkv"
    red = ["-f", "lavfi", "-i", "color=red:size=320x180:rate=10", "-t", "2", "-c:v", "mjpeg", str(path)]
    subprocess.run([need("ffmpeg"), "-loglevel", "error", *red], check=True, timeout=60)
    return path


@pytest.fixture(scope="module")
def line() -> Iterator[Line]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
    line = Line(folder, "eye")
    line.plug()
    yield line
    line.unplug()
    folder.rmdir()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, rtsp: RtspServer, film: Path, line: Line) -> Iterator[RunningHost]:
    url = f"rtsp://127.0.0.1:{rtsp.port}"
    sources = {
        "pattern": "{pattern: true, width: 320, height: 180, fps: 10, idle_s: 0.2}",
        "raw": "{pattern: true, width: 640, height: 360, fps: 2, format: rgb24, idle_s: 0}",
        "film": f'{{file: "{film}", width: 64, height: 36, format: rgb24}}',
        "door": f"{{rtsp: {url}/door, login: door, width: 320, height: 180, idle_s: 0.2}}",
        "stranger": f"{{rtsp: {url}/door, width: 320, height: 180, readers: [client/admin]}}",
        "eye": "{device: eye, width: 320, height: 180, fps: 30}",
        "hidden": "{rtsp: rtsp://127.0.0.1:9/door, readers: [client/admin]}",
    }
    for host in running(request, prelude=PTYS, clients=["kiosk"]):
        option = ", ".join(f"{name}: {text}" for name, text in sources.items())
        words = ["--option", f"sources={{{option}}}", "--needs", "secrets=[{name: door, why: it logs in there}]"]
        words += ["--needs", f'programs.ffmpeg.egress=[{{to: ["127.0.0.1:{rtsp.port}"], why: the camera at the door}}]']
        words += ["--needs", f"programs.ffmpeg.read=[{film.parent}]"]
        words += ["--needs", f"devices=[{{name: eye, path: {line.path}, tty: {{baud: 9600}}, why: pictures}}]"]
        added = host.cli("component", "add", CAMERA, "--yes", *words, *ALLOWED)
        assert "no secret door: set it with" in added.stdout + added.stderr
        found = subprocess.run(
            host.command("secret", "set", CAMERA, "door"), input=LOGIN.encode(), capture_output=True, timeout=60,
            cwd=host.base,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        until_active(host)
        yield host


def until_active(host: RunningHost) -> None:
    host.until(lambda _: host.loop(PROCESS)["state"] == "active", "the start of the component")


@pytest.fixture
def client(host: RunningHost) -> Client:
    return host.client()


def frames_of(client: Client, source: str, **options: Any) -> Generator[dict[str, Any], None, None]:
    yield from client.stream(CAMERA, "frames", source, **options)


def shown(client: Client, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = client.call(CAMERA, "list")
    return next(one for one in found if one["name"] == name)


def until(client: Client, name: str, **wanted: Any) -> None:
    end = time.monotonic() + 30
    while any(shown(client, name)[key] != value for key, value in wanted.items()):
        assert time.monotonic() < end, shown(client, name)


def test_frames_for_two_and_it_ends_when_nobody_reads(host: RunningHost, client: Client) -> None:
    assert shown(client, "pattern")["state"] == "idle"
    with host.client("kiosk") as kiosk:
        both = [frames_of(one, "pattern", count=5) for one in (client, kiosk)]
        for frames in both:
            found = list(frames)
            assert [one["data"][:2] for one in found] == [b"\xff\xd8"] * 5, "a JPEG picture"
            assert all((one["width"], one["height"]) == (320, 180) for one in found)
            assert found[-1]["pts_ms"] - found[0]["pts_ms"] == 100 * (found[-1]["number"] - found[0]["number"])
    assert shown(client, "pattern")["runs"] == 1, "one program for both"
    until(client, "pattern", state="idle")
    host.until(lambda _: not running_programs(host), "the end of its program")


def running_programs(host: RunningHost) -> list[Any]:
    found: list[Any] = next(one["running"] for one in host.loop(PROCESS)["programs"] if "ffmpeg" in one["name"])
    return found


def test_who_is_slow_gets_the_newest_frame(client: Client) -> None:
    """The stream of a caller holds some frames on its way; what does not fit is left out, and told."""
    slow = frames_of(client, "raw")
    first = next(slow)
    assert (first["part"], first["parts"]) == (0, 4)
    assert sum(len(next(slow)["data"]) for _ in range(3)) + len(first["data"]) == 640 * 360 * 3
    slow.close()


def test_a_film_goes_on_for_ever_and_its_picture_is_red(client: Client) -> None:
    frames = list(frames_of(client, "film", count=3))
    for one in frames:
        red, green, blue = (statistics.fmean(one["data"][at::3]) for at in range(3))
        assert red > 230 and green < 30 and blue < 30, (red, green, blue)


def test_a_camera_of_the_network_with_a_login_that_no_process_sees(
    host: RunningHost, client: Client, rtsp: RtspServer
) -> None:
    frames = frames_of(client, "door")
    assert next(frames).get("data", b"")[:2] == b"\xff\xd8", shown(client, "door")
    words = [word for one in psutil.process_iter(["cmdline"]) for word in one.info["cmdline"] or ()]
    assert any("ffconcat" in word or word == "pipe,rtsp,rtp,tcp" for word in words)
    secret = LOGIN.partition(":")[2]
    mine = psutil.Process(os.getpid()).children(recursive=True)
    servers = {one.pid for one in mine if "rtsp_server.py" in " ".join(one.cmdline())}
    seen = [one for one in psutil.process_iter(["cmdline"]) if secret in " ".join(one.info["cmdline"] or ())]
    assert {one.pid for one in seen} <= servers, "no argument of the host has it"
    rtsp.end()  # it is switched off
    while "is_present" not in (item := next(frames)):
        continue
    assert item["is_present"] is False and item["reason"], item
    with pytest.raises(Unavailable, match=r"camera door: "):
        client.call(CAMERA, "snapshot", "door", timeout_s=20, max_age_s=0)
    until(client, "door", reason="Connection refused")
    rtsp.start()
    while "data" not in (item := next(frames)):
        continue
    frames.close()
    logs = "".join(file.read_text(errors="replace") for file in host.folder.rglob("*.log"))
    logs += "\n".join(host.console)
    assert secret not in logs and "user:" not in logs
    until(client, "door", state="idle")


def test_a_wrong_login_and_an_address_without_a_rule_are_told(client: Client) -> None:
    with pytest.raises(Unavailable, match="camera stranger: the server refuses it: look at its address"):
        client.call(CAMERA, "snapshot", "stranger", timeout_s=30)
    with pytest.raises(Unavailable, match="camera hidden: "):
        client.call(CAMERA, "snapshot", "hidden", timeout_s=30)


def test_a_device_that_gives_pictures(client: Client, line: Line) -> None:
    picture = client.call(CAMERA, "snapshot", "pattern", timeout_s=30)["data"]
    seen = threading.Event()

    def show() -> None:
        while not seen.is_set():
            os.write(line.master, picture)

    frames = frames_of(client, "eye", count=2)
    shower = threading.Thread(target=show)
    shower.start()
    try:
        assert all(one["data"][:2] == b"\xff\xd8" for one in frames)
    finally:
        seen.set()
        termios.tcflush(line.kept, termios.TCIOFLUSH)  # it may wait for room
        shower.join()


def test_callers_name_sources_and_nothing_else(host: RunningHost, client: Client, film: Path) -> None:
    for name in (str(film), "rtsp://127.0.0.1/door", "pattern -f lavfi", "../pattern", "-i", "pattern\nfile x", ""):
        with pytest.raises((NotFound, InvalidArgument)):
            client.call(CAMERA, "snapshot", name)
    with host.client("kiosk") as kiosk:
        assert "stranger" not in [one["name"] for one in kiosk.call(CAMERA, "list")]
        with pytest.raises(NotFound):
            kiosk.call(CAMERA, "snapshot", "stranger")


def test_a_flood_of_readers_is_bounded_and_starts_one_program(host: RunningHost, client: Client) -> None:
    until(client, "pattern", state="idle")
    host.until(lambda _: len(running_programs(host)) <= 2, "the end of programs of the tests before")
    before = shown(client, "pattern")["runs"]
    streams = [frames_of(client, "pattern") for _ in range(17)]
    busy = 0
    try:
        for one in streams:
            try:
                next(one)
            except Busy:
                busy += 1
        assert busy == 1
        assert shown(client, "pattern")["readers"] == 16
        assert shown(client, "pattern")["runs"] == before + 1
        assert len(running_programs(host)) <= 3
    finally:
        for one in streams:
            one.close()
    until(client, "pattern", readers=0)


def test_figures_and_no_refused_call(host: RunningHost, client: Client) -> None:
    frames = frames_of(client, "pattern")
    next(frames)
    took = []
    for _ in range(200):
        began = time.perf_counter()
        client.call(CAMERA, "snapshot", "pattern")
        took.append(1000 * (time.perf_counter() - began))
    frames.close()
    until(client, "pattern", state="idle")
    cuts = statistics.quantiles(took, n=100)
    began = time.perf_counter()
    client.call(CAMERA, "snapshot", "pattern")
    print(f"snapshot: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms; of an idle one {time.perf_counter() - began:.2f} s")
    loop = host.loop(PROCESS)
    print(f"memory: {psutil.Process(loop['pid']).memory_full_info().pss / (1 << 20):.1f} MiB (PSS)")
    assert loop["violations"] == 0
