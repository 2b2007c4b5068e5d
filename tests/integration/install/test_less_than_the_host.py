"""A newcomer in a container, or under a kernel that gives less: what is missing is said, and the rest works.

Everything is done with the installed commands, inside a real outer filter, without real capabilities.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts.installation import portable, scratch
from hosts.installed_host import NOBODY, InstalledHost
from hosts.restricted_command import CONTAINER, deprived
from hosts.row_sampling import rows

from tlsrt.config.load import load_config
from tlsrt.config.schema import DEFAULT_LOOPS
from tlsrt.sandbox.cgroup.cgroup import own_place

pytestmark = pytest.mark.once

IS_ROOT = os.geteuid() == 0
NAMESPACES = {f"{name}_namespace" for name in ("pid", "net", "ipc", "uts", "mount")}
LANDLOCK = {"landlock", "landlock_sealed"}
SECCOMP = {"seccomp", "seccomp_reports", "seccomp_sealed"}
SIGHT = {"attestation", "seccomp_reports"}  # to look into other processes takes CAP_SYS_PTRACE
UNPRIVILEGED = {"bounding_set", "securebits"}  # take CAP_SETPCAP, which a user has in a namespace only
LANDLOCK_CALLS = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")


@dataclass(frozen=True)
class Place:
    """An environment with less, and the layers that cannot be had there."""

    missing: set[str]
    deny: dict[str, int] = field(default_factory=dict[str, int])
    drop: tuple[str, ...] = ()
    namespace: tuple[str, ...] = ()
    as_user: bool = False


# `a container` has the default rights of a container engine: root, without the capabilities that matter here.
PLACES = {
    "a container": Place(
        NAMESPACES | SIGHT, deny=CONTAINER, drop=("sys_admin", "sys_ptrace", "sys_resource", "net_admin")
    ),
    "a container whose root is none": Place(
        NAMESPACES | UNPRIVILEGED | SIGHT | {"uid"},
        deny=CONTAINER,
        drop=("sys_admin", "sys_ptrace", "setuid", "setgid", "setpcap", "chown"),
    ),
    "no user namespaces for a user": Place(
        NAMESPACES | UNPRIVILEGED | SIGHT, deny=CONTAINER, as_user=True
    ),
    "no mounts": Place({"mount_namespace"}, deny={"mount": errno.EPERM, "pivot_root": errno.EPERM}),
    "no mounts for a user": Place({"mount_namespace"}, deny={"open_tree": errno.ENOSYS}, as_user=True),
    "no Landlock": Place(LANDLOCK, deny=dict.fromkeys(LANDLOCK_CALLS, errno.ENOSYS)),
    "no seccomp": Place(SECCOMP, deny={"seccomp": errno.EPERM}),
    "no seccomp for a user": Place(SECCOMP, deny={"seccomp": errno.ENOSYS}, as_user=True),
    # A kernel without user namespaces: none can be made in one of the test's own making, where nobody is almighty.
    "no user namespaces": Place(NAMESPACES, namespace=("user",), drop=("sys_admin",), as_user=True),
    "no network namespaces": Place({"net_namespace"}, namespace=("net",)),
}  # fmt: skip


LESS_OFTEN = {"no mounts", "no seccomp", "no user namespaces for a user", "no network namespaces"}
STRICT_LESS_OFTEN = LESS_OFTEN | {"a container whose root is none", "no mounts for a user", "no user namespaces"}
HERE = [name for name, place in PLACES.items() if IS_ROOT or place.as_user]


@pytest.fixture(params=rows(HERE, stress=LESS_OFTEN & set(HERE)))
def place(request: pytest.FixtureRequest) -> Place:
    return PLACES[request.param]


@pytest.fixture
def host(place: Place, request: pytest.FixtureRequest) -> Iterator[InstalledHost]:
    environment = portable()
    folder = scratch() / f"less-{abs(hash(request.node.name))}"
    folder.mkdir()
    user = NOBODY if place.as_user and IS_ROOT else None
    if user is not None:
        os.chown(folder, user, user)
    prefix = deprived(environment, deny=place.deny, drop=place.drop, namespace=place.namespace)
    yield InstalledHost(environment, folder / "var", user=user, prefix=prefix)
    shutil.rmtree(folder)


def made(host: InstalledHost) -> str:
    """Let `init` make the host; return what it says."""
    code, output, errors = host.init_compiled()
    assert (code, errors) == (0, "")
    return output


def waived_in(host: InstalledHost) -> dict[str, str]:
    sandbox = yaml.safe_load(host.config.read_text()).get("sandbox") or {}
    found: dict[str, str] = sandbox.get("waive", {})
    return found


def check(host: InstalledHost) -> tuple[int, dict[str, Any]]:
    code, output, _ = host.run("sandbox", "check", "--json")
    document: dict[str, Any] = json.loads(output)
    return code, document


def test_init_writes_the_waivers_and_the_start_works_and_says_so(host: InstalledHost, place: Place) -> None:
    said = made(host)
    waived = waived_in(host)
    assert set(waived) == place.missing
    for layer, reason in waived.items():
        assert f"this host cannot give {layer} ({reason}): it is waived, and " in said
    assert "# without it: " in host.config.read_text()
    with host.started():
        for layer, reason in waived.items():
            warning = f"sandbox layer {layer} is waived: {reason}"
            assert any(line.endswith(warning) for line in host.console), (layer, host.console)
        assert not any("remove the waiver" in line for line in host.console)
        [primary] = [line for line in host.console if line.startswith("primary ")]
        assert f"WAIVED: {' '.join(sorted(place.missing))}" in primary
        assert any(line.startswith("limits ") for line in host.console)
        status = host.status()
        for loop in status["loops"]:
            expected = place.missing - ({"net_namespace"} if loop["name"] == "external" else set())
            assert set(loop["sandbox"]["waived"]) == expected and not expected & set(loop["sandbox"]["layers"])
        assert {f"sandbox layer {layer} is waived: {reason}" for layer, reason in waived.items()} <= set(
            status["warnings"]
        )
        assert host.call("primary/kernel", "uname")["system"] == "Linux"
        assert host.call("secondary/store", "put", "greeting", "hello") is not None
        assert host.call("secondary/store", "get", "greeting") == "hello"
    code, found = check(host)
    assert code == 69 and set(found["missing"]) - {"cgroup"} == place.missing
    states = {row["name"]: row["state"] for row in found["layers"]}
    assert {states[layer] for layer in place.missing} == {"waived"}, "the configuration lies in ./var"


@pytest.mark.parametrize("place", rows(HERE, stress=STRICT_LESS_OFTEN & set(HERE)), indirect=True)
def test_init_strict_waives_nothing_and_the_start_refuses(host: InstalledHost, place: Place) -> None:
    code, output, errors = host.init_compiled("--strict")
    assert code == 0 and waived_in(host) == {}
    for layer in place.missing:
        assert f"this host cannot give {layer} (" in errors
    assert "is waived" not in output
    sentence = host.refused(69)
    assert any(f"sandbox layer {layer}: " in f"{sentence}: " or layer in sentence for layer in place.missing), sentence
    code, output, errors = host.run("sandbox", "check")
    assert (code, errors) == (69, "")
    for layer in place.missing:
        assert f"\nwithout {layer}: " in output
    rows = [line.split() for line in output.splitlines() if line.startswith("  ")]
    assert {row[0] for row in rows if row[1:2] == ["cannot"]} - {"cgroup"} == place.missing
    assert output.splitlines()[-1].startswith("a start refuses until these are there")


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InstalledHost]:
    folder = scratch() / "whole"
    folder.mkdir()
    yield InstalledHost(portable(), folder / "var")
    shutil.rmtree(folder)


def test_a_host_that_has_everything_needs_nothing(whole: InstalledHost) -> None:
    code, output, errors = whole.run("sandbox", "check")
    assert (code, errors) == (0, ""), output
    assert output.splitlines()[-1] == "every layer can be enforced: nothing to do"
    assert "is waived" not in made(whole) and waived_in(whole) == {}
    assert whole.run("sandbox", "check")[0] == 0


def test_a_waiver_that_is_not_needed_is_said_by_every_start_and_by_check(whole: InstalledHost) -> None:
    whole.like_new()
    text = whole.config.read_text()
    whole.config.write_text(f"{text}sandbox:\n  waive: {{landlock: an older kernel}}\n")
    whole.seal()
    with whole.started():
        words = "sandbox layer landlock is waived, but this host can give it: remove the waiver"
        assert any(line.endswith(words) for line in whole.console)
        assert words in whole.status()["warnings"]
    code, found = check(whole)
    assert code == 0 and found["needless"] == ["landlock"]
    assert "landlock         enforced  waived, but this host can give it" in whole.run("sandbox", "check")[1]


@pytest.mark.parametrize(("ids", "base"), [pytest.param(1_000_000, 771000, marks=pytest.mark.stress), (65536, 64512)])
def test_the_root_of_a_container_with_ids_of_its_own_has_everything(ids: int, base: int) -> None:
    """A user namespace with a range of ids, as an unprivileged container has it: every layer, and uids that exist."""
    if not IS_ROOT:
        return  # only root outside can give more ids than one
    folder = scratch() / f"ids-{ids}"
    folder.mkdir()
    try:
        host = InstalledHost(portable(), folder / "var", prefix=deprived(portable(), ids=ids))
        assert check(host)[1]["missing"] == []
        made(host)
        assert waived_in(host) == {}
        assert load_config(host.config).sandbox.uid_base == base
        with host.started():
            status = host.status()
            assert status["supervisor"]["rootless"] is False
            for loop in status["loops"]:
                number = base + (256 if loop["name"] == "primary.facts" else 1 + DEFAULT_LOOPS.index(loop["name"]))
                assert f"Uid:\t{number}\t" in Path(f"/proc/{loop['pid']}/status").read_text()
            assert host.call("primary/kernel", "uname")["system"] == "Linux"
        assert check(host)[0] == 0
    finally:
        shutil.rmtree(folder)


def test_control_groups_that_may_not_be_made_are_no_reason_to_refuse() -> None:
    """As in most containers: the hierarchy is there, and read-only."""
    folder = scratch() / "read-only"
    folder.mkdir()
    script = 'mount --bind -o ro "$1" "$1" 2>/dev/null; mount -o remount,bind,ro "$1" && shift && exec "$@"'
    unshare = ["unshare", "--mount", *([] if IS_ROOT else ["--map-root-user"])]
    try:
        prefix = [*unshare, "sh", "-c", script, "sh", str(own_place().folder)]
        host = InstalledHost(portable(), folder / "var", prefix=prefix)
        made(host)
        assert waived_in(host) == {}
        with host.started():
            [limits] = [line for line in host.console if line.startswith("limits ")]
            assert "memory and tasks by rlimits, CPU unlimited, no freeze; no cgroup (" in limits
            status = host.status()
            assert status["limits"] in limits
            for loop in status["loops"]:
                assert loop["sandbox"]["cgroup"] is None and "cgroup" not in loop["sandbox"]["layers"]
                assert loop["sandbox"]["limits"]["memory"] == "rlimit"
            assert host.call("primary/kernel", "uname")["system"] == "Linux"
        code, found = check(host)
        assert code == 69 and found["missing"] == ["cgroup"]
        text = host.run("sandbox", "check")[1]
        assert "Delegate=yes" in text and "a start refuses" not in text
    finally:
        shutil.rmtree(folder)


def test_a_host_that_cannot_seal_memory_starts_and_says_so() -> None:
    """As every kernel before Linux 6.10: no layer fails, but one is weaker."""
    folder = scratch() / "no-mseal"
    folder.mkdir()
    words = "this host cannot seal memory (mseal, Linux 6.10): code of components could exchange the last filter"
    try:
        host = InstalledHost(portable(), folder / "var", prefix=deprived(portable(), deny={"mseal": errno.ENOSYS}))
        made(host)
        assert waived_in(host) == {}
        with host.started():
            assert any(words in line for line in host.console)
            assert any(warning.startswith(words) for warning in host.status()["warnings"])
        assert "could exchange the last filter at import" in host.run("sandbox", "check")[1]
    finally:
        shutil.rmtree(folder)


def test_a_filter_that_kills_is_told_from_one_that_refuses() -> None:
    folder = scratch() / "kills"
    folder.mkdir()
    try:
        host = InstalledHost(
            portable(), folder / "var", prefix=deprived(portable(), deny={"landlock_create_ruleset": 0})
        )
        code, found = check(host)
        rows = {row["name"]: row for row in found["layers"]}
        assert code == 69 and set(found["missing"]) == LANDLOCK
        for layer in LANDLOCK:
            assert rows[layer]["reason"] == "the process that tried it was ended (SIGSYS)" and rows[layer]["fatal"]
        assert rows["seccomp_sealed"]["state"] == rows["attestation"]["state"] == "enforced", "the rest is tried"
        assert found["features"]["landlock"] == "asking for it ends the process"
        code, _, errors = host.init_compiled()
        assert code == 0 and "no start will work yet: landlock: " in errors and waived_in(host) == {}
    finally:
        shutil.rmtree(folder)


def test_without_pidfds_nothing_runs_and_it_is_one_sentence() -> None:
    folder = scratch() / "no-pidfd"
    folder.mkdir()
    try:
        host = InstalledHost(portable(), folder / "var", prefix=deprived(portable(), deny={"pidfd_open": errno.ENOSYS}))
        code, output, errors = host.run("sandbox", "check")
        assert (code, output) == (69, "")
        assert "pidfd_open" in errors and "which cannot be waived" in errors
        code, output, errors = host.init_compiled()
        assert code == 0 and "this host cannot run tlsrt: " in errors
        assert "which cannot be waived" in host.refused(69)
    finally:
        shutil.rmtree(folder)


def test_master_key_in_ordinary_memory_is_said() -> None:
    folder = scratch() / "no-secret"
    folder.mkdir()
    try:
        host = InstalledHost(
            portable(), folder / "var", prefix=deprived(portable(), deny={"memfd_secret": errno.EPERM})
        )
        host.like_new()
        with host.started():
            assert any("master_key was in ordinary memory" in line for line in host.console)
        assert "no (Operation not permitted)" in host.run("sandbox", "check")[1]
    finally:
        shutil.rmtree(folder)


def test_code_that_a_loops_uid_cannot_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    """Without a mount namespace of its own a loop meets the closed home in which everything lies."""
    if not IS_ROOT:
        return  # one uid: the loop is the owner
    from hosts.installation import make_environment, place_interpreter

    home = scratch() / "closed-less"
    home.mkdir()
    environment = make_environment(home / "env", python=place_interpreter(home / "python"))
    home.chmod(0o700)
    try:
        prefix = deprived(environment, deny={"mount": errno.EPERM})
        host = InstalledHost(environment, home / "var", prefix=prefix)
        code, output, _ = host.run("sandbox", "check")
        assert code == 69 and f"cannot read {home}" in output and "install tlsrt below /opt" in output
        code, _, errors = host.run("init", host.folder, "--port", str(host.port))
        assert code == 0 and "no start will work yet: code: uid 771001 cannot read" in errors
        assert host.refused().startswith(f"no loop can pass {home}, and without the layer mount_namespace it must: ")
        home.chmod(0o711)
        assert check(host)[1]["missing"] == ["mount_namespace"]
        with host.started():
            assert host.call("primary/kernel", "uname")["system"] == "Linux"
    finally:
        shutil.rmtree(home)
