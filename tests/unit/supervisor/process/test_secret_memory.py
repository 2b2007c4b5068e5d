from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tlsrt.config import key_schedule
from tlsrt.errors import ConfigError
from tlsrt.supervisor.process import secret_memory
from tlsrt.supervisor.process.secret_memory import PAGE_BYTES, SecretMemory, read_secret, wipe

KEY = bytes(range(32))


@pytest.fixture(params=[True, False], ids=["secret", "ordinary"])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SecretMemory:
    if not request.param:
        monkeypatch.setattr(secret_memory, "_secret_memory", lambda: None)
    return SecretMemory()


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "key").write_bytes(KEY)
    descriptor = os.open(tmp_path / "key", os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_keys_are_derived_from_the_page(page: SecretMemory, descriptor: int) -> None:
    os.lseek(descriptor, 20, os.SEEK_SET)  # the offset is shared, and must not matter
    with page, page.read_from(descriptor) as view:
        assert key_schedule.extract(b"i" * 16, view) == key_schedule.extract(b"i" * 16, KEY)
    assert os.lseek(descriptor, 0, os.SEEK_CUR) == 20


def test_nobody_else_reads_a_secret_page(descriptor: int) -> None:
    with SecretMemory() as page, page.read_from(descriptor) as view:
        if not page.is_secret:
            assert bytes(view) == KEY  # a kernel without memfd_secret: ordinary memory holds the same
            return
        with pytest.raises(OSError, match=r"Input/output|Permission"):
            _peek(view)


def test_the_page_is_wiped(monkeypatch: pytest.MonkeyPatch, descriptor: int) -> None:
    monkeypatch.setattr(secret_memory, "_secret_memory", lambda: None)
    page = SecretMemory()
    with page, page.read_from(descriptor):
        pass
    assert bytes(page._memory) == bytes(PAGE_BYTES)


def test_too_long_a_key_is_refused(page: SecretMemory, descriptor: int) -> None:
    os.pwrite(descriptor, b"x", PAGE_BYTES)
    with page, pytest.raises(ConfigError, match="more than 4096"):
        page.read_from(descriptor)


def test_a_key_that_cannot_be_read_is_a_sentence(page: SecretMemory, tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with page, pytest.raises(ConfigError, match="cannot read master_key"):
            page.read_from(folder)
    finally:
        os.close(folder)


def _peek(view: memoryview) -> bytes:
    import ctypes

    address = ctypes.addressof(ctypes.c_char.from_buffer(view))
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        return memory.read(32)


def test_a_wiped_secret_is_zeros_and_nothing_else_is() -> None:
    secret, neighbour = os.urandom(32), os.urandom(32)
    copy = bytes(bytearray(neighbour))
    wipe(secret)
    assert secret == bytes(32) and neighbour == copy


def test_what_is_read_is_the_file_and_its_text_can_be_wiped(tmp_path: Path) -> None:
    path = tmp_path / "key"
    for text in (b"", b"k", b"key" * 3000):
        path.write_bytes(text)
        with path.open("rb") as file:
            file.seek(1)
            assert read_secret(file.fileno(), 1 << 16) == text
            assert read_secret(file.fileno(), 100) == text[:100]
            data = read_secret(file.fileno(), 1 << 16)
        wipe(data)
        assert data.strip(b"\0") == (text if len(text) < 2 else b"")
