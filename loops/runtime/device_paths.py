"""Paths of granted devices, for libraries that open one themselves: they get a copy of the descriptor that came.

A convenience and no guard: a process has no /dev, and what it may open is decided outside. What is put in place of
`os.open` and `open` gives, for exactly the paths of the grants, a copy of the device that is there now, and leaves
every other path to the call that it stands for. A library that opens by C does not pass here, and finds no such file.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

from tlsrt.loops.component.device import Device, is_gone
from tlsrt.loops.runtime.device_lines import DeviceLines

_WRITES = frozenset("wax+")
_real_open = io.open
_real_os_open = os.open


class DevicePaths:
    """Stands in for the calls that open, as long as it is installed."""

    def __init__(self, devices: Mapping[str, Device], lines: DeviceLines) -> None:
        self._devices = devices
        self._lines = lines
        self._before: list[tuple[Any, str, Callable[..., Any]]] = []

    def install(self) -> None:
        """Take the place of what opens; before the import of libraries, which may keep what they find."""
        if not self._devices or self._before:
            return
        for module, name, stand_in in (
            (os, "open", self.os_open), (io, "open", self.open), (builtins, "open", self.open),
            *self._lines.stand_ins(),
        ):  # fmt: skip
            self._before.append((module, name, vars(module)[name]))
            setattr(module, name, stand_in)
        os.supports_dir_fd.add(self.os_open)  # shutil asks, and would do without

    def remove(self) -> None:
        """Put back what was there."""
        for module, name, before in self._before:
            setattr(module, name, before)
        self._before.clear()
        os.supports_dir_fd.discard(self.os_open)

    def os_open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Open as `os.open` does."""
        device = self._of(path) if dir_fd is None else None
        if device is None:
            return _real_os_open(path, flags, mode, dir_fd=dir_fd)
        return _copy(device, path, writes=flags & os.O_ACCMODE != os.O_RDONLY)

    def open(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None, errors: str | None = None,
        newline: str | None = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        """Open as the built-in function does."""
        device = self._of(file) if opener is None else None
        if device is not None:
            file = _copy(device, file, writes=not _WRITES.isdisjoint(mode))
        try:
            return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        except BaseException:
            if device is not None:
                os.close(file)
            raise

    def _of(self, path: Any) -> Device | None:
        if isinstance(path, int):
            return None
        try:
            return self._devices.get(os.fsdecode(path))
        except TypeError:
            return None  # the real one says what is wrong with it


def _copy(device: Device, path: Any, *, writes: bool) -> int:
    """Return a copy of the device that is there now. Raises OSError as the kernel would."""
    if writes and device.mode == "r":
        raise PermissionError(errno.EACCES, "it is granted to read only: say `mode: rw` in its entry", path)
    if is_gone(device):
        raise FileNotFoundError(errno.ENOENT, "the device is not there now", path)
    try:
        copy = os.dup(device.descriptor)
    except OSError:
        raise FileNotFoundError(errno.ENOENT, "the device is not there now", path) from None
    status = os.fstat(copy)  # this may be another thread than the one that loses it and gets the next
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != device.number:
        os.close(copy)
        raise FileNotFoundError(errno.ENOENT, "the device is not there now", path)
    return copy
