"""Profiles: what each loop gets, what is refused, and digests that change with every field."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import fields, replace
from pathlib import Path

import pytest

import tlsrt.sandbox
from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.defaults import COMPONENTS
from tlsrt.config.door import DoorConfig
from tlsrt.config.egress import parse_egress
from tlsrt.config.name_rules import NameRule
from tlsrt.config.needs import NeedsConfig
from tlsrt.config.schema import ChannelsConfig, Config, KeySource, SandboxConfig
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.apply import layers
from tlsrt.sandbox.apply.layers import LAYERS, LayerStep
from tlsrt.sandbox.cgroup.cgroup import GroupPath
from tlsrt.sandbox.profile.compose import code_paths, profile_for_authority, profile_for_loop
from tlsrt.sandbox.profile.grants import ListenLine
from tlsrt.sandbox.profile.profile import (
    ALL_LAYERS,
    DROP_LAYERS,
    FILTER_LAYERS,
    STAGE_1_LAYERS,
    STAGE_2_LAYERS,
    WORLD_LAYERS,
    Profile,
    group_limits,
    with_group,
)
from tlsrt.sandbox.profile.profile_files import ProfileFiles

FILES = ProfileFiles()

BASE = Path("/srv/tlsrt")
CODE = (Path("/opt/code"),)
CONFIG = Config(
    path=BASE / "tlsrt.yaml", install_id=bytes(16), master_key=KeySource("file", BASE / "master.key"),
    boot_token=BASE / "boot.token", measure="strict", state_dir=BASE / "state", run_dir=BASE / "run",
    log_dir=BASE / "log", door=DoorConfig("::", 1, BASE / "s.pem", BASE / "s.key", BASE / "ca.pem"),
    loops=(), components=COMPONENTS, policy=(), clients=(),
)  # fmt: skip


def make(name: str, **options: object) -> Profile:
    loop = replace(LoopConfig(name), **options)  # type: ignore[arg-type]
    return profile_for_loop(CONFIG, loop, 771001, FILES, rootless=False, code=CODE)


def test_the_table_of_layers_is_the_list_of_names() -> None:
    assert tuple(layer.name for layer in LAYERS) == ALL_LAYERS
    steps = {LayerStep.WORLD: WORLD_LAYERS, LayerStep.DROP: DROP_LAYERS, LayerStep.SEAL_STAGE_1: STAGE_1_LAYERS,
             LayerStep.SEAL_FILES: STAGE_2_LAYERS[:1], LayerStep.SEAL_CALLS: STAGE_2_LAYERS[1:]}  # fmt: skip
    for step, names in steps.items():
        assert tuple(layer.name for layer in LAYERS if layer.step is step) == names
    assert [layer.step for layer in LAYERS] == sorted(layer.step for layer in LAYERS)
    assert set(ALL_LAYERS) >= FILTER_LAYERS


def test_an_ordinary_loop_has_state_and_channel_and_nothing_of_the_host() -> None:
    profile = make("third")
    assert profile.write == ((BASE / "state/third", "/state"), (BASE / "run/channel/third", "/channel"))
    assert not profile.network and not profile.proc and not profile.sys
    assert set(CODE) <= set(profile.read)
    assert not {Path("/etc/hosts"), Path("/etc/ssl"), Path("/etc")} & set(profile.read)
    assert ("cgroup", *profile.layers) == ALL_LAYERS
    inside = with_group(profile, GroupPath(BASE, "/tlsrt-1/third"))
    assert inside.layers == ALL_LAYERS and inside.expects("cgroup") and not profile.expects("cgroup")
    assert inside.digest() == profile.digest()  # the host may give a group or not; the profile is the same


@pytest.mark.parametrize(
    ("name", "proc", "sys"),
    [("primary", True, False), ("primary.facts", True, True), ("forth", True, True), ("external", True, False)],
)
def test_loops_that_need_more(name: str, proc: bool, sys: bool) -> None:
    profile = make(name)
    assert (profile.proc, profile.sys) == (proc, sys)


def test_only_who_may_make_threads_may_have_them() -> None:
    assert make("third").max_tasks == 1 + 1, "one that waits for the disk"
    assert make("forth").max_tasks == make("primary").max_tasks == 1
    threaded = replace(CONFIG, channels=ChannelsConfig("libzmq"))
    for name, most in (("third", 1 + 2 + 1), ("forth", 1 + 2), ("primary", 1)):
        made = profile_for_loop(threaded, LoopConfig(name), 771001, FILES, rootless=False, code=CODE)
        assert made.max_tasks == most, name
    authority = profile_for_authority(CONFIG, 771000, FILES, rootless=False, code=CODE)
    assert authority.max_tasks == 3  # its state and audit log
    assert replace(make("third"), waived=frozenset({"seccomp_sealed"})).max_tasks is None
    assert make("reports", network=True).max_tasks is None, "asyncio resolves names in a thread"


def test_threads_that_are_asked_for_are_counted_by_the_kernel_and_by_attestation() -> None:
    asks = ComponentConfig("third", "mine", "mine:Mine", needs=NeedsConfig(threads=4))
    config = replace(CONFIG, components=(*CONFIG.components, asks))
    made = profile_for_loop(config, LoopConfig("third"), 771001, FILES, rootless=False, code=CODE)
    assert (made.threads, made.tasks_at_once) == (4, 1 + 1 + 4)
    assert made.max_tasks == 1 + 1 + 4 + 4, "as many have just ended"
    assert group_limits(made, 64).tasks == made.tasks_at_once and group_limits(make("third"), 64).tasks == 64
    assert made.limits["nproc"] == make("third").limits["nproc"] + 4
    assert made.digest() != make("third").digest()


def test_primary_has_no_channel_folder() -> None:
    assert make("primary").write == ((BASE / "state/primary", "/state"),)


def test_a_network_loop_keeps_the_namespace_and_reads_the_resolver() -> None:
    profile = make("reports", network=True)
    assert profile.network and "net_namespace" not in profile.layers
    assert Path("/etc/hosts") in profile.read


def test_the_authority_has_one_folder_and_room_for_the_secret_page() -> None:
    profile = profile_for_authority(CONFIG, 771000, FILES, rootless=False, code=CODE)
    assert profile.write == ((BASE / "state/authority", "/state"),)
    assert not profile.network and not profile.proc and not profile.sys
    assert profile.limits["memlock"] == 65536 and profile.limits["fsize"] > 0


def test_rootless_has_no_uid_layer() -> None:
    profile = profile_for_loop(CONFIG, LoopConfig("third"), 0, FILES, rootless=True, code=CODE)
    assert "uid" not in profile.layers and set(profile.layers) == set(ALL_LAYERS) - {"uid", "cgroup"}


def test_limits_come_from_the_configuration() -> None:
    limits = make("third", memory_mb=10, open_files=20, file_size_mb=30).limits
    assert (limits["data"], limits["nofile"], limits["fsize"]) == (10 << 20, 20, 30 << 20)
    assert limits["core"] == 0


@pytest.mark.parametrize("path", ["/srv/tlsrt", "/srv", "/srv/tlsrt/state/secondary", "/srv/tlsrt/master.key"])
def test_folders_with_secrets_are_refused(path: str) -> None:
    with pytest.raises(SandboxError, match="folders apart"):
        make("third", read=(Path(path),))


def test_every_version_of_master_key_is_a_secret(tmp_path: Path) -> None:
    later = tmp_path / "master.key.2"
    later.write_bytes(b"a key")
    config = replace(CONFIG, master_key=KeySource("file", tmp_path / "master.key"))
    for path in (later, tmp_path):
        with pytest.raises(SandboxError, match="folders apart"):
            profile_for_loop(config, LoopConfig("third", read=(path,)), 1, FILES, rootless=False, code=())


def test_a_link_to_a_folder_with_secrets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "innocent").symlink_to(tmp_path / "state")
    config = replace(CONFIG, state_dir=tmp_path / "state")
    loop = LoopConfig("third", read=(tmp_path / "innocent",))
    with pytest.raises(SandboxError, match="folders apart"):
        profile_for_loop(config, loop, 1, FILES, rootless=False, code=())


def test_relative_paths_are_refused() -> None:
    with pytest.raises(SandboxError, match="must be absolute"):
        make("third", read=(Path("notes"),))


def test_waived_layers_are_known_ones() -> None:
    waived = replace(CONFIG, sandbox=SandboxConfig(waive={"net_namespace": "container"}))
    profile = profile_for_loop(waived, LoopConfig("third"), 1, FILES, rootless=False, code=CODE)
    assert profile.waived == {"net_namespace"}
    assert not profile.expects("net_namespace") and profile.expects("uid")
    unknown = replace(CONFIG, sandbox=SandboxConfig(waive={"netns": "typo"}))
    with pytest.raises(ConfigError, match="'netns'"):
        profile_for_authority(unknown, 1, FILES, rootless=False, code=CODE)


def test_the_digest_changes_with_every_field() -> None:
    base = make("third")
    others: dict[str, object] = {
        "name": "x", "uid": 1, "gid": 1, "rootless": True, "network": True, "proc": True, "sys": True,
        "read": (*base.read, Path("/x")), "write": ((BASE, "/state"),), "limits": {**base.limits, "core": 1},
        "kept": (*base.kept, Path("/x")), "layers": base.layers[:-1], "waived": frozenset({"uid"}),
        "egress": (parse_egress("192.0.2.7:443"),), "policy": make("forth").policy,
        "threads": 1, "disk_threads": 2, "keeps_root": True, "reopened": ("/dev",),
        "capabilities": ("CAP_NET_ADMIN",),
        "execute": (Path("/bin/sh"),), "scratch_mb": 4, "files": (("/etc/x.conf", "text"),), "secrets": ("broker",),
        "listen": (ListenLine("third/mine:in", "127.0.0.1:8883/tcp", False, -1, "", ""),),
        "sockets": ("/run/other.sock",), "buses": (("/run/bus", "/run/tlsrt/bus/x"),),
        "names": (NameRule("tcp", "example.org", 443, 443),), "hosts": Path("/x"), "is_background": True,
            "hidden": (Path("/h"),), "speaks_by_name": True,
    }  # fmt: skip
    assert set(others) | {"group"} == {field.name for field in fields(Profile)}
    digests = {replace(base, **{name: value}).digest() for name, value in others.items()}  # type: ignore[arg-type]
    assert len(digests | {base.digest()}) == len(others) + 1
    assert len(base.digest()) == 32


def test_the_digest_ignores_the_order_of_sets() -> None:
    base = make("third")
    turned = replace(base, read=base.read[::-1], write=base.write[::-1], limits=dict(list(base.limits.items())[::-1]))
    assert turned.digest() == base.digest()


def test_a_child_finds_its_filters_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making them takes longer than all other layers together."""
    profile = make("third")
    made = set(profile.policy._made)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert made and layers._filters(profile) is layers._filters(profile)
    assert set(profile.policy._made) == made


def test_code_paths_hold_the_code_and_not_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    stdlib = sysconfig.get_path("stdlib")
    monkeypatch.setattr(sys, "path", ["", "relative", "/does/not/exist.zip", stdlib])
    found = code_paths([Path("/opt/mine")])
    room = Path(os.path.realpath(tlsrt.sandbox.__path__[0]))
    assert found[0] == Path(stdlib) and found[-1] == Path("/opt/mine")
    assert room in found or room.parent in found  # a checkout, or installed below the package's own folder
    assert Path(os.path.realpath(Path(__file__).parents[4])) not in found
