"""What systemd-resolved says, also when it lies; and what is told without it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external import bus_question
from tlsrt.loops.external.link_speeds import LinkSpeeds
from tlsrt.loops.external.network import Network
from tlsrt.loops.external.resolved import resolved_untrusted
from tlsrt.testing import running

LINKS = {2: "eth0"}
ANYTHING: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.binary(max_size=17),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


def test_servers_and_domains_by_link() -> None:
    said = {
        "DNS": [[2, 2, bytes([192, 0, 2, 53])], [0, 10, bytes(15) + b"\1"], [2, 2, b"short"]],
        "Domains": [[2, "lan", False], [0, "corp.test", True], [2, "\x1b[31m", False]],
        "CurrentDNSServer": [2, 2, bytes([192, 0, 2, 53])],
    }
    first = {"address": "192.0.2.53", "interface": "eth0"}
    assert resolved_untrusted(said, LINKS) == {
        "servers": [first, {"address": "::1", "interface": None}],
        "domains": [
            {"domain": "lan", "interface": "eth0", "only_routes": False},
            {"domain": "corp.test", "interface": None, "only_routes": True},
        ],
        "asked_last": first,
    }


@given(st.dictionaries(st.sampled_from(["DNS", "Domains", "CurrentDNSServer"]), ANYTHING))
def test_any_answer_is_facts(said: dict[str, Any]) -> None:
    assert set(resolved_untrusted(said, LINKS)) == {"servers", "domains", "asked_last"}


def test_without_it_resolv_conf_is_told_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\nsearch lan\n")
    monkeypatch.setattr(Network, "etc", tmp_path)

    async def told(options: dict[str, Any]) -> dict[str, Any]:
        async with running(Network, options=options) as host:
            found: dict[str, Any] = await host.call("dns")
            return found

    found = asyncio.run(told({}))
    assert found["by"] == "resolv.conf" and "resolved: true" in found.pop("why_not")
    assert found["servers"] == [{"address": "192.0.2.53", "interface": None}] and found["stub"] is False
    assert found["domains"] == [{"domain": "lan", "interface": None, "only_routes": False}]
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    again = asyncio.run(told({"resolved": True}))
    assert (again.pop("why_not") or "").startswith(("there is no system bus", "it needs dbus-fast"))
    assert again == found
    (tmp_path / "resolv.conf").unlink()
    assert asyncio.run(told({}))["by"] is None


def test_the_library_of_the_bus_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dbus_fast.aio", None)
    assert not bus_question.load()


def test_speeds_are_those_that_psutil_finds() -> None:
    speeds = LinkSpeeds()
    names = [name.encode() for name in psutil.net_if_stats()]
    found = {name.decode(): speed for name, speed in speeds.of([*names, b"none", b"x" * 40]).items()}
    assert found == {name: one.speed for name, one in psutil.net_if_stats().items() if one.speed}
    speeds.close()


def test_a_name_of_an_interface_with_odd_bytes_is_told_by_all_methods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = b"\x1b\xff0"
    (tmp_path / "net").mkdir()
    (tmp_path / "net/dev").write_bytes(b"head\nhead\n" + odd + b": " + b"1 " * 16 + b"\n")
    (tmp_path / "net/route").write_bytes(b"head\n" + odd + b" 00000000 0102000A 0003 0 0 0 00000000 0 0 0\n")
    monkeypatch.setattr(Network, "proc", tmp_path)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {odd.decode("utf-8", "surrogateescape"): []})
    monkeypatch.setattr(psutil, "net_if_stats", dict)

    async def told(method: str) -> Any:
        async with running(Network) as host:
            return await host.call(method)

    (interface,) = asyncio.run(told("interfaces"))
    assert interface["name"] == "\\x1b\\xff0"
    (route,) = asyncio.run(told("routes"))
    assert route["interface"].startswith("\\x1b") and route["interface"].isascii()
