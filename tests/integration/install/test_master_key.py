"""The master key is the root of everything: the real command refuses each wrong one, with a sentence of its own."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosts.installation import installed, scratch
from hosts.installed_host import InstalledHost
from hosts.row_sampling import rows

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def sealed() -> Iterator[InstalledHost]:
    host = InstalledHost(installed(), scratch() / "master-key")
    host.like_new()
    yield host
    shutil.rmtree(host.folder)


@pytest.fixture
def key(sealed: InstalledHost) -> Iterator[Path]:
    """The right key's path; whatever a test puts there goes again."""
    path = sealed.folder / "master.key"
    good = path.read_bytes()
    yield path
    path.unlink(missing_ok=True)
    path.write_bytes(good)
    path.chmod(0o600)


def _replace(content: bytes) -> Callable[[Path], object]:
    return lambda key: key.write_bytes(content)


def _link(key: Path) -> None:
    """To the right key, at the right mode: the link alone is wrong."""
    key.rename(key.with_name("elsewhere.key"))
    key.symlink_to("elsewhere.key")


def _folder(key: Path) -> None:
    key.unlink()
    key.mkdir()


def _fifo(key: Path) -> None:
    key.unlink()
    os.mkfifo(key, 0o600)


def _mac(key: Path) -> None:
    """The one line of the boot token that looks like a key."""
    [line] = [line for line in key.with_name("boot.token").read_bytes().split(b"\n") if line.startswith(b"mac ")]
    key.write_bytes(bytes.fromhex(line[4:].decode()))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (Path.unlink, "there is no master_key at {key}, so nothing starts"),
    "empty": (_replace(b""), "master_key has 0 bytes, fewer than 32"),
    "short": (_replace(secrets.token_bytes(31)), "master_key has 31 bytes, fewer than 32"),
    "long": (_replace(secrets.token_bytes(4097)), "master_key has more than 4096 bytes"),
    "constant": (_replace(bytes(32)), "master_key is one byte repeated"),
    "nearly constant": (_replace(b"abab" * 8), "master_key has only 2 different bytes"),
    "readable by all": (lambda key: key.chmod(0o644), "master_key {key} has mode 0644, open to group or others"),
    "readable by the group": (lambda key: key.chmod(0o640), "master_key {key} has mode 0640, open to group or others"),
    "writable by others": (lambda key: key.chmod(0o602), "master_key {key} has mode 0602, open to group or others"),
    "a link": (_link, "master_key {key} is a symbolic link"),
    "a fifo": (_fifo, "master_key {key} is not a regular file"),
    "a folder": (_folder, "master_key {key} is not a regular file"),
    "the MAC of the boot token": (_mac, "master_key is the boot token, which is no secret"),
    "another": (_replace(secrets.token_bytes(32)), "the boot token was not made with this master_key"),
}
if os.geteuid() == 0:  # only root can give a file away
    WRONG["of a foreign owner"] = (
        lambda key: os.chown(key, 771001, 771001),
        "master_key {key} could be exchanged by another user: {key} belongs to uid 771001",
    )


@pytest.mark.parametrize(
    "wrong",
    rows(WRONG, stress={
        "short", "long", "nearly constant", "readable by the group", "writable by others", "a folder"
    }),
)  # fmt: skip
def test_a_wrong_key_starts_nothing(sealed: InstalledHost, key: Path, wrong: str) -> None:
    spoil, words = WRONG[wrong]
    spoil(key)
    try:
        sentence = sealed.refused()
    finally:
        if key.is_dir():
            key.rmdir()
    assert words.format(key=key) in sentence


@pytest.mark.parametrize("name", ["master.key", "server.key", "tlsrt.yaml"])
def test_seal_never_overwrites_another_file(sealed: InstalledHost, name: str) -> None:
    """One wrong word in the configuration, and the advice to run `seal`, must not destroy the root of all keys."""
    whole = sealed.config.read_text()
    sealed.config.write_text(whole.replace("boot_token: boot.token", f"boot_token: {name}"))
    before = (sealed.folder / name).read_bytes()
    try:
        assert "boot_token is " in sealed.refused()
        code, output, errors = sealed.run("seal", "--config", sealed.config)
        assert (code, output) == (78, "")
        assert "boot_token is " in errors
        assert (sealed.folder / name).read_bytes() == before
    finally:
        sealed.config.write_text(whole)


def test_seal_refuses_a_wrong_key_too(sealed: InstalledHost, key: Path) -> None:
    token = (sealed.folder / "boot.token").read_bytes()
    key.write_bytes(bytes(32))
    code, output, errors = sealed.run("seal", "--config", sealed.config)
    assert (code, output) == (78, "")
    assert "master_key is one byte repeated" in errors
    assert (sealed.folder / "boot.token").read_bytes() == token


def test_the_right_key_starts(sealed: InstalledHost) -> None:
    """The refusals above come from the keys: this host is good, and they left it so."""
    with sealed.started():
        pass
