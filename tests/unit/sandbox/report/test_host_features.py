"""What the kernel offers: each answer is words, whatever the kernel is, and none changes anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tlsrt.errors import SandboxError
from tlsrt.sandbox import syscalls
from tlsrt.sandbox.profile.policy import Filters, Policy
from tlsrt.sandbox.profile.profile import ALL_LAYERS, Profile
from tlsrt.sandbox.report import host_features
from tlsrt.sandbox.report.host_features import features, gaps, landlock_words, user_namespace_words
from tlsrt.sandbox.seccomp.install import Pinned


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


def profile(*waived: str) -> Profile:
    layers = tuple(name for name in ALL_LAYERS if name not in waived)
    return Profile("third", 1, 1, layers=layers, waived=frozenset(waived))


def on_a_host(monkeypatch: pytest.MonkeyPatch, *, abi: int, is_sealed: bool) -> None:
    monkeypatch.setattr(host_features, "landlock_abi", lambda: abi)
    filters = Filters(b"", Pinned(0, is_sealed))
    monkeypatch.setattr(Policy, "filters", lambda policy, *, watched, pid: filters)


@pytest.mark.parametrize(
    ("abi", "waived", "words"),
    [
        (9, (), []),
        (9, ("seccomp_reports",), []),
        (8, (), []),  # the supervisor looks at every connect
        (8, ("seccomp_reports",), ["path-named UNIX sockets before ABI 9: as seccomp_reports is waived"]),
        (5, (), ["ABI 5, and no abstract UNIX sockets and signals before ABI 6: nothing but namespaces"]),
        (3, (), ["no TCP ports before ABI 4: nothing but network namespaces", "before ABI 6"]),
        (1, ("seccomp_reports",), ["before ABI 4", "before ABI 6", "before ABI 9"]),
        (1, ("landlock_sealed",), ["before ABI 4", "before ABI 6"]),  # the first rules stay
        (1, ("landlock", "landlock_sealed"), []),
    ],
)
def test_every_gap_of_landlock_is_said(
    monkeypatch: pytest.MonkeyPatch, abi: int, waived: tuple[str, ...], words: list[str]
) -> None:
    on_a_host(monkeypatch, abi=abi, is_sealed=True)
    found = gaps(profile(*waived))
    assert len(found) == len(words) and all(part in sentence for part, sentence in zip(words, found, strict=True))


@pytest.mark.parametrize(("waived", "count"), [((), 1), (("seccomp_reports",), 1), (("seccomp_sealed",), 0)])
def test_a_last_filter_that_is_not_sealed_is_said(
    monkeypatch: pytest.MonkeyPatch, waived: tuple[str, ...], count: int
) -> None:
    on_a_host(monkeypatch, abi=9, is_sealed=False)
    found = gaps(profile(*waived))
    assert len(found) == count and all("exchange the last filter at import" in sentence for sentence in found)


def test_where_landlock_is_missing_the_layer_says_so_and_not_this(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise SandboxError("landlock", "switched off")

    on_a_host(monkeypatch, abi=9, is_sealed=True)
    monkeypatch.setattr(host_features, "landlock_abi", none)
    assert gaps(profile()) == []


def test_no_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise SandboxError("landlock", "switched off")

    monkeypatch.setattr(host_features, "landlock_abi", none)
    assert landlock_words() == "none: switched off"


def test_a_call_that_ends_the_process_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_features, "_FEATURES", {"x": lambda: os._exit(1)})
    assert features() == {"x": "asking for it ends the process"}


def test_an_unknown_machine_has_none_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "_numbers", lambda: syscalls.numbers_of("riscv64"))
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
