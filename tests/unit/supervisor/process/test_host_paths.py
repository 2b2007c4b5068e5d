"""Paths of devices and settings: what they lead to is judged, and no link leads out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tlsrt.supervisor.process.host_paths import Refused, find_device, find_setting, parse_drivers, refused_device

DEVICES = (
    "Character devices:\n  1 mem\n  4 tty\n  4 ttyS\n  5 /dev/tty\n"
    " 10 misc\n 13 input\n136 pts\n188 ttyUSB\n"
    "189 usb_device\n240 hidraw\n241 ubi0\n242 usbmon\n243 watchdog\n\nBlock devices:\n  8 sd\n"
)
DRIVERS = parse_drivers(DEVICES)


def test_drivers_are_those_of_character_devices() -> None:
    assert DRIVERS[1] == ["mem"] and DRIVERS[4] == ["tty", "ttyS"] and DRIVERS[188] == ["ttyUSB"] and 8 not in DRIVERS


@pytest.mark.parametrize(("major", "minor"), [(188, 0), (4, 64), (1, 3), (1, 9)])
def test_a_device_that_may_be_had(major: int, minor: int) -> None:
    assert refused_device(os.makedev(major, minor), DRIVERS) == ""


@pytest.mark.parametrize(
    ("major", "minor"),
    [
        (1, 1),
        (1, 11),
        (4, 1),
        (5, 0),
        (10, 232),
        (10, 130),
        (8, 0),
        (13, 64),
        (136, 0),
        (136, 3),
        (240, 0),
        (241, 1),
        (242, 1),
        (243, 0),
    ],
)
def test_a_device_that_none_gets(major: int, minor: int) -> None:
    assert refused_device(os.makedev(major, minor), DRIVERS) != ""


@pytest.mark.parametrize(
    ("minor", "is_had"), [(64, True), (95, True), (256, True), (32, False), (63, False), (96, False)]
)
def test_an_input_device_is_had_by_who_asks_for_one_and_nothing_else_is(minor: int, is_had: bool) -> None:
    """Those of evdev; the mice and joysticks of before have other formats."""
    assert (refused_device(os.makedev(13, minor), DRIVERS, hears=True) == "") is is_had
    for other in ((188, 0), (4, 1), (240, 0), (1, 3)):
        assert refused_device(os.makedev(*other), DRIVERS, hears=True) != ""


def test_a_device_is_looked_up_and_not_opened() -> None:
    found = find_device("/dev/null")
    try:
        assert found.path == "/dev/null" and stat.S_ISCHR(os.fstat(found.descriptor).st_mode)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.read(found.descriptor, 1)
    finally:
        os.close(found.descriptor)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a link below /dev")
@pytest.mark.parametrize("text", ["/etc/passwd", "../../etc/passwd", "../etc/passwd", "/dev/null"])
def test_a_link_that_leads_out_of_dev_is_not_followed(text: str) -> None:
    link = Path(f"/dev/tlsrt-test-{os.getpid()}")
    link.symlink_to(text)
    try:
        with pytest.raises(OSError, match=r"openat2|character"):
            find_device(str(link))
    finally:
        link.unlink()


def test_a_setting_is_looked_up_through_the_links_of_sys() -> None:
    found = find_setting("/sys/class/net/lo/tx_queue_len")
    os.close(found.descriptor)
    assert found.path == "/sys/devices/virtual/net/lo/tx_queue_len"


def test_what_a_path_leads_to_is_judged_again() -> None:
    with pytest.raises(Refused, match="/sys/kernel/"):
        find_setting("/sys/kernel/uevent_seqnum")
    with pytest.raises(FileNotFoundError):
        find_setting("/sys/class/net/none-such/mtu")
