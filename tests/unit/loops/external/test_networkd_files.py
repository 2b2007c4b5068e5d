"""Files of systemd-networkd: what they say, and that exactly ours lie in the folder."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tlsrt import Failed
from tlsrt.loops.external.interface_state import DeclaredInterface, DeclaredRoute
from tlsrt.loops.external.networkd_files import files_of, write_files
from tlsrt.loops.external.networkd_folder import NetworkdFolder

ALL = DeclaredInterface(
    up=True, mtu=1400, addresses=("192.0.2.1/24", "2001:db8::1/64"),
    routes=(DeclaredRoute(to="default", via="192.0.2.254", metric=50), DeclaredRoute(to="198.51.100.0/24")),
)  # fmt: skip
FILE = """[Match]
Name=eth1

[Link]
ActivationPolicy=up
MTUBytes=1400

[Network]
Address=192.0.2.1/24
Address=2001:db8::1/64

[Route]
Destination=0.0.0.0/0
Protocol=117
Gateway=192.0.2.254
Metric=50

[Route]
Destination=198.51.100.0/24
Protocol=117
"""


def test_all_that_is_declared_is_said() -> None:
    ((name, text),) = files_of({"eth1": ALL}).items()
    assert name == "10-tlsrt-eth1.network"
    assert text.startswith("# Written by tlsrt") and text.partition("\n")[2] == FILE


def test_what_is_not_said_stays_as_it_is() -> None:
    text = files_of({"eth1": DeclaredInterface()})["10-tlsrt-eth1.network"]
    assert "ActivationPolicy=manual\n" in text and "KeepConfiguration=static\n" in text and "MTUBytes" not in text
    assert "KeepConfiguration" not in files_of({"eth1": DeclaredInterface(addresses=(), routes=())}).popitem()[1]


def test_exactly_ours_are_there_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "05-own.network").write_text("own")
    (tmp_path / "10-tlsrt-old.network").write_text("old")
    (tmp_path / "10-tlsrt-unfinished").write_text("of a crash")
    secret = tmp_path.parent / "secret"
    secret.write_text("secret")
    (tmp_path / "10-tlsrt-eth1.network").symlink_to(secret)
    wanted = files_of({"eth1": ALL})
    assert write_files(tmp_path, wanted)
    assert {path.name for path in tmp_path.iterdir()} == {"05-own.network", "10-tlsrt-eth1.network"}
    made = tmp_path / "10-tlsrt-eth1.network"
    assert made.read_text() == wanted[made.name] and not made.is_symlink() and secret.read_text() == "secret"
    assert stat.S_IMODE(made.stat().st_mode) == 0o644
    assert not write_files(tmp_path, wanted), "what lies there already is not written again"
    assert write_files(tmp_path, {}) and {path.name for path in tmp_path.iterdir()} == {"05-own.network"}


async def here(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def test_a_folder_that_is_not_granted_is_a_sentence_and_none_is_nothing(tmp_path: Path) -> None:
    folder = NetworkdFolder(str(tmp_path / "none"), here)
    with pytest.raises(Failed, match="grant it under `write`"):
        asyncio.run(folder.keep({"eth1": ALL}))
    nothing = NetworkdFolder("", here)
    assert not asyncio.run(nothing.keep({"eth1": ALL})) and nothing.status is None
