"""Secrets of components: sealed for one component, name and version, and for nothing else."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config import key_rotation, key_schedule
from tlsrt.config.issuer_chain import SealRecord
from tlsrt.config.key_providers import key_path
from tlsrt.config.schema import Config
from tlsrt.config.secrets import (
    NAMES_MAX,
    NONCE_BYTES,
    SecretId,
    open_secret,
    parse_sealings,
    pruned,
    read_sealings,
    resealed,
    seal_secret,
    sealed_components,
    secret_file,
    write_sealings,
)
from tlsrt.errors import ConfigError

WHICH = SecretId(b"i" * 16, "third/kettle", "broker", 1)
KEY, NONCE = b"k" * 32, b"n" * NONCE_BYTES
VALUE = b"correct horse"


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32), st.binary(min_size=12, max_size=12))
def test_a_sealed_value_opens_again_and_does_not_show(value: bytes, key: bytes, nonce: bytes) -> None:
    sealed = seal_secret(key, WHICH, value, nonce)
    assert open_secret(key, WHICH, sealed) == value
    assert len(sealed) == NONCE_BYTES + len(value) + 16


@pytest.mark.parametrize(
    "other",
    [
        replace(WHICH, install_id=b"j" * 16), replace(WHICH, component="third/kettl"), replace(WHICH, name="brokers"),
        replace(WHICH, version=2), replace(WHICH, component="third/kettlebr", name="oker"),
    ],
)  # fmt: skip
def test_it_opens_as_no_other_secret(other: SecretId) -> None:
    sealed = seal_secret(KEY, WHICH, VALUE, NONCE)
    with pytest.raises(ConfigError, match=f"the secret {other.name} of {other.component} is damaged: set it again"):
        open_secret(KEY, other, sealed)


@pytest.mark.parametrize("sealed", [b"", NONCE, NONCE + b"x" * 15, b"x" * 40])
def test_other_bytes_are_damaged(sealed: bytes) -> None:
    with pytest.raises(ConfigError, match="is damaged"):
        open_secret(KEY, WHICH, sealed)
    good = seal_secret(KEY, WHICH, VALUE, NONCE)
    with pytest.raises(ConfigError, match="is damaged"):
        open_secret(b"l" * 32, WHICH, good)


def test_each_component_has_a_key_of_its_own() -> None:
    root = key_schedule.secret_root(b"p" * 32)
    keys = {key_schedule.secret_key(root, component) for component in ("third/a", "third/b", "forth/a")}
    assert len(keys | {root}) == 4


def test_a_file_holds_what_is_set_and_goes_with_the_last(tmp_path: Path) -> None:
    assert read_sealings(tmp_path, "third/kettle") == {} and sealed_components(tmp_path) == []
    write_sealings(tmp_path, "third/kettle", {"broker": {1: b"x"}})
    path = secret_file(tmp_path, "third/kettle")
    assert (path.stat().st_mode & 0o7777, path.parent.stat().st_mode & 0o7777) == (0o600, 0o700)
    assert read_sealings(tmp_path, "third/kettle") == {"broker": {1: b"x"}}
    assert sealed_components(tmp_path) == ["third/kettle"]
    write_sealings(tmp_path, "third/kettle", {})
    assert os.listdir(path.parent) == []


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ConfigError):
        parse_sealings(data, Path("f"))


def test_a_damaged_file_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match="it is damaged; remove it, and set the secrets of this component again"):
        parse_sealings(b"x", Path("f"))


def test_both_versions_open_while_one_follows_the_other() -> None:
    roots = {1: b"1" * 32, 2: b"2" * 32}
    keys = {version: key_schedule.secret_key(root, "third/kettle") for version, root in roots.items()}
    before = {"broker": {1: seal_secret(keys[1], WHICH, VALUE, NONCE)}}
    both = resealed(before, WHICH.install_id, "third/kettle", roots, [b"m" * NONCE_BYTES])
    for version in (1, 2):
        assert open_secret(keys[version], replace(WHICH, version=version), both["broker"][version]) == VALUE
    again = resealed(
        both, WHICH.install_id, "third/kettle", roots, [b"o" * NONCE_BYTES]
    )  # after one that was withdrawn
    assert again["broker"][2] != both["broker"][2]
    assert pruned(again, 2) == {"broker": {2: again["broker"][2]}}
    with pytest.raises(ConfigError, match="is not sealed by the master_key in force"):
        resealed(pruned(again, 2), WHICH.install_id, "third/kettle", roots, [NONCE])


def test_a_rotation_of_master_key_takes_the_secrets_along(config: Config) -> None:
    def key(version: int) -> bytes:
        prk = key_schedule.extract(config.install_id, key_path(config.master_key, version).read_bytes())
        return key_schedule.secret_key(key_schedule.secret_root(prk), "third/kettle")

    which = replace(WHICH, install_id=config.install_id)
    sealed = seal_secret(key(1), which, VALUE, NONCE)
    write_sealings(config.state_dir, "third/kettle", {"broker": {1: sealed}})
    staged = key_rotation.stage(config, SealRecord())
    both = read_sealings(config.state_dir, "third/kettle")["broker"]
    assert both[1] == sealed, "what is in force still opens it"
    assert open_secret(key(2), replace(which, version=2), both[2]) == VALUE
    key_rotation.switch(staged, config.boot_token)
    key_rotation.remove_older(config, staged.version)
    assert list(read_sealings(config.state_dir, "third/kettle")["broker"]) == [2]


def test_a_damaged_secret_stops_a_rotation_before_anything_changed(config: Config) -> None:
    write_sealings(config.state_dir, "third/kettle", {"broker": {1: b"x" * 40}})
    with pytest.raises(ConfigError, match="the secret broker of third/kettle is damaged"):
        key_rotation.stage(config, SealRecord())
    assert not key_path(config.master_key, 2).exists()
    assert key_rotation.version_in_force(config) == 1


def test_no_more_is_written_than_is_read(tmp_path: Path) -> None:
    many = {f"s{number}": {1: b"x"} for number in range(NAMES_MAX)}
    write_sealings(tmp_path, "third/kettle", many)
    with pytest.raises(ConfigError, match="has 32 secrets: remove one that it does not ask for any more"):
        write_sealings(tmp_path, "third/kettle", {**many, "more": {1: b"x"}})
    assert read_sealings(tmp_path, "third/kettle") == many


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    state = tmp_path / "state"
    state.mkdir()
    (state / "secrets").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="cannot make the folder"):
        write_sealings(state, "third/kettle", {"broker": {1: b"x"}})
    assert os.listdir(elsewhere) == [] and elsewhere.stat().st_mode & 0o777 == 0o755


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot read"):
        sealed_components(tmp_path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_sealings(tmp_path, "third/kettle")


def test_a_link_in_the_place_of_the_file_or_of_its_folder_is_not_read(tmp_path: Path) -> None:
    elsewhere, state = tmp_path / "elsewhere", tmp_path / "state"
    elsewhere.mkdir()
    write_sealings(elsewhere, "third/kettle", {"broker": {1: b"x"}})
    state.mkdir()
    (state / "secrets").symlink_to(elsewhere / "secrets")
    for read in (lambda: read_sealings(state, "third/kettle"), lambda: sealed_components(state)):
        with pytest.raises(ConfigError, match="cannot read"):
            read()
    (state / "secrets").unlink()
    (state / "secrets").mkdir()
    secret_file(state, "third/kettle").symlink_to(secret_file(elsewhere, "third/kettle"))
    with pytest.raises(ConfigError, match="cannot read"):
        read_sealings(state, "third/kettle")
    write_sealings(state, "third/kettle", {"broker": {1: b"y"}})
    assert read_sealings(elsewhere, "third/kettle") == {"broker": {1: b"x"}}
    assert not secret_file(state, "third/kettle").is_symlink()
