"""Readers of the hardware below a root: sensors, machine, disks, file systems, and which devices are known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import pytest
from fakes.machine_tree import machine_of, tree
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.facts import machine, sensors
from tlsrt.loops.facts.block_devices import block_devices, parse_hexadecimal, parse_stat
from tlsrt.loops.facts.file_systems import FileSystem, Fullness, file_systems, parse_mounts, room_of
from tlsrt.loops.facts.known_devices import (
    LEARNED_MAX,
    DeviceName,
    KnownDevices,
    device_of_event,
    devices_there,
    read_learned,
    word_untrusted,
    write_learned,
)


def test_sensors(tmp_path: Path) -> None:
    chip, zone, controller = "class/hwmon/hwmon0", "class/thermal/thermal_zone0", "devices/system/edac/mc/mc0"
    files = {
        f"{chip}/name": "nct6775", f"{chip}/fan1_input": "1800", f"{chip}/fan1_min": "300", f"{chip}/fan2_input": "",
        f"{chip}/temp1_input": "47000", f"{chip}/temp1_crit": "100000", f"{chip}/temp1_label": "CPU",
        f"{chip}/temp1x_input": "1",
        f"{zone}/type": "acpitz", f"{zone}/temp": "27800", f"{zone}/policy": "step_wise",
        f"{zone}/trip_point_0_type": "critical", f"{zone}/trip_point_0_temp": "105000",
        f"{controller}/mc_name": "skx", f"{controller}/size_mb": "16", f"{controller}/ce_count": "3",
        "devices/system/edac/mc/power/control": "on",
    }  # fmt: skip
    tree(tmp_path, files)
    assert sensors.read_fans(tmp_path) == [
        {"sensor": "nct6775", "label": "fan1", "revolutions_per_minute": 1800, "minimum_revolutions_per_minute": 300},
        {"sensor": "nct6775", "label": "fan2", "revolutions_per_minute": None, "minimum_revolutions_per_minute": None},
    ], "a fan that tells nothing is null and not 0"
    assert [(one["label"], one["celsius"]) for one in sensors.read_temperatures(tmp_path)] == [
        ("CPU", 47.0), ("thermal_zone0", 27.8),
    ]  # fmt: skip
    (found,) = sensors.read_thermal_zones(tmp_path)
    assert (found["kind"], found["policy"]) == ("acpitz", "step_wise")
    assert found["trips"] == [{"kind": "critical", "celsius": 105.0}]
    (memory,) = sensors.read_memory_controllers(tmp_path)
    assert (memory["size_bytes"], memory["corrected_errors"], memory["uncorrected_errors"]) == (16 << 20, 3, None)


def test_watchdogs_and_tpms(tmp_path: Path) -> None:
    dog = "class/watchdog/watchdog0"
    files = {
        f"{dog}/identity": "iTCO_wdt", f"{dog}/state": "inactive", f"{dog}/timeout": "30", f"{dog}/bootstatus": "32",
        "class/watchdog/watchdog1/x": "", "class/tpm/tpm0/tpm_version_major": "2",
    }  # fmt: skip
    tree(tmp_path, files)
    first, second = machine.read_watchdogs(tmp_path)
    assert first == {
        "name": "watchdog0", "kind": "iTCO_wdt", "is_active": False, "timeout_s": 30, "caused_last_boot": True,
    }  # fmt: skip
    assert set(second.values()) == {"watchdog1", None}
    assert machine.read_tpms(tmp_path) == [{"name": "tpm0", "version_major": 2}]


def test_traffic_and_errors_of_disks(tmp_path: Path) -> None:
    files = {
        "block/sda/size": "8", "block/sda/stat": "1 2 16 4 5 6 32 8 9 10 11", "block/sda/device/ioerr_cnt": "0x1f",
        "block/sda/sda1/partition": "1", "fs/ext4/sda1/errors_count": "2", "fs/ext4/sda/errors_count": "1",
        "block/sdb/stat": "broken",
    }  # fmt: skip
    first, second = block_devices(tree(tmp_path, files))
    assert (first["read_bytes"], first["written_bytes"], first["busy_ms"]) == (16 * 512, 32 * 512, 10)
    assert (first["device_errors"], first["file_system_errors"]) == (0x1F, 3)
    assert (second["read_bytes"], second["device_errors"], second["file_system_errors"]) == (None, None, None)


MOUNTS = r"""22 1 8:1 /usr/lib /usr/lib ro,nosuid - ext4 /dev/sda1 rw
23 1 8:1 / /mnt rw - ext4 /dev/sda1 rw
24 1 0:5 / /proc ro - proc proc rw
25 1 0:30 / /tmp rw - tmpfs tmpfs rw
26 1 8:17 / /srv/a\040b rw shared:3 master:1 - xfs /dev/sdb1 ro,noatime
27 1 0:50 / /n rw - nfs4 server:/x rw
broken
28 1 8:33 / /y rw - xfs
"""


def test_file_systems_are_told_once_each_and_none_that_cannot_fill_up(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(place: str) -> os.statvfs_result:
        asked.append(place)
        if place == "/mnt":
            return os.statvfs_result((4096, 1024, 1000, 300, 200, 100, 10, 10, 0, 255))
        raise OSError("gone")

    tree(tmp_path, {"self/mountinfo": MOUNTS})
    root, second, remote = file_systems(tmp_path, ask)
    assert asked == ["/mnt", "/srv/a b"], "what another machine answers for is not asked"
    assert (root["device"], root["seen_at"], root["read_only"]) == ("8:1", "/mnt", False)
    assert (root["size_bytes"], root["available_bytes"]) == (1000 * 1024, 200 * 1024)
    assert (root["used_percent"], root["files_used_percent"]) == (round(100 * 700 / 900, 2), 90.0), "as df counts"
    assert (second["source"], second["read_only"], second["size_bytes"]) == ("/dev/sdb1", True, None)
    assert (remote["kind"], remote["used_percent"]) == ("nfs4", None)


def test_room_agrees_with_this_host(tmp_path: Path) -> None:
    room = room_of(str(tmp_path))
    assert room is not None
    assert (
        0 <= room.used_percent <= 100
        and room.size_bytes == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    )


def full(percent: float | None, device: str = "8:1", **more: Any) -> FileSystem:
    base = dict.fromkeys(FileSystem.__annotations__)
    return cast("FileSystem", {**base, "device": device, "used_percent": percent, "read_only": False, **more})


def test_almost_full_has_hysteresis() -> None:
    state = Fullness(90, 85)
    told = [[change for change, _ in state.look([full(share)])] for share in (89, 90, 89, 85, 91, 84, 84, 95)]
    assert told == [[], ["almost_full"], [], [], [], ["enough_room"], [], ["almost_full"]]
    assert state.look([]) == [] and state.full == set(), "what is not shown any more is forgotten"
    assert [change for change, _ in state.look([full(10, files_used_percent=99.0)])] == ["almost_full"]
    assert state.look([full(99, "8:2", read_only=True), full(None, "8:3")]) == []


@given(st.lists(st.floats(0, 100), max_size=30))
def test_changes_of_fullness_take_turns(shares: list[float]) -> None:
    state = Fullness(90, 85)
    told = [change for share in shares for change, _ in state.look([full(share)])]
    assert told == [("almost_full", "enough_room")[number % 2] for number in range(len(told))]


@given(st.text())
def test_no_text_of_the_kernel_is_an_error(text: str) -> None:
    for mount in parse_mounts(text):
        assert mount.device
    parse_stat(text)
    parse_hexadecimal(text)
    machine.parse_cpuinfo(text)
    word = word_untrusted(text)
    assert len(word) <= 64 and all("!" <= sign <= "~" for sign in word)


def test_devices_are_called_what_they_say_they_are(tmp_path: Path) -> None:
    found = devices_there(machine_of(tmp_path))
    assert found == [
        DeviceName("usb 046d:c52b a_1", "devices/pci0/usb1/1-1"),
        DeviceName("block disk_9 s7", "devices/pci0/ata1/block/sda"),
        DeviceName("block zram", "devices/virtual/block/zram0", is_virtual=True),
    ]
    again = device_of_event(tmp_path, "usb", "usb_device", "/devices/pci0/usb1/1-1")
    assert again == found[0], "a uevent has the same name and path"
    assert device_of_event(tmp_path, "block", "disk", "/devices/virtual/block/zram0") == found[2]
    assert device_of_event(tmp_path, "block", "disk", "/devices/x", is_gone=True) == DeviceName("", "devices/x")
    for subsystem, devtype, path in (
        ("usb", "usb_interface", "/devices/pci0/usb1/1-1"), ("block", "partition", "/devices/x"), ("tty", "", "/x"),
        ("usb", "usb_device", "/devices/gone"), ("usb", "usb_device", "/devices/../devices/pci0/usb1/1-1"),
    ):  # fmt: skip
        assert device_of_event(tmp_path, subsystem, devtype, path) is None


def test_what_is_known() -> None:
    known = KnownDevices(["USB 046d:*", "block disk_?"], ["usb 1:2 x"])
    names = {"usb 046d:c52b a_1": True, "usb 1:2 x": True, "usb 1:2": False, "block disk_9": True}
    assert {name: known.has(DeviceName(name, "p")) for name in names} == names
    assert known.has(DeviceName("block loop", "p", is_virtual=True))
    assert not KnownDevices([], takes_virtual=True).has(DeviceName("block loop", "p", is_virtual=True))
    assert known.learn("usb 9:9") and known.has(DeviceName("usb 9:9", "p")) and known.forget("usb 9:9")
    assert not known.forget("usb 9:9") and not known.has(DeviceName("usb 9:9", "p"))


def test_what_is_learned_is_bounded_and_outlives_damage(tmp_path: Path) -> None:
    known = KnownDevices([], map(str, range(LEARNED_MAX)))
    assert known.learn("0") and not known.learn("new")
    file = tmp_path / "known.json"
    assert read_learned(file) is None
    write_learned(file, known.learned)
    assert read_learned(file) == known.learned
    for text in ("", "{}", "[1]", '["x"', f'["{"x" * 300}"]'):
        file.write_text(text)
        assert read_learned(file) == [], "what is damaged is no first start: all that is there is unknown then"


@pytest.mark.parametrize("text", ["", None, "1 2 3", "1 2 3 4 5 6 7 8 9 x"])
def test_a_disk_without_figures(text: str | None) -> None:
    assert parse_stat(text) is None
