"""master_key: attacks on its file, and keys that are no secret."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import NoReturn

import pytest

from tlsrt.config import credentials, key_providers
from tlsrt.config.boot_token import make_boot_token
from tlsrt.config.key_providers import check_master_key, key_paths, newest_version, open_master_key, read_master_key
from tlsrt.config.schema import KeySource
from tlsrt.errors import ConfigError

KEY = bytes(range(7, 39))
MINE = {os.geteuid()}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "master.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


def refused(source: KeySource, uids: set[int] = MINE) -> str:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(ConfigError) as caught:
        open_master_key(source, uids)
    assert set(os.listdir("/proc/self/fd")) == before, "a refused key stays open"
    [sentence] = caught.value.problems
    assert caught.value.exit_code == 78
    return sentence


def test_a_good_key_is_opened_for_reading_only_and_not_inherited(key: Path) -> None:
    descriptor = open_master_key(KeySource("file", path=key), MINE)
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    assert flags & os.O_ACCMODE == os.O_RDONLY
    assert not flags & os.O_NONBLOCK
    assert not os.get_inheritable(descriptor)
    os.lseek(descriptor, 20, os.SEEK_SET)  # the offset is shared with whoever read before
    assert read_master_key(descriptor) == KEY
    assert read_master_key(descriptor) == KEY
    os.close(descriptor)


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "no.key"
    assert refused(KeySource("file", path=path)) == (
        f"there is no master_key at {path}, so nothing starts: restore the file from your backup"
    )


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o660])
def test_open_to_group_or_others(key: Path, mode: int) -> None:
    key.chmod(mode)
    assert refused(KeySource("file", path=key)) == (
        f"master_key {key} has mode {mode:04o}, open to group or others: chmod 0600 it"
    )


def test_foreign_owner(key: Path) -> None:
    me = os.geteuid()
    assert refused(KeySource("file", path=key), {me + 1, me + 2}) == (
        f"master_key {key} belongs to uid {me}, not to uid {me + 1} or {me + 2}: chown it"
    )


def test_symbolic_link(key: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(key)
    assert refused(KeySource("file", path=link)) == f"master_key {link} is a symbolic link: name the file itself"


@pytest.mark.timeout(5)
def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert refused(KeySource("file", path=tmp_path / "fifo")) == f"master_key {tmp_path / 'fifo'} is not a regular file"


def test_folder_and_device(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null")):
        assert refused(KeySource("file", path=path), {0, *MINE}) == f"master_key {path} is not a regular file"


def test_below_a_file(key: Path) -> None:
    assert refused(KeySource("file", path=key / "x")) == f"cannot open master_key {key / 'x'}: Not a directory"


def test_credential(key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(key.parent))
    key.chmod(0o400)
    descriptor = open_master_key(KeySource("credential", name="master.key"), MINE)
    assert read_master_key(descriptor) == KEY
    os.close(descriptor)
    key.chmod(0o444)
    assert "has mode 0444" in refused(KeySource("credential", name="master.key"))


@pytest.mark.parametrize("name", ["../master.key", "a/b", "/etc/passwd", "", ".", "..", "a\0b"])
def test_a_credential_name_cannot_leave_its_folder(key: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    folder = key.parent / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert refused(KeySource("credential", name=name)) == (
        f"master_key names the credential {name!r}, which is no credential name"
    )


@pytest.mark.parametrize("folder", [None, "", "relative"])
def test_credential_without_systemd(monkeypatch: pytest.MonkeyPatch, folder: str | None) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if folder is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
    assert refused(KeySource("credential", name="key")) == (
        "there is no master_key, so nothing starts: $CREDENTIALS_DIRECTORY is not set, "
        "start under systemd with LoadCredential=key:FILE"
    )


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "attributes", "granted"),
    [
        (0o100440, 0, 0, ["system.posix_acl_access"], True),
        (0o100440, 0, 0, [], False),
        (0o100440, 0, 5, ["system.posix_acl_access"], False),
        (0o100440, 5, 0, ["system.posix_acl_access"], False),
        (0o100444, 0, 0, ["system.posix_acl_access"], False),
        (0o100460, 0, 0, ["system.posix_acl_access"], False),
    ],
)
def test_the_mask_of_systemds_acl_is_no_group(
    monkeypatch: pytest.MonkeyPatch, mode: int, uid: int, gid: int, attributes: list[str], granted: bool
) -> None:
    monkeypatch.setattr(os, "listxattr", lambda descriptor: attributes)
    status = os.stat_result((mode, 1, 1, 1, uid, gid, 32, 0, 0, 0))
    assert credentials.is_granted(9, status) is granted


def test_no_attributes_no_acl(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(os, "listxattr", unsupported)
    assert not credentials.is_granted(9, os.stat_result((0o100440, 1, 1, 1, 0, 0, 32, 0, 0, 0)))


@pytest.mark.parametrize("length", [0, 1, 31])
def test_short(key: Path, length: int) -> None:
    key.write_bytes(KEY[:length])
    descriptor = open_master_key(KeySource("file", path=key), MINE)
    sentence = f"master_key has {length} bytes, fewer than 32: replace it by 32 random bytes"
    with pytest.raises(ConfigError, match=sentence):
        read_master_key(descriptor)
    with pytest.raises(ConfigError, match=sentence):
        check_master_key(KEY[:length], b"")
    os.close(descriptor)


def test_long(key: Path) -> None:
    key.write_bytes(KEY * 128)
    descriptor = open_master_key(KeySource("file", path=key), MINE)
    assert len(read_master_key(descriptor)) == 4096
    key.write_bytes(KEY * 128 + b"x")
    with pytest.raises(ConfigError, match="master_key has more than 4096 bytes: replace it by 32 random bytes"):
        read_master_key(descriptor)
    os.close(descriptor)


def test_unreadable_descriptor(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ConfigError, match="cannot read master_key: Is a directory"):
        read_master_key(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("byte", [0, 0x41, 0xFF])
def test_constant(byte: int) -> None:
    with pytest.raises(ConfigError, match="master_key is one byte repeated: replace it by 32 random bytes"):
        check_master_key(bytes([byte]) * 64, b"")


def test_low_variety() -> None:
    with pytest.raises(ConfigError, match="master_key has only 7 different bytes: replace it by 32 random bytes"):
        check_master_key((b"abcdefg" * 10)[:64], b"")
    check_master_key((b"abcdefgh" * 8)[:64], b"")


def test_the_boot_token_is_no_key() -> None:
    token = make_boot_token(b"k" * 32, 3, {"config": bytes(32)})
    text, digits = token.encode(), token.mac.hex().encode()
    forms = (
        text,
        text.strip(),
        token.mac,
        digits,
        digits + b"\n",
        digits.upper(),
        b"mac " + digits,
        memoryview(digits),
    )
    for known in forms:
        with pytest.raises(ConfigError, match="master_key is the boot token, which is no secret: replace it by"):
            check_master_key(known, text)
    check_master_key(KEY, text)
    check_master_key(memoryview(KEY), b"mac zz\n")


def test_the_versions_of_a_key_lie_beside_the_first(key: Path) -> None:
    for name in ("master.key.10", "master.key.2", "master.key.1", "master.key.02", "master.key.old", "master.key.2.x"):
        (key.parent / name).write_bytes(KEY)
        (key.parent / name).chmod(0o600)
    source = KeySource("file", key)
    assert [path.name for path in key_paths(source)] == ["master.key", "master.key.2", "master.key.10"]
    assert newest_version(source) == 10
    os.close(open_master_key(source, MINE, 2))
    with pytest.raises(ConfigError, match=r"there is no master_key at .*/master\.key\.3, so nothing starts"):
        open_master_key(source, MINE, 3)
    (key.parent / "master.key.10").chmod(0o640)
    with pytest.raises(ConfigError, match=r"master\.key\.10 has mode 0640"):
        open_master_key(source, MINE, 10)


def test_a_credential_has_no_versions() -> None:
    source = KeySource("credential", name="tlsrt")
    assert (key_paths(source), newest_version(source)) == ([], 1)
    with pytest.raises(ConfigError, match="the credential tlsrt has no versions"):
        open_master_key(source, MINE, 2)


def test_an_empty_key_of_the_ca_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.key"
    path.touch(0o600)
    with pytest.raises(
        ConfigError,
        match=r"ca.key is empty: put your copy back, or make another CA: `tlsrt-supervisor certificate replace-ca`",
    ):
        key_providers.open_ca_key(path, {os.geteuid()})


@pytest.mark.parametrize(
    ("uid", "read_only", "mode", "attributes", "granted"),
    [
        (65534, True, 0o440, ["system.posix_acl_access"], True),
        (65534, False, 0o440, ["system.posix_acl_access"], False),
        (65534, True, 0o440, [], False),
        (65534, True, 0o460, ["system.posix_acl_access"], False),
        (1000, True, 0o440, ["system.posix_acl_access"], False),
    ],
)
def test_in_a_user_namespace_a_credential_is_that_of_the_overflow_uid_on_a_read_only_file_system(
    monkeypatch: pytest.MonkeyPatch, uid: int, read_only: bool, mode: int, attributes: list[str], granted: bool
) -> None:
    monkeypatch.setattr(credentials, "foreign_root", lambda: frozenset({65534}))
    monkeypatch.setattr(os, "listxattr", lambda descriptor: attributes)
    flags = os.ST_RDONLY if read_only else 0
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: os.statvfs_result((0,) * 8 + (flags, 255)))
    status = os.stat_result((0o100000 | mode, 1, 1, 1, uid, uid, 32, 0, 0, 0))
    assert credentials.is_granted(9, status) is granted
