"""Landlock's rules as values: rights by version, digests, and the rules of a profile. Without system calls."""

from __future__ import annotations

import errno
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tlsrt.config.egress import parse_egress
from tlsrt.errors import SandboxError
from tlsrt.sandbox.apply import landlock
from tlsrt.sandbox.apply.landlock import CHANNEL, DEVICE, LIST, READ, READ_FILE, STATE, Rules, handled_rights
from tlsrt.sandbox.apply.layers import landlock_rules
from tlsrt.sandbox.apply.root_filesystem import CANARY
from tlsrt.sandbox.profile.profile import Profile

HEADER = Path("/usr/include/linux/landlock.h")
PROFILE = Profile(
    "third", 7, 7, proc=True, read=(Path("/code"), Path("/srv/data")), kept=(Path("/srv/data"),),
    write=((Path("/host/state"), "/state"), (Path("/host/channel"), "/channel")),
)  # fmt: skip
RULES = Rules((("/a", READ), ("/b", STATE)), frozenset(), frozenset({443, 53}))


def test_the_rights_are_those_of_the_kernel_header() -> None:
    """Needs linux-libc-dev, which comes with gcc."""
    values = dict(re.findall(r"#define LANDLOCK_ACCESS_FS_(\w+)\s+\(1ULL << (\d+)\)", HEADER.read_text()))
    assert len(values) >= 16
    for name, bit in values.items():
        assert getattr(landlock, name) == 1 << int(bit), name


@pytest.mark.parametrize(("abi", "bits"), [(1, 13), (2, 14), (3, 15), (4, 15), (5, 16), (7, 16), (9, 17), (12, 17)])
def test_all_rights_that_a_version_knows_are_handled(abi: int, bits: int) -> None:
    assert handled_rights(abi) == (1 << bits) - 1


def test_the_state_folder_gives_no_way_to_run_or_to_be_found() -> None:
    for right in (
        "EXECUTE",
        "MAKE_SOCK",
        "MAKE_FIFO",
        "MAKE_SYM",
        "MAKE_CHAR",
        "MAKE_BLOCK",
        "IOCTL_DEV",
        "RESOLVE_UNIX",
    ):
        assert not STATE & getattr(landlock, right), right
        assert not READ & getattr(landlock, right), right


def test_the_digest_is_of_what_is_enforced() -> None:
    assert RULES.digest(7) == replace(RULES, paths=RULES.paths[::-1]).digest(7)
    others = [
        replace(RULES, paths=(("/a", READ),)),
        replace(RULES, paths=(("/a", READ), ("/b", READ))),
        replace(RULES, bind_ports=frozenset({1})),
        replace(RULES, connect_ports=None),
        replace(RULES, connect_ports=frozenset({443})),
    ]
    assert len({rules.digest(7) for rules in (RULES, *others)}) == 6
    assert len({RULES.digest(abi) for abi in (1, 2, 3, 4, 5, 6, 9)}) == 7
    assert others[2].digest(3) == RULES.digest(3)  # which knows no ports
    assert len(RULES.digest(7)) == 32


def test_before_the_seal_code_can_be_read_and_afterwards_only_data() -> None:
    first = dict(landlock_rules(PROFILE, ("mount_namespace",), sealed=False).paths)
    last = dict(landlock_rules(PROFILE, ("mount_namespace",), sealed=True).paths)
    assert first == last | {"/code": READ, "/": LIST}
    canary = {CANARY: READ_FILE}
    assert last == {
        "/srv/data": READ, "/proc": READ, "/dev/null": DEVICE, "/state": STATE, "/channel": CHANNEL, **canary
    }  # fmt: skip


def test_without_a_root_of_its_own_the_folders_are_the_hosts() -> None:
    paths = dict(landlock_rules(PROFILE, (), sealed=True).paths)
    assert paths["/host/state"] == STATE and "/state" not in paths
    assert "/" not in dict(landlock_rules(PROFILE, (), sealed=False).paths)  # where it would be the host's


@pytest.mark.parametrize(
    ("egress", "ports"),
    [
        ([], frozenset()),
        (["*:123/udp"], frozenset()),
        (["192.0.2.7:443", "[2001:db8::]/32:443", "*:8000-8002"], frozenset({443, 8000, 8001, 8002})),
        (["*:1-64"], frozenset(range(1, 65))),
        (["*:1-65"], None),
        (["*:1-64", "*:99"], None),
        (["*:*"], None),
    ],
)
def test_ports_to_connect_to_are_those_of_the_egress_rules_and_none_can_be_bound(
    egress: list[str], ports: frozenset[int] | None
) -> None:
    profile = replace(PROFILE, network=True, egress=tuple(parse_egress(text) for text in egress))
    for sealed in (False, True):
        rules = landlock_rules(profile, (), sealed=sealed)
        assert (rules.connect_ports, rules.bind_ports) == (ports, frozenset())


@pytest.mark.parametrize(
    ("number", "word"), [(errno.ENOSYS, "no Landlock"), (errno.EOPNOTSUPP, "lsm="), (errno.EPERM, "not permitted")]
)
def test_a_host_without_landlock_is_told_apart(number: int, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, *arguments: object) -> int:
        raise OSError(number, "no")

    monkeypatch.setattr(landlock, "call", refuse)
    with pytest.raises(SandboxError, match=word) as caught:
        landlock.apply_rules(RULES)
    assert caught.value.layer == "landlock"


def test_a_newer_host_is_used_as_far_as_we_can_name_its_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "call", lambda *arguments: 42)
    assert landlock.landlock_abi() == landlock.NEWEST_ABI
