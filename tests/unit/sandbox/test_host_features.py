"""What the kernel offers: each answer is words, whatever the kernel is, and none changes anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.errors import SandboxError
from tlsrt.sandbox import host_features
from tlsrt.sandbox.host_features import features, landlock_words, user_namespace_words


def test_every_question_is_answered_and_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    found = features()
    assert list(found) == ["landlock", "seccomp", "mseal", "memfd_secret", "user namespaces"]
    assert all(found.values()) and "\n" not in "".join(found.values())
    assert found["seccomp"].startswith("kill_process")
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("abi", "words"),
    [(1, "ABI 1: files; not renames"), (4, "TCP ports; not ioctl"), (9, "path-named UNIX sockets")],
)
def test_landlock_says_what_it_covers(monkeypatch: pytest.MonkeyPatch, abi: int, words: str) -> None:
    monkeypatch.setattr(host_features, "landlock_abi", lambda: abi)
    assert words in landlock_words()
    assert (abi == 9) is ("; not " not in landlock_words())


def test_no_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise SandboxError("landlock", "switched off")

    monkeypatch.setattr(host_features, "landlock_abi", none)
    assert landlock_words() == "none: switched off"


def test_a_call_that_ends_the_process_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_features, "_FEATURES", {"x": lambda: os._exit(1)})
    assert features() == {"x": "asking for it ends the process"}


def test_an_unknown_machine_has_none_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_features, "NUMBERS", {})
    assert host_features.seccomp_words() == "none"
    assert host_features.mseal_words().startswith("no (Function not implemented")
    assert host_features.memfd_secret_words().startswith("no (Function not implemented")


def test_the_switches_of_user_namespaces(tmp_path: Path) -> None:
    assert user_namespace_words(tmp_path) == "no switches"
    (tmp_path / "sys/user").mkdir(parents=True)
    (tmp_path / "sys/user/max_user_namespaces").write_text("0\n")
    (tmp_path / "sys/kernel").mkdir()
    (tmp_path / "sys/kernel/apparmor_restrict_unprivileged_userns").write_text("1\n")
    assert user_namespace_words(tmp_path) == (
        "user.max_user_namespaces = 0 (at least 1 is needed), "
        "kernel.apparmor_restrict_unprivileged_userns = 1 (1 takes their capabilities away (Ubuntu))"
    )
