"""Another master key, and whoever dies meanwhile: the host comes up with the old one or the new one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hosts.late_prelude import LatePrelude
from hosts.row_sampling import rows
from hosts.running_host import RunningHost

from tlsrt import Client
from tlsrt.config import key_rotation
from tlsrt.config.bundle import read_bundle

UNAME = ("primary/kernel", "uname")
AT = {
    "the supervisor before the switch": ("tlsrt.supervisor.reload.key_rotation", "switch", "before", 1),
    "the supervisor after the switch": ("tlsrt.supervisor.reload.key_rotation", "switch", "after", 2),
    "the supervisor once the epoch is asked for": (
        "tlsrt.supervisor.supervision.authority_channel:AuthorityChannel", "rotate", "after", 2,
    ),
    "the authority before it has checked": (
        "tlsrt.supervisor.authority.master_key_rotation:MasterKeyRotation", "check", "before", 1,
    ),
    "the authority after it has checked": (
        "tlsrt.supervisor.authority.master_key_rotation:MasterKeyRotation", "check", "after", 1,
    ),
    "the authority before its state is written": (
        "tlsrt.supervisor.authority.master_key_rotation:MasterKeyRotation", "take", "after", 2,
    ),
    "the authority after its state is written": (
        "tlsrt.supervisor.authority.keys.key_ring:KeyRing", "take", "before", 2,
    ),
}  # fmt: skip


def prelude(owner: str, name: str, when: str) -> str:
    """Return code that kills a process once, in this function, of all that are forked from here."""
    where, _, kind = owner.partition(":")
    holder = f"module.{kind}" if kind else "module"
    return f"""
import importlib, mmap, os
module = importlib.import_module({where!r})
real = {holder}.{name}
def stop(*arguments, **named):
    armed = {name != "rotate"} or named.get("with_keys")
    if armed and {when == "before"}:
        os._exit(9) if burn() else None
    result = real(*arguments, **named)
    if armed and {when == "after"}:
        os._exit(9) if burn() else None
    return result
spent = mmap.mmap(-1, 1)  # shared by all that are forked
def burn():
    is_first, spent[0] = not spent[0], 1
    return is_first
{holder}.{name} = stop
"""


@pytest.mark.parametrize(
    "point",
    rows(AT, stress={
        "the supervisor before the switch", "the supervisor once the epoch is asked for",
        "the authority after it has checked",
    }),
)  # fmt: skip
def test_whoever_is_killed_the_host_has_the_old_key_or_the_new_one(point: str) -> None:
    owner, name, when, expected = AT[point]
    with RunningHost(prelude=LatePrelude(prelude(owner, name, when))) as host:
        old = Path(shutil.copy(host.folder / "admin.tlsrt", host.base / "old.tlsrt"))
        done = host.cli("rotate", "--master")
        if point.startswith("the supervisor"):
            assert done.returncode in (3, 69), done.stderr
            host.stop()
            host.prelude = ""
            host.start()
        elif expected == 1:
            assert done.returncode == 78
            assert "so nothing was changed: rotate again" in done.stderr
        else:
            assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert key_rotation.version_in_force(host.config) == expected
        host.until(lambda document: document["authority"]["state"] == "active", "an authority that serves")
        assert host.status()["keys"]["key_version"] == expected
        with Client(old) as client:
            assert client.call(*UNAME, timeout_s=20, idempotent=True)["system"] == "Linux"
        assert read_bundle(old).issuer_version == expected
        assert [path.name for path in host.folder.glob("master.key*")] == [
            "master.key" if expected == 1 else "master.key.2"
        ]
        assert not [*host.folder.glob("boot.token.*")]
