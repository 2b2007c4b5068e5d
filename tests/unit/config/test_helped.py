"""Devices and settings in a configuration: what is taken, and the sentence for what is not."""

from __future__ import annotations

import pytest

from tlsrt.config.devices import DeviceConfig, device_path, refusal_of_device
from tlsrt.config.host_settings import REFUSED_NAMES, REFUSED_PLACES, refusal_of, setting_path
from tlsrt.config.number_ranges import parse_values


@pytest.mark.parametrize("path", ["/dev/ttyUSB0", "/dev/serial/by-id/usb-x", "/dev/i2c-1"])
def test_a_device_is_below_dev(path: str) -> None:
    assert device_path(path) == path


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/dev/../etc/passwd", "/dev//ttyS0", "/dev/", "/dev/shm/x", "/dev/fd/3", "/dev/./ttyS0"]
)
def test_what_is_not_below_dev_is_no_device(path: str) -> None:
    with pytest.raises(ValueError, match="/dev"):
        device_path(path)


@pytest.mark.parametrize("path", ["/dev/hidraw0", "/dev/uinput", "/dev/uhid"])
def test_what_hears_keyboards_is_refused_when_it_is_read_and_not_when_it_is_plugged_in(path: str) -> None:
    with pytest.raises(ValueError, match=f"{path} cannot be had: keyboards"):
        device_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "/sys/class/backlight/*/brightness",
        "/sys/c*/backlight/?/brightness",
        "/proc/sys/vm/swappiness",
        "/sys/class/leds/a::b/brightness",
    ],
)
def test_a_setting_is_below_sys_or_proc_sys(path: str) -> None:
    assert setting_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "/proc/1/mem", "/sys/../etc/passwd", "/sys/class/net/eth0/*", "/proc/sys/vm/*",
        "/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper", "/sys/bus/usb/drivers/x/unbind",
        "/sys/k*/uevent_helper", "/sys/?odule/x/parameters/y", "/sys/devices/system/cpu/cpu*/online",
        "/sys/*/system/cpu/s?t/control", "/sys/class/scsi_device/*/device/delete", "/sys/bus/usb/devices/1-1/disable",
        "/sys/devices/system/cpu/microcode/reload", "/sys/class/firmware/x/loading", "/proc/sys/vm/memfd_noexec",
        "/proc/sys/kernel/io_uring_disabled", "/proc/sys/kernel/loadpin/enforce", "/proc/sys/dev/tty/ldisc_autoload",
        "/sys/class/tty/ttyS0/uevent", "/sys/devices/pci0/resource0", "/sys/class//x", "/proc/sysrq-trigger",
    ],
)  # fmt: skip
def test_what_could_be_dangerous_is_refused_with_a_reason(path: str) -> None:
    with pytest.raises(ValueError, match=r"path|can never be asked for: "):
        setting_path(path)


def test_every_refusal_has_its_reason() -> None:
    assert all(refusal_of(place) == why and len(why) > 10 for place, why in REFUSED_PLACES.items())
    assert all(refusal_of(f"/sys/devices/x/{name}") == why for name, why in REFUSED_NAMES.items())
    assert refusal_of("/etc/x") and not refusal_of("/sys/devices/x/brightness")


def test_values_are_ranges_and_numbers() -> None:
    values = parse_values("0-100, 200")
    assert [value for value in (0, 100, 101, 200, 201) if values.has(value)] == [0, 100, 200]
    assert str(values) == "0-100, 200"


@pytest.mark.parametrize("text", ["", "a", "5-1", "-3", "1.5", "0-9223372036854775808", "1;2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="values"):
        parse_values(text)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"path": "/dev/input/event0"}, "say `input: grabbed`"),
        ({"path": "/dev/input/by-id/usb-x", "mode": "r"}, "say `input: grabbed`"),
        ({"path": "/dev/scanner", "input": "shared", "mode": "rw"}, "never written to"),
        ({"path": "/dev/scanner", "input": "grabbed", "tty": {"baud": 9600}}, "not both"),
    ],
)
def test_what_hears_keyboards_is_said_and_never_written_to(entry: dict[str, object], sentence: str) -> None:
    assert sentence in refusal_of_device(entry)
    assert refusal_of_device({"path": "/dev/input/event0", "input": "grabbed"}) == ""
    assert refusal_of_device({"path": "/dev/ttyUSB0", "mode": "rw"}) == ""


def test_an_input_device_is_opened_to_read_whatever_the_default_is() -> None:
    assert not DeviceConfig("keys", "/dev/input/event0", "a test", input="shared").writes
    assert DeviceConfig("line", "/dev/ttyUSB0", "a test").writes
