"""Settings of granted devices, for libraries that make them themselves: what is so already is done.

No process sets its line: that is done outside, by `tty` of the grant. A library that sets what the grant says, as it
does when it opens a line, is told that it succeeded; one that wants something else gets an error that says what to
write into the manifest. Nothing here makes a request to a driver that the filter would not let pass.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
from collections.abc import Callable, Sequence
from typing import Any

from tlsrt.config.devices import DeviceConfig
from tlsrt.loops.component.device import Device

_TCGETS2, _TCSETS2 = 0x802C542A, 0x402C542B  # ioctl_tty(2): the only requests that know every speed
_TERMIOS2 = struct.Struct("=4IB19s2I")
_RAISED = termios.TIOCM_DTR | termios.TIOCM_RTS  # by the kernel, when a line is opened
_PASSES = frozenset({termios.TCGETS, termios.FIONREAD, termios.FIONBIO, termios.FIOCLEX, termios.FIONCLEX})
_IN_VAIN = frozenset({termios.TIOCEXCL, termios.TIOCNXCL})  # it is one process that has the line
_FLUSHED_MAX = 1 << 20
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED = range(6)  # places in what tcgetattr returns
_MARK = 0o10000000000  # CMSPAR
_real_ioctl, _real_flock, _real_lockf = fcntl.ioctl, fcntl.flock, fcntl.lockf
_real_get, _real_set = termios.tcgetattr, termios.tcsetattr
_real_flush, _real_drain = termios.tcflush, termios.tcdrain
StandIn = tuple[Any, str, Callable[..., Any]]


def unlike(now: Sequence[Any], wanted: Sequence[Any]) -> list[str]:
    """Return which keys of `tty` would have to differ for the settings `wanted`, as tcgetattr has them. Pure.

    What makes no difference to bytes on a raw line is passed over, and so is how long a read waits: none does.
    """

    def differs(place: int, bits: int) -> bool:
        return bool((now[place] ^ wanted[place]) & bits)

    is_raw = not wanted[_LFLAG] & (termios.ICANON | termios.ECHO)
    has_parity = (now[_CFLAG] | wanted[_CFLAG]) & termios.PARENB
    checks = {
        "baud": wanted[_OSPEED] != now[_OSPEED] or wanted[_ISPEED] not in (0, now[_ISPEED]),
        "raw": differs(_LFLAG, termios.ICANON | termios.ECHO | termios.ISIG) or differs(_OFLAG, termios.OPOST)
        or differs(_IFLAG, termios.ISTRIP | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.PARMRK)
        or (not is_raw and differs(_LFLAG, termios.ECHOE | termios.ECHOK | termios.IEXTEN)),
        "bits": differs(_CFLAG, termios.CSIZE),
        "parity": differs(_CFLAG, termios.PARENB | (termios.PARODD | _MARK if has_parity else 0)),
        "stop_bits": differs(_CFLAG, termios.CSTOPB),
        "flow": differs(_CFLAG, termios.CRTSCTS) or differs(_IFLAG, termios.IXON | termios.IXOFF),
    }  # fmt: skip
    return [key for key, is_unlike in checks.items() if is_unlike]


class DeviceLines:
    """Stands in for what libraries call to set a line, where that is a granted device."""

    def __init__(self, devices: Sequence[tuple[DeviceConfig, Device]]) -> None:
        self._devices = devices

    def stand_ins(self) -> list[StandIn]:
        """Return what stands for which function of which module."""
        return [
            (termios, "tcsetattr", self.tcsetattr), (termios, "tcflush", self.tcflush),
            (termios, "tcdrain", self.tcdrain), (fcntl, "ioctl", self.ioctl),
            (fcntl, "flock", self.flock), (fcntl, "lockf", self.lockf),
        ]  # fmt: skip

    def tcsetattr(self, fd: Any, when: int, attributes: list[Any]) -> None:
        """Set a line, termios(3): a granted one to what it is."""
        if (config := self._of(fd)) is None:
            _real_set(fd, when, attributes)
        elif keys := unlike(_real_get(fd), attributes):
            raise termios.error(errno.EPERM, _advice(config, keys))

    def tcflush(self, fd: Any, queue: int) -> None:
        """Throw away what was not read yet; what is being sent goes out."""
        if self._of(fd) is None:
            _real_flush(fd, queue)
        elif queue != termios.TCOFLUSH:
            _read_away(_number(fd))

    def tcdrain(self, fd: Any) -> None:
        """Go on at once, for a granted line: the kernel cannot be asked."""
        if self._of(fd) is None:
            _real_drain(fd)

    def flock(self, fd: Any, operation: int) -> None:
        """Lock a file; a granted device is this process's anyhow."""
        if self._of(fd) is None:
            _real_flock(fd, operation)

    def lockf(self, fd: Any, cmd: int, len: int = 0, start: int = 0, whence: int = 0) -> Any:
        """Lock a file, as `flock` does."""
        return None if self._of(fd) is not None else _real_lockf(fd, cmd, len, start, whence)

    def ioctl(self, fd: Any, request: int, arg: Any = 0, mutate_flag: bool = True) -> Any:
        """Make a request to a driver: of a granted device only what is asked of every descriptor."""
        request &= 0xFFFF_FFFF
        if request in _PASSES or (config := self._of(fd)) is None:
            return _real_ioctl(fd, request, arg, mutate_flag)
        if request in _IN_VAIN or (request == termios.TIOCMBIS and not _lines_of(arg) & ~_RAISED):
            return 0
        if request == _TCGETS2:
            return _answer(arg, _termios2(_real_get(fd), config), mutate_flag)
        if request == _TCSETS2:
            wanted = _TERMIOS2.unpack(bytes(arg)[: _TERMIOS2.size])
            keys = ["baud"] if wanted[7] != config.tty.baud else _unlike_flags(_real_get(fd), wanted)
            if keys:
                raise PermissionError(errno.EPERM, _advice(config, keys))
            return 0
        raise PermissionError(errno.EPERM, f"no request reaches the driver of {config.path} ({request:#x})")

    def _of(self, fd: Any) -> DeviceConfig | None:
        try:
            status = os.fstat(_number(fd))
        except (OSError, TypeError, ValueError, AttributeError):
            return None  # the real one says what is wrong with it
        if not stat.S_ISCHR(status.st_mode):
            return None
        return next((config for config, device in self._devices if device.number == status.st_rdev), None)


