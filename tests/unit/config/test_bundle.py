"""The client bundle: round trip, permission attacks, damage."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tlsrt.config.bundle import (
    MAX_BUNDLE_BYTES,
    Bundle,
    encode_bundle,
    follow_issuer,
    parse_bundle_untrusted,
    read_bundle,
    write_bundle,
)
from tlsrt.config.issuer_chain import PinnedIssuer
from tlsrt.errors import ConfigError

BUNDLE = Bundle(1, bytes(range(16)), "admin", "127.0.0.1", 7443, "localhost", b"CA", b"CERT", b"SECRET", b"i" * 32)


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_bundle(path)
    [sentence] = caught.value.problems
    return sentence


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "admin.tlsrt"
    write_bundle(path, BUNDLE)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert read_bundle(path) == BUNDLE
    assert "SECRET" not in repr(BUNDLE)


def test_it_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "admin.tlsrt"
    write_bundle(path, BUNDLE)
    with pytest.raises(ConfigError, match=r"cannot write .*/admin[.]tlsrt: File exists"):
        write_bundle(path, BUNDLE)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"cannot write .*/link: File exists"):
        write_bundle(tmp_path / "link", BUNDLE)
    assert not (tmp_path / "elsewhere").exists()


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "no.tlsrt"
    assert (
        refused(path) == f"there is no client bundle at {path}: copy the bundle there, or make one with `tlsrt enroll`"
    )


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_open_to_group_or_others(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "admin.tlsrt"
    write_bundle(path, BUNDLE)
    path.chmod(mode)
    assert refused(path) == f"the client bundle {path} has mode {mode:04o} and holds a private key: chmod 0600 it"


def test_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "admin.tlsrt"
    write_bundle(path, BUNDLE)
    owner = path.stat().st_uid
    stat = os.fstat

    def foreign(descriptor: int) -> os.stat_result:
        real = stat(descriptor)
        return os.stat_result((*real[:4], 4321, *real[5:10]))

    monkeypatch.setattr(os, "fstat", foreign)
    monkeypatch.setattr(os, "geteuid", lambda: owner or 1000)
    assert refused(path) == f"the client bundle {path} belongs to uid 4321: use one of your own"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert read_bundle(path) == BUNDLE


@pytest.mark.timeout(5)
def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo", 0o600)
    assert refused(tmp_path / "fifo") == f"the client bundle {tmp_path / 'fifo'} is not a regular file"


def test_links_are_followed_to_the_file_that_counts(tmp_path: Path) -> None:
    write_bundle(tmp_path / "real", BUNDLE)
    (tmp_path / "link").symlink_to("real")
    assert read_bundle(tmp_path / "link") == BUNDLE


TREE: dict[str, Any] = json.loads(encode_bundle(BUNDLE))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"[]",
        b"5",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        encode_bundle(BUNDLE)[:-5],
        encode_bundle(BUNDLE) + b" " * MAX_BUNDLE_BYTES,
    ],
)
def test_no_bundle_at_all(data: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_bundle_untrusted(data, "F")
    assert caught.value.problems == ("F is not a tlsrt client bundle, or is damaged: copy it again from the host",)


@pytest.mark.parametrize("version", [0, 2, "1", True, 1.0, None])
def test_another_version(version: object) -> None:
    with pytest.raises(ConfigError, match="F is a bundle of another version than 1: get a new one from the host"):
        parse_bundle_untrusted(json.dumps({**TREE, "tlsrt_bundle": version}).encode(), "F")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("port", "7443"), ("port", -1), ("port", 65536), ("port", True), ("port", 1.5), ("name", 5), ("key", None),
        ("install", "00"), ("install", "AB" * 16), ("install", 5), ("issuer", "ab"), ("host", "h\u00f6st"), ("more", 1),
    ],
)  # fmt: skip
def test_damaged(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match="the client bundle F is damaged: copy it again from the host"):
        parse_bundle_untrusted(json.dumps({**TREE, key: value}).encode(), "F")


@pytest.mark.parametrize("key", sorted(TREE.keys() - {"tlsrt_bundle"}))
def test_a_part_is_missing(key: str) -> None:
    with pytest.raises(ConfigError, match="the client bundle F is damaged: copy it again from the host"):
        parse_bundle_untrusted(json.dumps({k: v for k, v in TREE.items() if k != key}).encode(), "F")


LATER = PinnedIssuer(3, b"3" * 32)


def test_the_version_of_the_issuer_is_said_from_2_on(tmp_path: Path) -> None:
    assert b"issuer_version" not in encode_bundle(BUNDLE)
    later = dataclasses.replace(BUNDLE, issuer_public=LATER.key, issuer_version=3)
    assert parse_bundle_untrusted(encode_bundle(later), "it") == later
    assert later.issuer == LATER
    for wrong in ("0", "-1", "true", '"2"', "4294967296", "2.0"):
        text = encode_bundle(later).replace(b'"issuer_version": 3', f'"issuer_version": {wrong}'.encode())
        with pytest.raises(ConfigError, match="damaged"):
            parse_bundle_untrusted(text, "it")


def test_a_file_follows_the_issuer_and_stays_what_it_was(tmp_path: Path) -> None:
    path, link = tmp_path / "real" / "me.tlsrt", tmp_path / "link.tlsrt"
    path.parent.mkdir()
    write_bundle(path, BUNDLE)
    link.symlink_to(path)
    owner = (65534, 65534) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(path, *owner)
    follow_issuer(link, BUNDLE.install_id, LATER)
    assert link.is_symlink()
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (*owner, 0o600)
    assert read_bundle(path) == dataclasses.replace(BUNDLE, issuer_public=LATER.key, issuer_version=3)
    assert [each.name for each in path.parent.iterdir()] == ["me.tlsrt"]


@pytest.mark.parametrize(
    ("install", "issuer"),
    [
        (BUNDLE.install_id, PinnedIssuer(2, b"2" * 32)),
        (BUNDLE.install_id, PinnedIssuer(3, b"x" * 32)),
        (b"j" * 16, PinnedIssuer(9, b"9" * 32)),
    ],
    ids=["an earlier one", "the same version", "another install"],
)
def test_a_file_that_has_come_further_is_left_alone(tmp_path: Path, install: bytes, issuer: PinnedIssuer) -> None:
    path = tmp_path / "me.tlsrt"
    write_bundle(path, dataclasses.replace(BUNDLE, issuer_public=LATER.key, issuer_version=3))
    before = path.read_bytes()
    follow_issuer(path, install, issuer)
    assert path.read_bytes() == before


def test_a_file_that_its_owner_may_not_write_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "me.tlsrt"
    write_bundle(path, BUNDLE)
    path.chmod(0o400)
    with pytest.raises(ConfigError, match="its mode is 0400"):
        follow_issuer(path, BUNDLE.install_id, LATER)
    assert read_bundle(path) == BUNDLE
