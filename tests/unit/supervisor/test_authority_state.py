from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tlsrt.config.succession import Pin, Statement
from tlsrt.errors import ConfigError
from tlsrt.supervisor.authority_state import (
    STATE_NAME,
    AuthorityState,
    Revocation,
    StateFile,
    decode_state,
    encode_state,
)


def example() -> AuthorityState:
    chain = (Statement(1, Pin(2, b"2" * 32), b"s" * 64), Statement(2, Pin(3, b"3" * 32), b"t" * 64))
    state = AuthorityState(7, 3, b"h" * 32, 2, 0, [], {"client/admin": 12345}, 3, chain)
    state.revoke("session", b"s" * 16, 1000)
    state.revoke("subject", b"client/mallory", 0)
    return state


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def test_round_trip() -> None:
    assert decode_state(encode_state(example())) == example()


def test_a_file_from_before_keys_had_versions_is_read() -> None:
    body = b"\x97\x07\x03\xc4\x01h\x02\x00\x90\x81\xa1c\x05"
    magic = encode_state(AuthorityState()).partition(b"\n")[0] + b"\n"
    assert decode_state(magic + hashlib.sha256(body).digest() + body) == AuthorityState(7, 3, b"h", 2, 0, [], {"c": 5})


def test_no_file_is_a_host_that_never_ran(folder: int) -> None:
    assert StateFile(folder).load() == AuthorityState()


def test_every_torn_file_is_refused() -> None:
    data = encode_state(example())
    for end in range(len(data)):
        with pytest.raises(ConfigError, match="damaged"):
            decode_state(data[:end])


def test_every_flipped_byte_is_refused() -> None:
    data = bytearray(encode_state(example()))
    for position in range(len(data)):
        data[position] ^= 1
        with pytest.raises(ConfigError, match="damaged"):
            decode_state(bytes(data))
        data[position] ^= 1


@pytest.mark.parametrize("body", [b"", b"\x90", b"\xc1", b"\x97\x01\x01\xc4\x00\x01\x01\x91\x01\x80"])
def test_a_whole_file_with_the_wrong_content_is_refused(body: bytes) -> None:
    magic = encode_state(AuthorityState()).partition(b"\n")[0] + b"\n"
    with pytest.raises(ConfigError, match="damaged"):
        decode_state(magic + hashlib.sha256(body).digest() + body)


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("count", [0, 1])
def test_a_save_that_stops_anywhere_leaves_the_old_state_or_the_new(
    folder: int, monkeypatch: pytest.MonkeyPatch, operation: str, count: int
) -> None:
    store, old, new = StateFile(folder), example(), example()
    store.save(old)
    new.epoch = 8
    real, calls = getattr(os, operation), 0

    def stop(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > count:
            raise OSError(28, "No space left on device")
        if operation == "write":  # a short write, then the disk is full
            return real(args[0], args[1][:5])
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, operation, stop)
        try:
            store.save(new)
        except OSError:
            pass
    assert store.load() in (old, new)
    store.save(new)
    assert store.load() == new


def test_the_file_is_private_and_no_link_is_followed(folder: int, tmp_path: Path) -> None:
    store = StateFile(folder)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / (STATE_NAME + ".new")).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        store.save(example())
    assert victim.read_bytes() == b"precious"
    (tmp_path / (STATE_NAME + ".new")).unlink()
    store.save(example())
    assert (tmp_path / STATE_NAME).stat().st_mode & 0o777 == 0o600


def test_pruning_keeps_what_can_still_hit_and_the_last_number() -> None:
    state = example()
    state.revoke("token", b"t" * 16, 500)
    state.prune(2000)
    assert state.revocations == [Revocation(2, "subject", b"client/mallory", 0), Revocation(3, "token", b"t" * 16, 500)]
    assert state.revoke("session", b"x", 9000).number == 4
    state.prune(2000)
    assert [item.number for item in state.revocations] == [2, 4]
    assert state.is_revoked("subject", b"client/mallory")
    assert not state.is_revoked("subject", b"client/admin")
