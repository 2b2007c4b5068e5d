"""The helper and input devices: what cannot be grabbed is an error, and nothing of it stays open."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from tlsrt.channels.control.helper import OpenMessage
from tlsrt.supervisor.helper.main import EVIOCGRAB, open_device


def message(*, grabs: int) -> OpenMessage:
    return OpenMessage(1, 0, grabs, 0, 0, 0, 8, 0, 1, 0)


def test_what_cannot_be_grabbed_is_not_handed_over() -> None:
    place = os.open("/dev/null", os.O_PATH)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is asked for
        open_device(message(grabs=1), place)
    assert caught.value.errno == errno.ENOTTY
    assert os.listdir("/proc/self/fd") == before
    os.close(place)


def test_a_device_is_grabbed_if_that_is_asked_and_opened_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(fcntl, "ioctl", lambda descriptor, call, value: asked.append((call, value)))
    place = os.open("/dev/null", os.O_PATH)
    for grabs in (1, 0):
        device = open_device(message(grabs=grabs), place).device
        assert not os.get_blocking(device)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(device, b"it could type")
        os.close(device)
    assert asked == [(EVIOCGRAB, 1)]
    os.close(place)