def _unlike_flags(now: Sequence[Any], wanted: Sequence[Any]) -> list[str]:
    """Return what `unlike` does, of the flags alone: tcgetattr has no number for most speeds. Pure."""
    return unlike(now, [*wanted[:_ISPEED], *now[_ISPEED:]])


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())


def _advice(config: DeviceConfig, keys: list[str]) -> str:
    if not config.is_tty:
        return f"{config.path} cannot be set from within: put `tty: {{baud: ...}}` into its entry of `needs: devices`"
    these = ", ".join(keys)
    return f"{config.path} cannot be set from within: its entry says another {these} under `tty` than the library wants"


def _read_away(descriptor: int) -> None:
    try:
        for _ in range(_FLUSHED_MAX // 4096):
            if not os.read(descriptor, 4096):
                return
    except BlockingIOError:
        return
    except OSError as error:
        raise termios.error(error.errno, error.strerror) from None


def _lines_of(arg: Any) -> int:
    return arg if isinstance(arg, int) else int.from_bytes(bytes(arg)[:4], "little")


def _termios2(now: Sequence[Any], config: DeviceConfig) -> bytes:
    special = b"".join(one if isinstance(one, bytes) else bytes([one]) for one in now[6])[:19].ljust(19, b"\0")
    speed = max(0, config.tty.baud)
    return _TERMIOS2.pack(*now[:4], 0, special, speed, speed)


def _answer(arg: Any, data: bytes, mutate: bool) -> Any:
    """Give the data as ioctl does: in what can be written, or as bytes of its own."""
    if isinstance(arg, bytes) or not mutate:
        return data[: len(arg)]
    memoryview(arg).cast("B")[: len(data)] = data
    return 0
