"""What is made of profile files stays with the files that it was made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.profile.profile_files import ProfileFiles, fingerprint


def write(folder: Path, name: str, about: str) -> None:
    (folder / f"{name}.yaml").write_text(f"about: {about}\n")


def test_what_is_made_twice_of_the_same_is_the_same(tmp_path: Path) -> None:
    write(tmp_path, "third", "old")
    files = ProfileFiles(tmp_path)
    fragments = files.fragments(["third"])
    assert files.fragment("third") is fragments[0]
    assert files.policy("third", fragments) is files.policy("third", files.fragments(["third"]))
    policy = files.policy("third", fragments)
    assert policy.filters(watched=True) is policy.filters(watched=True) is not policy.filters(watched=False)
    assert files.renewed() is files, "a reload that changes no file makes nothing anew"


def test_old_files_stay_as_they_were_for_a_loop_that_dies_during_a_reload(tmp_path: Path) -> None:
    write(tmp_path, "third", "old")
    files = ProfileFiles(tmp_path)
    assert files.fragment("third").about == "old"
    write(tmp_path, "third", "new")
    renewed = files.renewed()
    assert renewed is not files and renewed.fragment("third").about == "new"
    assert files.fragment("third").about == "old"


def test_an_error_is_not_kept(tmp_path: Path) -> None:
    files = ProfileFiles(tmp_path)
    with pytest.raises(SandboxError, match="cannot read the profile"):
        files.fragment("third")
    write(tmp_path, "third", "there now")
    assert files.fragment("third").about == "there now"


def test_the_fingerprint_is_that_of_names_and_bytes(tmp_path: Path) -> None:
    seen = {fingerprint(tmp_path)}
    (tmp_path / "a.yaml").write_text("x")
    seen.add(fingerprint(tmp_path))
    (tmp_path / "a.yaml").rename(tmp_path / "b.yaml")
    seen.add(fingerprint(tmp_path))
    (tmp_path / "b.yaml").write_text("y")
    seen.add(fingerprint(tmp_path))
    assert len(seen) == 4
    (tmp_path / "notes.txt").write_text("no profile")
    assert fingerprint(tmp_path) in seen


def test_files_that_cannot_be_read_are_the_operators_to_mend(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"cannot read the profile .*: Is a directory"):
        ProfileFiles(tmp_path)
