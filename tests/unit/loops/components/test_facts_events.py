"""What kernel and hardware tell by themselves: devices, drift, records, pressure, room; with events of a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from fakes.machine_tree import USB, machine_of, plug, tree

from tlsrt import KernelRecord, NotFound, Pressure, ProcessRow, ProcessTable, Uevent
from tlsrt.loops.facts.hardware import Hardware
from tlsrt.loops.facts.kernel import Kernel
from tlsrt.testing import FakeEvents, running


def below(kind: type[Any], root: Path) -> type[Any]:
    return type(kind.__name__, (kind,), {"proc": root / "proc", "sys": root / "sys", "__doc__": kind.__doc__})


async def until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not found():
            await asyncio.sleep(0.01)


async def item(stream: AsyncIterator[Any]) -> Any:
    async with asyncio.timeout(10):
        return await anext(stream)


def test_a_device_that_is_not_known_is_told_once_and_alerted(tmp_path: Path) -> None:
    sys = machine_of(tmp_path / "sys")

    async def scene() -> None:
        events = FakeEvents()
        async with running(below(Hardware, tmp_path), state=tmp_path, events=events) as it:
            assert [one["known"] for one in await it.call("devices")] == [True, True, True], (
                "learned at the first start"
            )
            stream, devices = it.subscribe("unknown_device"), it.subscribe("device")
            await it.call("metrics")  # what was asked before has begun
            path = plug(sys, "1-2", USB | {"serial": "evil"})
            event = Uevent("add", "usb", f"/{path}", "bus/usb/001/005", {"DEVTYPE": "usb_device"})
            events.happen(event)
            assert await item(stream) == {"name": "usb 046d:c52b evil", "path": path, "event": "add"}
            told = {"action": "add", "subsystem": "usb", "name": "bus/usb/001/005", "dropped": 0}
            assert await item(devices) == told
            events.happen(event)  # it has not gone meanwhile
            await item(devices)
            assert events.alerts == ["unknown_device"]
            events.happen(Uevent("remove", "usb", f"/{path}", "", {"DEVTYPE": "usb_device"}))
            events.happen(event)
            await item(stream)
            assert events.alerts == ["unknown_device"] * 2, "who comes again is told again"
            await it.call("learn", "usb 046d:c52b evil")
            assert all(one["known"] for one in await it.call("devices"))
            assert (await it.call("metrics"))["counters"]["unknown_devices"] == 2
        async with running(below(Hardware, tmp_path), state=tmp_path, events=events) as it:
            assert all(one["known"] for one in await it.call("devices")), "what was learned outlives a restart"
            await it.call("forget", "usb 046d:c52b evil")
            with pytest.raises(NotFound, match="was not learned"):
                await it.call("forget", "usb 046d:c52b evil")

    asyncio.run(scene())
    assert "usb 046d:c52b a_1" in json.loads((tmp_path / "known-devices.json").read_text())


def test_what_was_plugged_in_while_nobody_looked_is_found(tmp_path: Path) -> None:
    sys = machine_of(tmp_path / "sys")

    async def scene() -> None:
        options = {"known_devices": ["usb 046d:*", "block disk_9 *"]}
        async with running(below(Hardware, tmp_path), state=tmp_path, options=options) as it:
            hardware, stream = it.component, it.subscribe("unknown_device")
            await it.call("metrics")
            plug(sys, "1-3", {"idVendor": "dead", "idProduct": "beef"})
            await hardware.look()
            await hardware.look()
            assert (await item(stream))["name"] == "usb dead:beef"
            assert (await it.call("metrics"))["counters"]["unknown_devices"] == 1

    asyncio.run(scene())


def test_a_swarm_of_devices_is_told_of_in_time(tmp_path: Path) -> None:
    sys = machine_of(tmp_path / "sys")

    async def scene() -> None:
        events = FakeEvents()
        async with running(below(Hardware, tmp_path), state=tmp_path, events=events) as it:
            for number in range(50):
                plug(sys, f"2-{number}", {"idVendor": "dead", "idProduct": f"{number:04x}"})
            await it.component.look()
            await it.component.look()
            assert len(events.alerts) == (await it.call("metrics"))["counters"]["unknown_devices"] == 20
            it.component._told.clear()  # a minute later
            await it.component.look()
            assert len(events.alerts) == 40, "those that had to wait, and no other"

    asyncio.run(scene())


def test_a_file_system_that_fills_up_is_told(tmp_path: Path) -> None:
    machine_of(tmp_path / "sys")
    tree(tmp_path, {"proc/self/mountinfo": f"23 1 8:1 / {tmp_path} rw - ext4 /dev/sda1 rw\n"})

    async def scene() -> None:
        options = {"almost_full_percent": 1.0, "enough_room_percent": 0.0}  # any disk of a test is as full as that
        async with running(below(Hardware, tmp_path), state=tmp_path, options=options) as it:
            stream = it.subscribe("file_system")
            await it.call("metrics")
            await it.component.look()
            told = await item(stream)
            assert (told["change"], told["file_system"]["source"]) == ("almost_full", "/dev/sda1")
            (found,) = await it.call("file_systems")
            assert found["size_bytes"] > 0
            assert (await it.call("metrics"))["gauges"]["file_systems_almost_full"] == 1

    asyncio.run(scene())


def test_a_host_without_any_of_it_starts_and_says_so(tmp_path: Path) -> None:
    async def scene() -> None:
        async with running(below(Hardware, tmp_path), state=tmp_path) as it:
            assert {"temperatures", "fans", "TPM", "DMI", "USB", "watchdogs"} <= set(await it.call("absent"))
            for method in ("temperatures", "fans", "thermal_zones", "memory_errors", "watchdogs", "tpms", "dmi"):
                assert await it.call(method) is None
        async with running(below(Kernel, tmp_path)) as it:
            assert await it.call("modules") is None and await it.call("recent") == []

    asyncio.run(scene())


def test_the_log_of_the_kernel_is_kept_published_and_thinned(tmp_path: Path) -> None:
    async def scene() -> None:
        events = FakeEvents()
        async with running(below(Kernel, tmp_path), events=events) as it:
            stream = it.subscribe("log")
            await it.call("metrics")  # what was asked before has begun
            events.happen(KernelRecord(3, 0, 7, 12, "EXT4-fs (sda1): error", 2))
            told = {"level": "error", "sequence": 7, "uptime_us": 12, "text": "EXT4-fs (sda1): error", "dropped": 2}
            assert await item(stream) == told
            for number in range(300):
                events.happen(KernelRecord(6, 0, 8 + number, 12, "usb 1-1: new", 0))
                await asyncio.sleep(0)
            kernel = it.component
            await until(lambda: len(kernel._log) == 256)
            figures = (await it.call("metrics"))["counters"]
            assert figures["kernel_records_dropped"] == 2 and figures["kernel_records_not_published"] >= 200
            assert await it.call("recent", "error") == []
            assert len(await it.call("recent")) == 256, "the oldest went"
            with pytest.raises(NotFound, match="no level"):
                await it.call("recent", "loud")

    asyncio.run(scene())


def test_pressure_is_published(tmp_path: Path) -> None:
    async def scene() -> None:
        events = FakeEvents()
        async with running(below(Kernel, tmp_path), events=events) as it:
            stream = it.subscribe("pressure")
            await it.call("metrics")  # what was asked before has begun
            events.happen(Pressure("memory", "some", 12.5, 3.0, 1.0, 99))
            assert await item(stream) == {
                "resource": "memory", "stall": "some", "avg10_percent": 12.5, "avg60_percent": 3.0,
                "avg300_percent": 1.0, "total_us": 99, "dropped": 0,
            }  # fmt: skip

    asyncio.run(scene())


def test_the_runtimes_own_processes(tmp_path: Path) -> None:
    async def scene() -> None:
        events = FakeEvents()
        async with running(below(Kernel, tmp_path), events=events) as it:
            assert await it.call("processes") is None
            await it.call("metrics")
            row = ProcessRow("third", "active", 7, 1, 1500, 4096, 2)
            events.happen(ProcessTable((row, ProcessRow("forth", "backoff", 0, 3, 0, 0, 0))))
            await until(lambda: it.component._table is not None)
            runs, down = await it.call("processes")
            assert (runs["cpu_s"], runs["resident_bytes"], runs["pid"]) == (1.5, 4096, 7)
            assert (down["state"], down["restarts"], down["cpu_s"], down["resident_bytes"]) == (
                "backoff",
                3,
                None,
                None,
            )

    asyncio.run(scene())


def test_drift_and_kills_are_told_once(tmp_path: Path) -> None:
    tree(tmp_path, {"proc/sys/vm/swappiness": "60\n", "proc/vmstat": "oom_kill 3\n"})

    async def scene() -> None:
        events = FakeEvents()
        options = {"sysctls": {"vm.swappiness": 60}}
        async with running(below(Kernel, tmp_path), options=options, events=events) as it:
            assert await it.call("drift") == []
            drift, kills = it.subscribe("drift"), it.subscribe("oom_kills")
            await it.call("metrics")
            tree(tmp_path, {"proc/sys/vm/swappiness": "1\n", "proc/vmstat": "oom_kill 5\n"})
            await it.component.look()
            await it.component.look()
            assert await item(drift) == {"name": "vm.swappiness", "declared": "60", "found": "1"}
            assert await item(kills) == {"new": 2, "oom_kills": 5}
            assert events.alerts == ["setting_drifted"]
            with pytest.raises(NotFound, match="no setting 'swap' is granted"):
                await it.call("change", "swap", 1)

    asyncio.run(scene())


@pytest.mark.parametrize("name", ["net.ipv4.ip_forward", "vm", "../../x", "VM.x"])
def test_only_settings_that_are_served_can_be_declared(name: str) -> None:
    with pytest.raises(ValueError, match="no setting below"):
        cast("Any", Kernel.Options)(sysctls={name: 1})


def test_room_has_to_lie_below_almost_full() -> None:
    with pytest.raises(ValueError, match="below almost_full_percent"):
        cast("Any", Hardware.Options)(almost_full_percent=80.0, enough_room_percent=80.0)
