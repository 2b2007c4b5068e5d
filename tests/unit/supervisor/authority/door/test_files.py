from __future__ import annotations

import fcntl
import os

import pytest
from hosts.authority_host import CA, SERVER

from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority.door.files import FILE_MAX, read_door_files, read_file, seal_copy


def memory(data: bytes) -> int:
    descriptor = os.memfd_create("test")
    os.write(descriptor, data)
    return descriptor


def test_copies_are_sealed_and_whole() -> None:
    sources = [memory(data) for data in (SERVER.certificate_pem, SERVER.key_pem, CA.certificate_pem * 2, b"")]
    door = read_door_files(*sources)
    assert len(door.authorities) == 2
    assert os.pread(door.key, 1 << 16, 0) == SERVER.key_pem
    for descriptor in door.descriptors:
        for attack in (
            lambda descriptor=descriptor: os.pwrite(descriptor, b"x", 0),
            lambda descriptor=descriptor: os.ftruncate(descriptor, 0),
            lambda descriptor=descriptor: os.ftruncate(descriptor, 1 << 20),
            lambda descriptor=descriptor: fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
        ):
            with pytest.raises(PermissionError):
                attack()
    for descriptor in (*sources, *door.descriptors):
        os.close(descriptor)


def test_reading_starts_at_zero_whatever_the_offset() -> None:
    descriptor = memory(b"abc")
    os.lseek(descriptor, 3, os.SEEK_SET)
    assert read_file(descriptor, "it") == b"abc"
    os.close(descriptor)


def test_a_file_beyond_the_bound_is_refused() -> None:
    descriptor = memory(b"")
    os.ftruncate(descriptor, FILE_MAX + 1)
    with pytest.raises(ConfigError, match="larger than"):
        read_file(descriptor, "it")
    os.close(descriptor)


def test_a_large_copy_is_complete() -> None:
    data = os.urandom(300_000)
    descriptor = seal_copy("test", data)
    assert os.pread(descriptor, 1 << 20, 0) == data
    os.close(descriptor)
