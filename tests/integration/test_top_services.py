"""What `top` asks of services on a real host: with the rights of the operator who types it, and no others."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator

import pytest
from hosts.running_host import RunningHost, running

from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.top_services import Services, operator_bundle

if os.environ.get("CI") != "true":
    pytest.importorskip("textual", reason="textual is in the extras `tui` and `dev`")

from hosts.terminal_screen import TerminalScreen

NETWORK, POWER = "external/network", "forth/power"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(
        request, clients=("guest", "looker"), policy={f"client/looker -> {NETWORK}": ["history", "describe"]}
    )


def services_of(host: RunningHost, client: str) -> Services:
    return Services(lambda: (host.bundle(client), None))


def refused(host: RunningHost) -> dict[str, int]:
    return {one["name"]: one["frames"]["refused"] for one in host.status()["loops"]}


def test_what_network_and_power_have_kept_is_had_with_the_right_to_it(host: RunningHost) -> None:
    services = services_of(host, "admin")
    try:
        network, power, store = services.kept([NETWORK, POWER, "secondary/store"])
    finally:
        services.close()
    assert [past.name for past in network.pasts] == ["received", "sent", "dropped"] and network.words == ""
    assert [past.name for past in power.pasts] == ["charge", "watts", "celsius"]
    assert [one.lasts_s for one in network.pasts[0].spans] == [3600.0, 86400.0]
    assert store == ("secondary/store", (), ""), "a history that is another thing is not asked for"


def test_who_may_not_call_a_service_is_told_so_and_tries_nothing(host: RunningHost) -> None:
    guest, looker = services_of(host, "guest"), services_of(host, "looker")
    try:
        (network,) = guest.kept([NETWORK])
        seen, power = looker.kept([NETWORK, POWER])
        before = refused(host)
        for _ in range(5):
            guest.kept([NETWORK])
    finally:
        guest.close()
        looker.close()
    assert network == (NETWORK, (), "no history: client/guest may not call external/network history")
    assert seen.pasts and power.words == "no history: client/looker may not call forth/power history"
    assert refused(host) == before, "nothing was refused, so nothing counts against the client"


def test_a_bundle_of_another_host_and_none_at_all_are_sentences(
    host: RunningHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(host.base / "nothing"))
    monkeypatch.delenv("TLSRT_BUNDLE", raising=False)
    monkeypatch.chdir(host.base)
    named = argparse.Namespace(bundle=str(host.folder / "admin.tlsrt"))
    assert operator_bundle(named, host.admin.install_id)[0].name == "admin"
    with pytest.raises(ConfigError, match=r"admin\.tlsrt is of another host: name a bundle of this one with --bundle"):
        operator_bundle(named, bytes(16))
    services = Services(lambda: operator_bundle(argparse.Namespace(bundle=None), host.admin.install_id))
    (network,) = services.kept([NETWORK])
    assert network.words.startswith("no history: there is no client bundle") and "\n" not in network.words


@pytest.mark.parametrize(
    ("client", "term", "words"),
    [
        ("admin", "xterm-256color", ("received", "sent", "dropped")),
        ("admin", "vt220", ("received", "sent", "dropped")),
        ("guest", "vt220", (f"{NETWORK}: no history: client/guest may not call",)),
    ],
)
def test_at_a_terminal_the_details_of_network_have_its_traffic_or_say_why_not(
    host: RunningHost, client: str, term: str, words: tuple[str, ...]
) -> None:
    command = host.command("top", "--interval", "0.2", "--bundle", str(host.folder / f"{client}.tlsrt"))
    terminal = TerminalScreen(command, host.base, {**os.environ, "TERM": term, "LC_ALL": "C.UTF-8"})
    try:
        terminal.wait_for("third", "CALLS/S")
        terminal.press(b"/")
        terminal.wait_for("a part of a name")
        terminal.press(b"network")
        terminal.wait_until(lambda: "secondary" not in terminal.text)
        terminal.press(b"\r")
        terminal.wait_for("q Quit")
        terminal.press(b"\x1b[Bd")
        terminal.wait_for(f"{NETWORK}  (process external", "just now", "last hour", "last day", "lateness", *words)
        terminal.press(b"qq")
        assert terminal.end() == 0
    finally:
        terminal.close()
    if term == "vt220":
        styles = set(re.findall(rb"\x1b\[([0-9;]*)m", terminal.written))
        assert terminal.written.isascii() and styles <= {b"0", b"1", b"4", b"7", b"1;7"}, "no colour"
