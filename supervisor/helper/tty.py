"""Settings of a terminal line, termios(3), as the bytes of the kernel's `struct termios2`. Pure.

The kernel's own structure and not the C library's: any speed can be said in it, and no library is asked.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

TCGETS2, TCSETS2, TCFLSH = 0x802C542A, 0x402C542B, 0x540B  # ioctl_tty(2); the same on x86_64 and aarch64
TCIOFLUSH = 2
_TERMIOS2 = struct.Struct("=4IB19s2I")
SIZE = _TERMIOS2.size
_VTIME, _VMIN = 5, 6  # places in c_cc

# asm-generic/termbits.h
_IGNBRK, _BRKINT, _PARMRK, _ISTRIP, _INLCR, _IGNCR, _ICRNL, _IXON = 0o1, 0o2, 0o10, 0o40, 0o100, 0o200, 0o400, 0o2000
_IXANY, _IXOFF, _INPCK = 0o4000, 0o10000, 0o20
_OPOST = 0o1
_ISIG, _ICANON, _ECHO, _ECHONL, _IEXTEN = 0o1, 0o2, 0o10, 0o100, 0o100000
_CSIZE, _CSTOPB, _CREAD, _PARENB, _PARODD, _HUPCL, _CLOCAL = 0o60, 0o100, 0o200, 0o400, 0o1000, 0o2000, 0o4000
_CRTSCTS = 0o20000000000
_CBAUD, _BOTHER, _IBSHIFT = 0o10017, 0o10000, 16
_RAW_INPUT = _IGNBRK | _BRKINT | _PARMRK | _ISTRIP | _INLCR | _IGNCR | _ICRNL
_SPEEDS = {
    1200: 0o11, 2400: 0o13, 4800: 0o14, 9600: 0o15, 19200: 0o16, 38400: 0o17, 57600: 0o10001, 115200: 0o10002,
    230400: 0o10003, 460800: 0o10004, 921600: 0o10007, 1000000: 0o10010, 1500000: 0o10012, 2000000: 0o10013,
    3000000: 0o10015, 4000000: 0o10017,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """How a line is to be: numbers as the helper's protocol has them."""

    baud: int
    raw: int
    bits: int
    parity: int  # 0 none, 1 odd, 2 even
    stop_bits: int
    flow: int  # 0 none, 1 RTS/CTS, 2 XON/XOFF


def configured(now: bytes, line: Line) -> bytes:
    """Return the settings `now` changed to what the line is to be."""
    iflag, oflag, cflag, lflag, discipline, special, ispeed, ospeed = _TERMIOS2.unpack(now)
    cc = bytearray(special)
    if line.raw:
        iflag &= ~_RAW_INPUT
        oflag &= ~_OPOST
        lflag &= ~(_ISIG | _ICANON | _ECHO | _ECHONL | _IEXTEN)
        cc[_VMIN], cc[_VTIME] = 1, 0
    iflag = iflag & ~(_IXON | _IXOFF | _IXANY) | (_IXON | _IXOFF if line.flow == 2 else 0)
    iflag = iflag & ~_INPCK | (_INPCK if line.parity else 0)
    cflag = cflag & ~(_CSIZE | _CSTOPB | _PARENB | _PARODD | _CRTSCTS) | _CREAD | _CLOCAL  # no modem is waited for
    cflag |= (line.bits - 5) << 4
    cflag |= _CSTOPB if line.stop_bits == 2 else 0
    cflag |= (_PARENB if line.parity else 0) | (_PARODD if line.parity == 1 else 0)
    cflag |= _CRTSCTS if line.flow == 1 else 0
    if line.baud:
        cflag = cflag & ~(_CBAUD | _CBAUD << _IBSHIFT) | _SPEEDS.get(line.baud, _BOTHER)
        ispeed = ospeed = line.baud
    return _TERMIOS2.pack(iflag, oflag, cflag, lflag, discipline, bytes(cc), ispeed, ospeed)


def is_as_wanted(now: bytes, line: Line) -> bool:
    """Say whether a driver took the settings: one that cannot have a speed keeps another, and says nothing."""
    _, _, cflag, _, _, _, _, speed = _TERMIOS2.unpack(now)
    wanted: int = _TERMIOS2.unpack(configured(now, line))[2]
    shape = _CSIZE | _CSTOPB | _PARENB | _PARODD
    near: bool = not line.baud or abs(speed - line.baud) * 50 <= line.baud  # within 2 %, as UARTs divide their clock
    return near and not (cflag ^ wanted) & shape
