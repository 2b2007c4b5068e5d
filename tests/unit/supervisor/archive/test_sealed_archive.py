"""Sealed archives: what one key has sealed opens whole under it, and nothing else opens."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import ConfigError
from tlsrt.supervisor.archive.sealed_archive import (
    PIECE,
    SEALED_MAGIC,
    SealedHead,
    check_whole_untrusted,
    is_sealed,
    open_sealed_untrusted,
    read_sealed_head_untrusted,
    seal,
)

KEY, OTHER = bytes(32), bytes([1]) * 32
HEAD = SealedHead("00" * 16, "2026-12-01T03:30:00+00:00", "11" * 16)


def sealed(data: bytes, key: bytes = KEY) -> bytes:
    out = io.BytesIO()
    seal(io.BytesIO(data), key, HEAD, out.write)
    return out.getvalue()


def opened(data: bytes, *keys: bytes) -> bytes:
    out = io.BytesIO()
    open_sealed_untrusted(io.BytesIO(data), "x", keys or (KEY,), out)
    return out.read()


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7])
def test_what_is_sealed_opens_under_its_key_and_shows_nothing(size: int) -> None:
    data = (b"secret state of a host " * (size // 20 + 1))[:size]
    found = sealed(data)
    assert opened(found) == data and opened(found, OTHER, KEY) == data
    assert is_sealed(io.BytesIO(found)) and read_sealed_head_untrusted(io.BytesIO(found), "x") == HEAD
    check_whole_untrusted(io.BytesIO(found), "x")
    assert b"secret state" not in found
    with pytest.raises(ConfigError, match="another master_key"):
        opened(found, OTHER)


def test_every_cut_is_found_with_and_without_the_key() -> None:
    whole = sealed(b"x" * (PIECE + 100))
    for at in [*range(200), *range(len(whole) - 200, len(whole))]:
        with pytest.raises(ConfigError, match=r"x (was cut off|is damaged)"):
            opened(whole[:at])
        with pytest.raises(ConfigError, match=r"x (was cut off|is damaged)"):
            check_whole_untrusted(io.BytesIO(whole[:at]), "x")


@given(st.integers(0, 600), st.integers(1, 255))
def test_every_changed_byte_is_found(at: int, change: int) -> None:
    whole = bytearray(sealed(b"y" * 450))
    whole[at % len(whole)] ^= change
    with pytest.raises(ConfigError):
        opened(bytes(whole))


def test_pieces_in_another_order_doubled_or_of_another_archive_do_not_open() -> None:
    whole = sealed(bytes(PIECE) + b"b" * PIECE + b"c")
    first = whole.index(b"\n", len(SEALED_MAGIC)) + 1
    size = 4 + PIECE + 16
    head, one, two, last = whole[:first], whole[first:][:size], whole[first + size :][:size], whole[first + 2 * size :]
    assert opened(head + one + two + last)
    for wrong in (head + two + one + last, head + one + one + two + last, head + one + last, head + last):
        with pytest.raises(ConfigError):
            opened(wrong)
    with pytest.raises(ConfigError):
        opened(whole + b"\0")


@given(st.binary(max_size=200))
def test_any_bytes_open_or_raise_the_one_error(data: bytes) -> None:
    for what in (data, SEALED_MAGIC + data):
        with pytest.raises(ConfigError):
            opened(what)
        with pytest.raises(ConfigError):
            check_whole_untrusted(io.BytesIO(what), "x")
