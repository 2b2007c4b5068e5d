"""A disk that fails or is slow as a test says: a folder, mounted over FUSE, whose files lie in another folder.

It speaks the protocol of the kernel (linux/fuse.h, version 7.31) in a child process, one request after another, with
as many calls as SQLite and plain files need. It takes root and /dev/fuse. What a write of it refuses is lost from the
page cache too, as on FUSE, NFS and overlays, and unlike on ext4: that is the point.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import signal
import stat
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_IN, _OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<6Q10I")
_FAULTS = struct.Struct("<dddi")  # chance that a write fails, that a sync does; seconds that a sync takes; the error
_BUFFER = 1 << 20
_AUTO_INVAL_DATA = 1 << 12  # what libfuse asks for: a file that was changed behind is read again
_NO_REPLY = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET


def can_mount() -> bool:
    """Tell whether this process may mount such a disk."""
    return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)


class BadDisk:
    """What the test changes while the disk is there."""

    def __init__(self, shared: mmap.mmap) -> None:
        self._shared = shared

    def fail(
        self,
        chance: float = 0.0,
        sync_s: float = 0.0,
        *,
        writes: float = 0.0,
        syncs: float = 0.0,
        error: int = errno.EIO,
    ) -> None:
        """From now on each write and sync fails with that chance, or one of them, and each sync takes so long."""
        self._shared[: _FAULTS.size] = _FAULTS.pack(chance or writes, chance or syncs, sync_s, error)


@contextmanager
def bad_disk(folder: Path, behind: Path, seed: int = 1) -> Iterator[BadDisk]:
    """Mount `behind` at `folder`; it is a good disk until the test says otherwise."""
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions".encode()
    if _LIBC.mount(b"bad_disk", os.fsencode(folder), b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "cannot mount")
    child = os.fork()
    if child == 0:
        try:
            _Server(device, behind, shared, random.Random(seed)).serve()
        finally:
            os._exit(0)
    os.close(device)
    try:
        yield BadDisk(shared)
    finally:
        shared[: _FAULTS.size] = bytes(_FAULTS.size)
        _LIBC.umount2(os.fsencode(folder), 2)  # MNT_DETACH
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


class _Server:
    """Answers the kernel. A node is a path below `behind`; its number is that of its inode."""

    def __init__(self, device: int, behind: Path, shared: mmap.mmap, chance: random.Random) -> None:
        self._device = device
        self._shared = shared
        self._chance = chance
        self._paths = {1: str(behind)}
        self._owner = [0, 0]  # who asks
        self._calls: dict[int, Callable[[int, bytes], bytes]] = {
            1: self._lookup, 3: self._getattr, 4: self._setattr, 9: self._mkdir, 10: self._unlink, 11: self._rmdir,
            12: self._rename, 14: self._open, 15: self._read, 16: self._write, 17: self._statfs, 18: self._release,
            20: self._fsync, 26: self._init, 27: self._opendir, 28: self._readdir, 29: self._nothing,
            30: self._fsync_folder, 35: self._create, 38: self._nothing, 45: self._rename2,
        }  # fmt: skip

    def serve(self) -> None:
        """Answer until the disk is taken away."""
        while True:
            try:
                request = os.read(self._device, _BUFFER + 4096)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return
            _, opcode, unique, node, *self._owner, _, _ = _IN.unpack_from(request)
            if opcode in _NO_REPLY:
                continue
            error_number, answer = 0, b""
            try:
                call = self._calls.get(opcode)
                if call is None:
                    raise OSError(errno.ENOSYS, "")
                answer = call(node, request[_IN.size :])
            except OSError as error:
                error_number, answer = -(error.errno or errno.EIO), b""
            except KeyError:
                error_number, answer = -errno.ESTALE, b""
            try:
                os.write(self._device, _OUT.pack(_OUT.size + len(answer), error_number, unique) + answer)
            except OSError:
                continue  # it was interrupted meanwhile

    def _may_fail(self, *, is_sync: bool) -> None:
        writes, syncs, _, error = _FAULTS.unpack_from(self._shared)
        chance = syncs if is_sync else writes
        if chance and self._chance.random() < chance:
            raise OSError(error, "")

    # Names

    def _entry(self, path: str) -> bytes:
        there = os.lstat(path)
        self._paths[there.st_ino] = path
        return struct.pack("<QQQQII", there.st_ino, 0, 0, 0, 0, 0) + _attributes(there)

    def _below(self, node: int, name: bytes) -> str:
        return os.path.join(self._paths[node], os.fsdecode(name.rstrip(b"\0")))

    def _lookup(self, node: int, body: bytes) -> bytes:
        return self._entry(self._below(node, body))

    def _getattr(self, node: int, body: bytes) -> bytes:
        return struct.pack("<QII", 0, 0, 0) + _attributes(os.lstat(self._paths[node]))

    def _setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _, size, _, _, _, _, _, _, _, mode, _, uid, gid, _ = struct.unpack_from("<IIQQQQQQIIIIIIII", body)
        path = self._paths[node]
        if valid & 8:
            os.truncate(path, size)
        if valid & 1:
            os.chmod(path, mode & 0o7777)
        if valid & 6:
            os.chown(path, uid if valid & 2 else -1, gid if valid & 4 else -1)
        return self._getattr(node, b"")

    def _mkdir(self, node: int, body: bytes) -> bytes:
        path = self._below(node, body[8:])
        os.mkdir(path, struct.unpack_from("<I", body)[0] & 0o7777)
        os.chown(path, *self._owner)
        return self._entry(path)

    def _unlink(self, node: int, body: bytes) -> bytes:
        os.unlink(self._below(node, body))
        return b""

    def _rmdir(self, node: int, body: bytes) -> bytes:
        os.rmdir(self._below(node, body))
        return b""

    def _rename(self, node: int, body: bytes, at: int = 8) -> bytes:
        old, new = body[at:].split(b"\0")[:2]
        source, target = self._below(node, old), self._below(struct.unpack_from("<Q", body)[0], new)
        os.rename(source, target)
        self._paths[os.lstat(target).st_ino] = target
        return b""

    def _rename2(self, node: int, body: bytes) -> bytes:
        return self._rename(node, body, 16)

    # Contents

    def _open(self, node: int, body: bytes) -> bytes:
        flags = struct.unpack_from("<I", body)[0] & (os.O_ACCMODE | os.O_TRUNC)
        return struct.pack("<QIi", os.open(self._paths[node], flags), 0, 0)

    def _create(self, node: int, body: bytes) -> bytes:
        flags, mode, _, _ = struct.unpack_from("<IIII", body)
        path = self._below(node, body[16:])
        descriptor = os.open(path, flags & (os.O_ACCMODE | os.O_TRUNC | os.O_EXCL) | os.O_CREAT, mode & 0o7777)
        os.chown(path, *self._owner)
        return self._entry(path) + struct.pack("<QIi", descriptor, 0, 0)

    def _read(self, node: int, body: bytes) -> bytes:
        descriptor, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(descriptor, size, offset)

    def _write(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        self._may_fail(is_sync=False)
        descriptor = os.open(self._paths[node], os.O_WRONLY)  # pages of a mapping come without a descriptor of ours
        try:
            return struct.pack("<II", os.pwrite(descriptor, body[40 : 40 + size], offset), 0)
        finally:
            os.close(descriptor)

    def _fsync(self, node: int, body: bytes) -> bytes:
        time.sleep(_FAULTS.unpack_from(self._shared)[2])
        self._may_fail(is_sync=True)
        return b""

    def _fsync_folder(self, node: int, body: bytes) -> bytes:
        return b""

    def _release(self, node: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def _opendir(self, node: int, body: bytes) -> bytes:
        return struct.pack("<QIi", 0, 0, 0)

    def _readdir(self, node: int, body: bytes) -> bytes:
        _, offset, size = struct.unpack_from("<QQI", body)
        found = b""
        for number, name in enumerate(sorted(os.listdir(self._paths[node]))[offset:], offset + 1):
            there, raw = os.lstat(os.path.join(self._paths[node], name)), os.fsencode(name)
            entry = struct.pack("<QQII", there.st_ino, number, len(raw), stat.S_IFMT(there.st_mode) >> 12) + raw
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found

    # The disk

    def _init(self, node: int, body: bytes) -> bytes:
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 65536, _AUTO_INVAL_DATA, 16, 12, 128 * 1024, 1, 32, 0, 0, *[0] * 7)

    def _statfs(self, node: int, body: bytes) -> bytes:
        there = os.statvfs(self._paths[node])
        sizes = (there.f_blocks, there.f_bfree, there.f_bavail, there.f_files, there.f_ffree)
        return struct.pack("<5Q4I6I", *sizes, there.f_bsize, there.f_namemax, there.f_frsize, 0, *[0] * 6)

    def _nothing(self, node: int, body: bytes) -> bytes:
        return b""


def _attributes(there: os.stat_result) -> bytes:
    times = (int(there.st_atime), int(there.st_mtime), int(there.st_ctime))
    return _ATTRIBUTES.pack(
        there.st_ino, there.st_size, there.st_blocks, *times, there.st_atime_ns % 10**9, there.st_mtime_ns % 10**9,
        there.st_ctime_ns % 10**9, there.st_mode, there.st_nlink, there.st_uid, there.st_gid, 0, 4096, 0,
    )  # fmt: skip
