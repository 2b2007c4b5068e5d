"""Input devices as an operator adds them, through TLS, in the full sandbox, on a device that goes and comes."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hosts.plugged_input import INPUTS, Keys
from hosts.running_host import RunningHost, running

from tlsrt import Client, NotFound

INPUT, PROCESS = "third/input", "third.input"
SCANNED = (31, 18, 46, 19, 18, 20)  # s e c r e t
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices are opened by root")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tlsrt-", dir="/dev"))
    yield folder
    folder.rmdir()


@pytest.fixture(scope="module")
def keys(folder: Path) -> Iterator[Keys]:
    keys = Keys(folder, "keys")
    keys.plug()
    yield keys
    keys.unplug()


@pytest.fixture(scope="module")
def scanner(folder: Path) -> Iterator[Keys]:
    scanner = Keys(folder, "scanner")
    scanner.plug()
    yield scanner
    scanner.unplug()


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest, keys: Keys, scanner: Keys) -> Iterator[RunningHost]:
    for host in running(request, prelude=INPUTS, clients=["kiosk"]):
        devices = ", ".join(
            f"{{name: {name}, path: {path}, input: {how}, why: a test}}"
            for name, path, how in [
                ("keys", keys.path, "shared"), ("scanner", scanner.path, "shared"), ("taken", keys.path, "grabbed"),
                ("line", "/dev/null", "shared"),
            ]
        )  # fmt: skip
        inputs = "keys: {long_press_ms: 5000, per_s: 1000}, taken: {}, line: {}, "
        inputs += "scanner: {mode: lines, readers: [client/admin]}"
        words = ["--option", f"inputs={{{inputs}}}", "--needs", f"devices=[{devices}]"]
        words += ["--allow", "client/kiosk: [list, listen]", "--allow", 'client/admin: "*"']
        added = host.cli("component", "add", INPUT, "--yes", *words)
        assert added.returncode == 0, added.stderr
        assert "input shared" in added.stdout + added.stderr
        yield host


@pytest.fixture
def client(host: RunningHost) -> Client:
    client = host.client()
    end = time.monotonic() + 20
    while not all(shown(client, name)["is_present"] for name in ("keys", "scanner")):
        assert time.monotonic() < end, client.call(INPUT, "list")
    return client


def shown(client: Client, name: str) -> dict[str, Any]:
    return next(one for one in client.call(INPUT, "list") if one["name"] == name)


def test_two_clients_hear_a_key(host: RunningHost, client: Client, keys: Keys) -> None:
    with host.client("kiosk") as kiosk:
        both = [one.stream(INPUT, "listen", "keys") for one in (client, kiosk)]
        assert [next(one) for one in both] == [{"is_present": True}] * 2
        keys.press(115)
        for one in both:
            assert [(item["key"], item["state"]) for item in (next(one), next(one))] == [
                ("KEY_VOLUMEUP", "down"), ("KEY_VOLUMEUP", "up"),
            ]  # fmt: skip


def test_a_scan_is_one_item_for_who_may_hear_it_and_in_no_log(host: RunningHost, client: Client, scanner: Keys) -> None:
    heard = client.stream(INPUT, "listen", "scanner")
    next(heard)
    scanner.press(*SCANNED, 28)
    assert {key: value for key, value in next(heard).items() if key != "wall_ms"} == {"kind": "scan", "text": "secret"}
    with host.client("kiosk") as kiosk:
        assert "scanner" not in [one["name"] for one in kiosk.call(INPUT, "list")]
        with pytest.raises(NotFound):
            next(kiosk.stream(INPUT, "listen", "scanner"))
    logs = [file for file in host.folder.rglob("*") if file.is_file() and file.stat().st_size < 1 << 22]
    assert not [file for file in logs if b'secret"' in file.read_bytes() or b"'secret'" in file.read_bytes()]


def test_what_is_no_input_device_is_not_had_and_a_grab_that_fails_is_told(host: RunningHost, client: Client) -> None:
    """A terminal cannot be grabbed, and /dev/null is none of evdev."""
    states = {one["name"]: one for one in host.loop(PROCESS)["devices"]}
    found = {name.rpartition(" ")[2].rpartition("/")[2]: one for name, one in states.items()}
    assert "it is no input device" in str(found["line"]), states
    assert "Inappropriate ioctl" in str(found["taken"]), states
    assert shown(client, "taken")["is_present"] is False


def test_it_is_unplugged_and_comes_again(client: Client, keys: Keys) -> None:
    heard = client.stream(INPUT, "listen", "keys")
    next(heard)
    keys.unplug()
    assert next(heard)["is_present"] is False
    keys.plug()
    assert next(heard)["is_present"] is True
    keys.press(30)
    assert next(heard)["key"] == "KEY_A"


def test_figures_and_no_refused_call(host: RunningHost, client: Client, keys: Keys) -> None:
    heard = client.stream(INPUT, "listen", "keys")
    next(heard)
    took = []
    for _ in range(200):
        began = time.perf_counter()
        keys.press(48)
        next(heard)
        took.append(1000 * (time.perf_counter() - began))
        next(heard)
    cuts = statistics.quantiles(took, n=100)
    print(f"a key, from the device to a client: p50 {cuts[49]:.2f} ms, p99 {cuts[98]:.2f} ms")
    loop = host.loop(PROCESS)
    print(f"memory: {psutil.Process(loop['pid']).memory_full_info().pss / (1 << 20):.1f} MiB (PSS)")
    assert loop["violations"] == 0
