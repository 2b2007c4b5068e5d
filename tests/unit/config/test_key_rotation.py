"""The files of `rotate --master`: at every moment a start finds one key and the boot token that fits it."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsrt.config import key_rotation, key_schedule
from tlsrt.config.boot_token import BootToken, check_boot_token, parse_boot_token_untrusted
from tlsrt.config.bundle import read_bundle
from tlsrt.config.init import seal
from tlsrt.config.issuer_chain import PinnedIssuer, SealRecord, follow_untrusted
from tlsrt.config.key_providers import key_path
from tlsrt.config.load import load_config
from tlsrt.config.schema import Config, KeySource
from tlsrt.errors import ConfigError


def booted(config: Config) -> BootToken:
    """Return the token that a start would take, which must fit the key that it names; nothing else may be needed."""
    token = parse_boot_token_untrusted(config.boot_token.read_bytes())
    key = key_path(config.master_key, token.key_version).read_bytes()
    check_boot_token(key_schedule.boot_mac_key(key_schedule.extract(config.install_id, key)), token, token.entries, 0)
    return token


def issuer(config: Config, version: int) -> bytes:
    prk = key_schedule.extract(config.install_id, key_path(config.master_key, version).read_bytes())
    return Ed25519PrivateKey.from_private_bytes(key_schedule.issuer_seed(prk, version)).public_key().public_bytes_raw()


def rotate_once(config: Config, known: SealRecord | None = None) -> int:
    staged = key_rotation.stage(config, known or SealRecord())
    key_rotation.switch(staged, config.boot_token)
    return staged.version


def test_a_rotation_changes_key_and_token_at_once_and_seals_nothing_new(config: Config) -> None:
    before = booted(config)
    first = (config.path.parent / "master.key").read_bytes()
    with config.path.open("a") as file:
        file.write("# not sealed\n")
    staged = key_rotation.stage(config, SealRecord())
    assert booted(config) == before, "nothing is in force yet"
    assert (staged.version, staged.key.name, staged.token.name) == (2, "master.key.2", "boot.token.next")
    key_rotation.switch(staged, config.boot_token)
    after = booted(config)
    assert (after.key_version, after.seal, after.entries) == (2, 2, before.entries)
    assert {path.name: path.stat().st_mode & 0o7777 for path in (staged.key, config.boot_token)} == {
        "master.key.2": 0o600,
        "boot.token": 0o600,
    }
    assert not staged.token.exists()
    assert len(staged.key.read_bytes()) == 32
    assert staged.key.read_bytes() != first
    assert key_rotation.version_in_force(config) == 2


def test_clients_follow_from_the_bundle_over_every_rotation(config: Config, made: Path) -> None:
    pin = PinnedIssuer(1, read_bundle(made / "admin.tlsrt").issuer_public)
    assert pin.key == issuer(config, 1)
    for version in (2, 3, 4):
        assert rotate_once(config) == version
    assert follow_untrusted(config.install_id, pin, booted(config).succession) == PinnedIssuer(4, issuer(config, 4))


def test_the_sealed_form_of_an_older_key_goes_with_it(config: Config) -> None:
    """A unit that lists a key of which only that is left does not start."""
    rotate_once(config)
    older = config.path.parent / "master.key"
    sealed = older.with_name("master.key.tpm2")
    sealed.write_bytes(b"sealed")
    assert key_rotation.remove_older(config, 2) == [older, sealed]
    assert not older.exists() and not sealed.exists()


class Killed(BaseException):
    """What SIGKILL is for a file: nothing after it."""


def stop_at(config: Config, monkeypatch: pytest.MonkeyPatch, operation: str, count: int) -> bool:
    """Rotate until this call; return whether it came so far."""
    real, calls = getattr(os, operation), 0

    def stop(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > count:
            raise Killed
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, operation, stop)
        try:
            rotate_once(config)
            key_rotation.remove_older(config, 2)
        except Killed:
            return True
    return False


@pytest.mark.parametrize("has_leftovers", [False, True])
def test_a_rotation_that_stops_anywhere_leaves_the_old_state_or_the_new_and_can_be_made_again(
    made: Path, monkeypatch: pytest.MonkeyPatch, has_leftovers: bool
) -> None:
    cuts: set[int] = set()
    for operation in ("open", "write", "fsync", "fchmod", "rename", "unlink"):
        count, went_on = 0, True
        while went_on:
            folder = made.parent / f"{operation}{count}"
            shutil.copytree(made, folder)
            config = load_config(folder / "tlsrt.yaml")
            if has_leftovers:
                key_rotation.stage(config, SealRecord())
            went_on = stop_at(config, monkeypatch, operation, count)
            version = booted(config).key_version
            cuts.add(version)
            assert rotate_once(config) == version + 1
            assert booted(config).key_version == version + 1
            key_rotation.remove_older(config, version + 1)
            left = {path.name for path in folder.iterdir() if path.name.startswith(("master", "boot", "."))}
            assert {name for name in left if not name.startswith(".")} == {f"master.key.{version + 1}", "boot.token"}
            count += 1
    assert cuts == {1, 2}


def test_a_rotation_is_withdrawn_as_long_as_it_is_not_in_force(config: Config) -> None:
    staged = key_rotation.stage(config, SealRecord())
    assert key_rotation.withdraw(config, staged)
    assert not staged.key.exists()
    assert not staged.token.exists()
    assert booted(config).key_version == 1
    staged = key_rotation.stage(config, SealRecord())
    key_rotation.switch(staged, config.boot_token)
    assert not key_rotation.withdraw(config, staged), "somebody has put it in force meanwhile"
    assert booted(config).key_version == 2


def test_a_key_that_no_rotation_left_there_is_not_touched(config: Config) -> None:
    mine = config.path.parent / "master.key.2"
    mine.write_bytes(b"somebody's own file")
    with pytest.raises(ConfigError, match=r"master\.key\.2 exists, and no rotation that was broken off left it there"):
        key_rotation.stage(config, SealRecord())
    assert mine.read_bytes() == b"somebody's own file"
    assert booted(config).key_version == 1


def test_older_keys_go_when_a_newer_one_is_in_force_and_nothing_else_does(config: Config) -> None:
    other = config.path.parent / "master.key.old"
    other.write_bytes(b"a copy")
    rotate_once(config)
    rotate_once(config)
    removed = key_rotation.remove_older(config, 3)
    assert [path.name for path in removed] == ["master.key", "master.key.2"]
    assert other.exists()
    assert booted(config).key_version == 3
    assert key_rotation.remove_older(config, 3) == []


def test_a_token_that_the_key_did_not_make_is_not_passed_on(config: Config) -> None:
    (config.path.parent / "master.key").write_bytes(os.urandom(32))
    with pytest.raises(ConfigError, match="was not made with this master_key"):
        key_rotation.stage(config, SealRecord())


def test_what_the_state_says_counts(config: Config) -> None:
    with pytest.raises(ConfigError, match="has already run version 2"):
        key_rotation.stage(config, SealRecord(key_version=2))
    with pytest.raises(ConfigError, match="its seal is 1, and this host has already run seal 7"):
        key_rotation.stage(config, SealRecord(seal=7))
    assert not key_rotation.next_token(config).exists()


def test_a_credential_is_not_ours_to_replace(config: Config) -> None:
    other = replace(config, master_key=KeySource("credential", name="tlsrt"))
    with pytest.raises(ConfigError, match="is the systemd credential tlsrt, which tlsrt cannot replace: put another"):
        key_rotation.stage(other, SealRecord())


def test_one_rotation_or_seal_at_a_time(config: Config) -> None:
    with key_rotation.only_one(config):
        with pytest.raises(ConfigError, match="`seal` or `rotate` works in"), key_rotation.only_one(config):
            pass
        with pytest.raises(ConfigError, match="wait for its end"):
            seal(config)  # the token of a rotation would take its place
    with key_rotation.only_one(config):
        pass
    assert seal(config) == 2


def test_seal_goes_on_with_the_key_in_force(config: Config) -> None:
    rotate_once(config)
    chain = booted(config).succession
    assert seal(config) == 3
    token = booted(config)
    assert (token.key_version, token.succession, token.seal) == (2, chain, 3)


def test_seal_after_the_token_is_lost(config: Config) -> None:
    rotate_once(config)
    chain = booted(config).succession
    config.boot_token.unlink()
    assert seal(config, SealRecord(2, 2, chain)) == 3
    assert (booted(config).key_version, booted(config).succession) == (2, chain)
    config.boot_token.unlink()
    key_rotation.remove_older(config, 2)
    assert seal(config) == 1, "nobody knows the number; the authority does"
    assert booted(config).key_version == 2


def test_seal_mends_a_token_of_a_key_that_was_replaced(config: Config) -> None:
    old = config.boot_token.read_bytes()
    rotate_once(config)
    chain = booted(config).succession
    config.boot_token.write_bytes(old)
    assert seal(config, SealRecord(2, 2, chain)) == 3
    assert (booted(config).key_version, booted(config).succession) == (2, chain)


def test_root_leaves_the_files_to_whom_they_belong(config: Config) -> None:
    uid, gid = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(config.boot_token, uid, gid)
    os.chown(config.path.parent / "master.key", os.geteuid(), gid)
    rotate_once(config)
    assert (config.boot_token.stat().st_uid, config.boot_token.stat().st_gid) == (uid, gid)
    assert (config.path.parent / "master.key.2").stat().st_gid == gid
