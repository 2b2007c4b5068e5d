"""Settings of a line, as the kernel's structure has them."""

from __future__ import annotations

import fcntl
import os
import pty
import termios
from collections.abc import Iterator

import pytest

from tlsrt.supervisor.helper.tty import SIZE, TCGETS2, TCSETS2, Line, configured, is_as_wanted


@pytest.fixture
def inside() -> Iterator[int]:
    master, inside = pty.openpty()
    yield inside
    os.close(master)
    os.close(inside)


def _now(descriptor: int) -> bytes:
    return fcntl.ioctl(descriptor, TCGETS2, bytes(SIZE))


@pytest.mark.parametrize("baud", [1200, 9600, 115200, 250000, 3_000_000])
def test_a_speed_is_read_back_as_it_was_set(inside: int, baud: int) -> None:
    line = Line(baud, 1, 8, 0, 1, 0)
    fcntl.ioctl(inside, TCSETS2, configured(_now(inside), line))
    assert is_as_wanted(_now(inside), line) and _now(inside)[-4:] == baud.to_bytes(4, "little")
    assert not is_as_wanted(_now(inside), Line(baud * 2, 1, 8, 0, 1, 0))


def test_the_c_library_reads_what_was_set(inside: int) -> None:
    fcntl.ioctl(inside, TCSETS2, configured(_now(inside), Line(115200, 1, 8, 0, 2, 1)))
    iflag, oflag, cflag, lflag, ispeed, ospeed, cc = termios.tcgetattr(inside)
    assert (ispeed, ospeed) == (termios.B115200, termios.B115200)
    assert not lflag & (termios.ECHO | termios.ICANON | termios.ISIG) and not oflag & termios.OPOST
    assert cflag & termios.CSTOPB and cflag & termios.CRTSCTS and cflag & termios.CLOCAL
    assert cflag & termios.CSIZE == termios.CS8 and not iflag & (termios.ICRNL | termios.IXON)
    assert cc[termios.VMIN] == 1


def test_parity_and_flow_are_one_of_their_kinds(inside: int) -> None:
    odd = configured(_now(inside), Line(0, 0, 7, 1, 1, 2))
    fields = Line(0, 0, 7, 2, 1, 0)
    assert int.from_bytes(odd[8:12], "little") & termios.PARODD and int.from_bytes(odd[:4], "little") & termios.IXON
    even = configured(odd, fields)
    assert not int.from_bytes(even[8:12], "little") & termios.PARODD
    assert int.from_bytes(even[8:12], "little") & termios.PARENB
    assert not int.from_bytes(even[:4], "little") & termios.IXON
