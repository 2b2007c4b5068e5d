"""Kernel and hardware of this very host, through TLS: its log, its pressure, its settings and what is plugged in."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
from hosts.running_host import RunningHost, running

from tlsrt.errors import CallError

KERNEL, HARDWARE = "primary/kernel", "primary/hardware"
STAT, ZRAM = Path("/proc/sys/vm/stat_interval"), Path("/sys/class/zram-control")
EVENTS = [
    {"kind": "processes", "every_s": 1, "why": "a test"},
    {"kind": "pressure", "resource": "cpu", "ms": 10, "why": "a test"},
    {"kind": "kernel_log", "prefixes": ["tlsrt-test "], "level": "warning", "programs": True, "why": "a test"},
]
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="settings of the kernel and its log are root's")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    before = STAT.read_text()
    stat = {"name": "stat", "path": str(STAT), "values": "1-3", "why": "a test"}
    yield from running(
        request,
        components={
            KERNEL: {"needs": {"events": EVENTS, "settings": [stat]},
                     "options": {"sysctls": {"vm.stat_interval": int(before)}}},
            HARDWARE: {"needs": {"events": [{"kind": "uevents", "why": "a test"}]},
                       "options": {"virtual": True, "learn": False, "known_devices": ["usb *", "block [!z]*"]}},
        },
        policy={f"client/admin -> {one}": "*" for one in (KERNEL, HARDWARE)},
    )  # fmt: skip
    STAT.write_text(before)


class Heard:
    """What a component publishes on a topic, from the moment at which this has been made."""

    def __init__(self, host: RunningHost, address: str, topic: str) -> None:
        self._items: Queue[Any] = Queue()
        self._stream = host.client().stream(address, "subscribe", topic)
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        try:
            for item in self._stream:
                self._items.put(item)
        except CallError:  # the host has ended
            return

    def next(self, do: Callable[[], object] = lambda: None) -> Any:
        """Return the next one; do again what it is to be about, as what comes before the subscription is not heard."""
        for _ in range(20):
            do()
            try:
                return self._items.get(timeout=0.5)
            except Empty:
                continue
        raise AssertionError("nothing was heard")


def test_both_tell_of_this_host(host: RunningHost) -> None:
    client = host.client()
    assert client.call(KERNEL, "uname")["release"] == platform.release()
    assert client.call(KERNEL, "memory")["total_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    modules = client.call(KERNEL, "modules")
    assert modules is None or len(modules) == len(Path("/proc/modules").read_text().splitlines())
    assert {one["name"] for one in client.call(HARDWARE, "block")} == set(os.listdir("/sys/block"))
    assert {one["name"] for one in client.call(HARDWARE, "adapters")} >= {"lo"}
    for method in ("watchdogs", "tpms", "fans", "memory_errors", "thermal_zones"):
        assert client.call(HARDWARE, method) != []
    took = []
    for _ in range(200):
        began = time.perf_counter()
        client.call(KERNEL, "load")
        took.append(1000 * (time.perf_counter() - began))
    took.sort()
    print(f"kernel.load through TLS: p50 {took[100]:.2f} ms, p99 {took[197]:.2f} ms")


def test_the_runtimes_own_processes_are_told(host: RunningHost) -> None:
    client = host.client()
    host.until(lambda document: client.call(KERNEL, "processes") is not None, "the table")
    told = {one["name"]: one for one in client.call(KERNEL, "processes")}
    assert {"supervisor", "authority", "primary", "primary.facts", "helper"} <= told.keys()
    assert told["primary"]["pid"] == host.loop("primary")["pid"] and told["primary"]["resident_bytes"] > 1 << 20


def test_the_file_system_of_the_host_is_seen_from_inside(host: RunningHost) -> None:
    found = host.client().call(HARDWARE, "file_systems")
    assert found, "the runtime's own code lies on one"
    sizes = {
        os.statvfs(path).f_blocks * os.statvfs(path).f_frsize for path in (os.path.dirname(os.__file__), host.base)
    }
    assert sizes <= {one["size_bytes"] for one in found}


def test_a_record_of_the_kernels_log_is_published_and_kept(host: RunningHost) -> None:
    heard = Heard(host, KERNEL, "log")
    Path("/dev/kmsg").write_text("<6>tlsrt-test not grave\n")
    told = heard.next(lambda: Path("/dev/kmsg").write_text("<3>tlsrt-test hello\n"))
    assert (told["level"], told["text"]) == ("error", "tlsrt-test hello")
    assert told in host.client().call(KERNEL, "recent", "error")


@pytest.mark.skipif(not os.path.exists("/proc/pressure/cpu"), reason="this kernel tells no pressure")
def test_pressure_is_published_while_tasks_wait(host: RunningHost) -> None:
    heard = Heard(host, KERNEL, "pressure")
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range((os.cpu_count() or 1) + 2)]
    try:
        told = heard.next()
    finally:
        for one in burning:
            one.kill()
            one.wait()
    assert (told["resource"], told["stall"]) == ("cpu", "some") and told["total_us"] > 0


def test_a_setting_is_changed_within_its_range_and_is_a_drift_then(host: RunningHost) -> None:
    client = host.client()
    assert client.call(KERNEL, "drift") == []
    other = 3 if STAT.read_text().strip() != "3" else 2
    client.call(KERNEL, "change", "stat", other)
    assert STAT.read_text().strip() == str(other)
    assert [one["name"] for one in client.call(KERNEL, "drift")] == ["vm.stat_interval"]
    with pytest.raises(CallError, match="1-3"):
        client.call(KERNEL, "change", "stat", 4)


@pytest.mark.skipif(not ZRAM.is_dir(), reason="this kernel has no zram, which comes and goes as a disk does")
def test_a_disk_that_is_not_known_is_an_anomaly_and_can_be_learned(host: RunningHost) -> None:
    client = host.client()
    number = (ZRAM / "hot_add").read_text().strip()
    try:
        path = f"devices/virtual/block/zram{number}"
        told = f"unknown device block zram at {path} (add)"
        host.until(lambda document: told in host.log("primary.facts"), "a uevent of it")
        (found,) = [one for one in client.call(HARDWARE, "devices") if one["path"] == path]
        assert found == {"name": "block zram", "path": path, "virtual": True, "known": False}
        host.told("alert_warning: unknown_device", HARDWARE)
        host.told("alert_warning", HARDWARE, by=("audit", "tail"))
        client.call(HARDWARE, "learn", "block zram")
        assert all(one["known"] for one in client.call(HARDWARE, "devices"))
    finally:
        (ZRAM / "hot_remove").write_text(number)
