"""The screen of `top` on a real host: under Textual's pilot, over a restart of the host, and in a pseudo-terminal."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator

import pytest
from hosts.running_host import RunningHost, running

from tlsrt.config.load import load_config
from tlsrt.supervisor.cli.top_feed import HostFeed

if os.environ.get("CI") != "true":
    pytest.importorskip("textual", reason="textual is in the extras `tui` and `dev`")

from hosts.terminal_screen import TerminalScreen
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from tlsrt.supervisor.cli.top_screen import TopScreen

_WAIT_S = 20.0
_COLOUR = re.compile(rb"\x1b\[[0-9;]*\b(?:3[0-7]|38|4[0-7]|48|9[0-7]|10[0-7])(?:;[0-9;]*)?m")


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    yield from running(request)


async def until(pilot: Pilot[None], is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + _WAIT_S
    while not is_so():
        assert time.monotonic() < end
        await pilot.pause(0.05)


def test_the_screen_follows_the_host_stops_a_loop_and_comes_back_after_a_restart(host: RunningHost) -> None:
    feed = HostFeed(load_config(host.config_path), 0.2, lambda subject: [subject], lambda addresses: [])
    screen = TopScreen(feed, {})

    def row(name: str) -> list[str]:
        table = screen.query_one("#rows", DataTable)
        rows = [[str(cell) for cell in table.get_row_at(at)] for at in range(table.row_count)]
        return next((one for one in rows if one[0] == name), [""] * 8)

    def has_event(words: str) -> bool:
        return any(words in line.text for line in screen.query_one("#events", RichLog).lines)

    async def play() -> None:
        async with screen.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: row("third")[1] == "active" and row("third")[4] != "-")
            assert row("third")[2] == str(host.pids()["third"])
            assert row("third")[6].endswith(" s") and row("primary")[7].isdigit()
            await until(pilot, lambda: has_event("ready"))
            await pilot.press("slash", *"third", "enter", "x", "y")
            await until(pilot, lambda: row("third")[1] == "stopped")
            await pilot.press("u", "y")
            await until(pilot, lambda: row("third")[1] == "active")
            await pilot.press("escape")
            before = row("supervisor")[2]
            host.stop()
            said = screen.query_one("#said", Static)
            await until(pilot, lambda: "trying again" in str(said.render()))
            host.start()
            await until(pilot, lambda: row("supervisor")[2] not in ("", before))
            assert "trying again" not in str(said.render())

    asyncio.run(play())


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_at_a_terminal_it_is_a_screen_until_q(host: RunningHost, no_colour: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm-256color"}
    environment |= {"NO_COLOR": no_colour} if no_colour else {}
    terminal = TerminalScreen(host.command("top", "--interval", "0.2"), host.base, environment)
    try:
        terminal.wait_for("third", "CALLS/S")
        terminal.press(b"\x1b[B\x1b[Bd")
        terminal.wait_for("seccomp_sealed")  # the details of the row below the authority
        terminal.press(b"qq")
        assert terminal.end() == 0
    finally:
        terminal.close()
    assert b"\x1b[?1049h" in terminal.written  # the other page of the terminal, so that what stood there comes back
    assert bool(_COLOUR.search(terminal.written)) is not bool(no_colour)


@pytest.mark.parametrize("runs", [True, False])
def test_it_ends_with_its_terminal_also_without_a_signal(host: RunningHost, runs: bool) -> None:
    """Else it read its end again and again, measured as 64 % of a processor, for as long as the machine ran."""
    terminal = TerminalScreen(host.command("top", "--interval", "0.2"), host.base, {**os.environ, "TERM": "xterm"})
    try:
        terminal.wait_for("third", "CALLS/S")
        if not runs:
            host.stop()
            terminal.wait_for("trying again")
        terminal.hang_up()
        assert terminal.process.wait(_WAIT_S) == 0
    finally:
        terminal.close()
        if not runs:
            host.start()
