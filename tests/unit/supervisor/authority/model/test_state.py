from __future__ import annotations

import errno
import hashlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from attackers.killed_runs import killed_at

from tlsrt.config.issuer_chain import PinnedIssuer, Statement
from tlsrt.errors import ConfigError
from tlsrt.sandbox import syscalls
from tlsrt.supervisor.authority.model.client_registry import Certified, Enrolled
from tlsrt.supervisor.authority.model.join_codes import PendingCode
from tlsrt.supervisor.authority.model.state import (
    STATE_NAME,
    AuthorityState,
    StateFile,
    decode_state,
    encode_state,
)


def example() -> AuthorityState:
    chain = (Statement(1, PinnedIssuer(2, b"2" * 32), b"s" * 64), Statement(2, PinnedIssuer(3, b"3" * 32), b"t" * 64))
    state = AuthorityState(7, 3, b"h" * 32, 2, 0, [], {"client/admin": 12345}, 3, chain)
    state.join_codes[b"12345"] = PendingCode(b"12345", "phone", 600_000, 3, 2)
    certificate = Certified(b"f" * 32, "a1", 9_000)
    state.enrolled["phone"] = Enrolled("phone", (("third/io", ("show",)),), True, 60_000, 5, (certificate,))
    state.enrolled["gone"] = Enrolled("gone", (("*/*", ("*",)),), False, 60_000, 6, (), revoked=7)
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
    magic = b"tlsrt-authority-state 1\n"
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
        with pytest.raises(ConfigError, match=r"damaged|another version"):
            decode_state(bytes(data))
        data[position] ^= 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x90",
        b"\xc1",
        b"\x97\x01\x01\xc4\x00\x01\x01\x91\x01\x80",
        b"\x81\xa5epoch\xa1x",
        b"\x81\xabrevocations\x91\x01",
        b"\x81\xabfirst_opens\x81\xa1c\xa1x",
    ],
)
def test_a_whole_file_with_the_wrong_content_is_refused(body: bytes) -> None:
    magic = encode_state(AuthorityState()).partition(b"\n")[0] + b"\n"
    with pytest.raises(ConfigError, match="damaged"):
        decode_state(magic + hashlib.sha256(body).digest() + body)


@pytest.mark.parametrize("operation", ["unlink", "open", "write", "fsync", "rename"])
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


def test_what_a_later_version_wrote_is_refused_and_not_dropped() -> None:
    data = encode_state(example())
    body = data.partition(b"\n")[2][32:]
    later = msgpack.packb({**msgpack.unpackb(body), "tomorrow": True})  # one field more
    for name, value in ((b"2", later), (b"3", body)):
        data = b"tlsrt-authority-state " + name + b"\n" + hashlib.sha256(value).digest() + value
        with pytest.raises(ConfigError, match="another version"):
            decode_state(data)


def test_a_field_that_is_missing_has_its_first_value() -> None:
    body = b"\x81\xa5epoch\x07"
    data = b"tlsrt-authority-state 2\n" + hashlib.sha256(body).digest() + body
    assert decode_state(data) == AuthorityState(epoch=7)


def test_the_file_is_private_and_what_lies_in_the_way_is_removed_and_not_followed(folder: int, tmp_path: Path) -> None:
    store, new = StateFile(folder), tmp_path / (STATE_NAME + ".new")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    new.symlink_to(victim)
    store.save(example())
    assert victim.read_bytes() == b"precious"
    new.write_bytes(b"half of an earlier sa")
    new.chmod(0o666)
    store.save(example())
    assert store.load() == example()
    assert (tmp_path / STATE_NAME).stat().st_mode & 0o777 == 0o600
    assert not new.exists()
    new.mkdir()
    with pytest.raises(OSError, match=r"directory|permitted"):
        store.save(AuthorityState())
    assert store.load() == example()


def test_pruning_keeps_what_can_still_hit_and_every_subject() -> None:
    state = example()
    state.revoke("token", b"t" * 16, 500)
    state.revoke("session", b"x", 9000)
    state.revoke("subject", b"client/eve", 700)  # may come back, but only after the verifiers have been told
    state.prune(2000)
    assert [item.number for item in state.revocations] == [2, 4, 5]
    assert state.restore(b"client/mallory") == 6
    assert not state.is_revoked("subject", b"client/mallory")
    assert state.is_revoked("subject", b"client/eve")
    assert not state.is_revoked("subject", b"client/admin")


STEPS = ("unlink", "open", "write", "fsync", "close", "rename")


def test_a_process_that_is_killed_at_any_step_leaves_the_old_state_or_the_new(folder: int, tmp_path: Path) -> None:
    store, old, new = StateFile(folder), example(), example()
    new.epoch, new.first_opens = 8, {"client/admin": 12345, "client/eve": 1}
    store.save(old)
    found, has_ended, step = [], False, 0

    def save() -> None:
        short = os.write
        os.write = lambda descriptor, data: short(descriptor, bytes(data)[:60])  # so that there is a half of a file
        store.save(new)

    while not has_ended:
        has_ended = not killed_at(step, save, *STEPS)
        found.append(store.load())
        step += 1
    assert step > len(STEPS)
    assert found[0] == old and found[-1] == new
    assert found == sorted(found, key=lambda state: state.epoch), "once it is there it stays"
    assert all(state in (old, new) for state in found)
    assert os.listdir(tmp_path) == [STATE_NAME]


def on_a_full_disk(folder: Path) -> None:
    """Fill a disk of 32 KiB with one state after the other, and then make room again."""
    syscalls.unshare(syscalls.CLONE_NEWNS | (syscalls.CLONE_NEWUSER if os.geteuid() else 0))
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("tmpfs", str(folder), "tmpfs", 0, "size=32k")
    store, state = StateFile(os.open(folder, os.O_RDONLY)), example()
    last: dict[str, int] = {}
    while True:
        state.first_opens |= {f"client/{len(state.first_opens)}-{number}": number for number in range(40)}
        try:
            store.save(state)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            break
        last = dict(state.first_opens)
    assert last and store.load().first_opens == last
    state.first_opens = {"client/small": 1}
    store.save(state)
    assert store.load() == state


def test_on_a_full_disk_the_last_state_that_was_saved_is_there(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            on_a_full_disk(tmp_path)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
