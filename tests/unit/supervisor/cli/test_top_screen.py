"""The screen of `top` under Textual's pilot, with a feed of the test: keys, and words that try to steer it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from unit.supervisor.cli.test_top_rows import component, loop, status

from tlsrt.supervisor.cli.top_feed import News

if os.environ.get("CI") != "true":
    pytest.importorskip("textual", reason="textual is in the extras `tui` and `dev`")

from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from tlsrt.supervisor.cli.top_details import Details
from tlsrt.supervisor.cli.top_screen import EVENTS_FROM, Log, Question, TopScreen
from tlsrt.supervisor.cli.top_series import Bucket, Past, Series
from tlsrt.supervisor.cli.top_services import Kept

EVIL = "[red]x[/red]\x1b]0;owned\x07\n\x1b[2J[@click=app.quit]y[/]"


class ScriptedFeed:
    """Tells what the test says, and keeps what is asked."""

    def __init__(self) -> None:
        self.tell: Callable[[News], None] = lambda news: None
        self.asked: list[tuple[str, str]] = []
        self.is_stopped = False

    def start(self, tell: Callable[[News], None]) -> None:
        self.tell = tell

    def stop(self) -> None:
        self.is_stopped = True

    def change(self, verb: str, loop: str, tell: Callable[[News], None]) -> None:
        self.asked.append((verb, loop))

    def detail_of(self, subject: str, tell: Callable[[News], None]) -> None:
        self.asked.append(("detail", subject))
        tell(News(detail=(subject, (f"state of {subject}", EVIL, *map(str, range(40))))))

    def kept_of(self, subject: str, addresses: Sequence[str], tell: Callable[[News], None]) -> None:
        self.asked.append(("kept", " ".join(addresses)))

    def log_of(self, loop: str) -> list[str]:
        return [f"a line of {loop}", EVIL]


def played(play: Callable[[TopScreen, ScriptedFeed, Pilot[None]], Awaitable[None]]) -> ScriptedFeed:
    feed = ScriptedFeed()
    screen = TopScreen(feed, {})

    async def run() -> None:
        async with screen.run_test(size=(80, 24)) as pilot:
            feed.tell(News(status=document()))
            await pilot.pause()
            await play(screen, feed, pilot)

    asyncio.run(run())
    assert feed.is_stopped
    return feed


def document(*more: dict[str, Any]) -> dict[str, Any]:
    found = status(loop("third", memory_kib=900, components=[component("kettle")]), loop("forth"), *more)
    found["supervisor"] |= {"uptime_s": 5.0, "rootless": False}
    return {**found, "door": {"host": "127.0.0.1", "port": 7443, "locked": False}, "lock": None}


def kept_of_kettle() -> Kept:
    """Return what a captured component might keep."""
    hour, day = (Series(EVIL, 10.0, lasts_s, (Bucket(5.0, 21.0, 21.0, 21.0),)) for lasts_s in (3600.0, 86400.0))
    nothing = Series("lost", 10.0, 3600.0, ())
    return Kept("third/kettle", (Past(EVIL, (hour, day)), Past("lost", (nothing, nothing))))


def names(screen: TopScreen) -> list[str]:
    table = screen.query_one("#rows", DataTable)
    return [str(table.get_row_at(at)[0]) for at in range(table.row_count)]


def shown(screen: TopScreen) -> str:
    return "\n".join("".join(one.text for one in strip) for strip in screen.screen._compositor.render_strips())


def test_everything_stands_within_80_by_24() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        feed.tell(News(event=("an event of this host", "alarm")))
        await pilot.pause()
        picture = shown(screen)
        assert len(picture.splitlines()) == 24
        for words in (
            "tlsrt  pid 1",
            "all is well",
            "CALLS/S",
            "  kettle",
            "an event of this host",
            "q Quit",
            "x Stop",
        ):
            assert words in picture, words

    played(play)


def test_sort_and_filter() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        assert names(screen) == ["supervisor", "authority", "third", "  kettle", "forth"]
        await pilot.press("s")
        assert names(screen)[:2] == ["third", "  kettle"]
        await pilot.press("slash", *"kett", "enter")
        assert names(screen) == ["third", "  kettle"]
        await pilot.press("escape")
        assert len(names(screen)) == 5

    played(play)


def test_a_loop_is_stopped_after_yes_alone_and_the_one_that_was_chosen() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "down", "x")  # the component of third
        assert isinstance(screen.screen, Question)
        await pilot.press("enter")
        assert feed.asked == []
        await pilot.press("x")
        feed.tell(News(status=document(loop("a"))))
        await pilot.press("y")
        await pilot.press("u", "y")
        await pilot.press("up", "up", "x", "y")  # the authority
        assert not isinstance(screen.screen, Question)

    assert played(play).asked == [("stop_loop", "third"), ("start_loop", "third")]


def test_the_log_of_the_chosen_one() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "l")
        await pilot.pause()
        assert isinstance(screen.screen, Log)
        picture = shown(screen)
        assert "a line of third" in picture and r"[red]x[/red]\x1b]0;owned\x07\n" in picture and "\x1b" not in picture
        await pilot.press("q")
        assert not isinstance(screen.screen, Log)

    played(play)


def test_words_of_a_component_are_text_and_nothing_else() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        feed.tell(News(status=document(loop(EVIL, state="[red]", components=[component(EVIL)])), words=EVIL))
        feed.tell(News(event=(EVIL, "[bold]")))
        await pilot.pause()
        picture = shown(screen)
        assert len(picture.splitlines()) == 24 and "\x1b" not in picture and "\x07" not in picture
        assert "[red]x[/red]" in names(screen)[-1] and names(screen)[-1].isprintable()
        events = screen.query_one("#events", RichLog).lines
        assert len(events) == 1
        assert events[0].text.startswith(r"[red]x[/red]\x1b]0;owned\x07\n\x1b[2J[@click=app.quit]y[/]")
        said = screen.query_one("#said", Static).render()
        assert r"[red]x[/red]\x1b]0" in str(said)

    played(play)


def test_what_comes_while_the_screen_is_taken_down_is_left_out() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        await screen.query("#events").remove()
        feed.tell(News(event=("an event", "warning")))
        await pilot.pause()
        assert screen.is_running

    played(play)


def test_details_show_what_a_process_used_and_stay_up_to_date() -> None:
    usage = {"cpu_percent": 50.0, "frames_in_s": 20.0}

    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        await pilot.press("down", "down", "enter")
        await pilot.pause()
        assert isinstance(screen.screen, Details) and feed.asked == [("detail", "third"), ("kept", "third/kettle")]
        past = screen.screen.query_one("#past", Static)

        def numbers() -> dict[str, list[str]]:
            return {line.split()[0]: line.split()[-6:] for line in str(past.render()).splitlines()[1:]}

        assert numbers()["processor"] == ["processor", "-", "-", "-"]
        document_now = document()
        document_now["loops"][0]["usage"] = usage
        feed.tell(News(status=document_now))
        await pilot.pause()
        assert numbers()["processor"] == ["50.0", "%"] * 3 and numbers()["memory"] == ["900", "KiB"] * 3
        assert numbers()["frames"][-3:] == ["20/s"] * 3
        assert "state of third" in shown(screen) and "\x1b" not in shown(screen)
        log = screen.screen.query_one("#detail", RichLog)
        await pilot.press("pagedown")
        await pilot.pause()
        at = log.scroll_y
        assert at > 0
        feed.tell(News(detail=("forth", ("of another",))))
        feed.tell(News(detail=("third", ("changed", *map(str, range(40))))))
        await pilot.pause()
        assert log.scroll_y == at and log.lines[0].text == "changed"
        await pilot.press("escape", "down", "d")
        await pilot.pause()
        assert feed.asked[-2] == ("detail", "third/kettle")
        assert "process third" in shown(screen), "a component is not measured apart"
        assert ("kept", "third/kettle") in feed.asked
        past = screen.screen.query_one("#past", Static)
        feed.tell(News(kept=("forth/power", (Kept("forth/power", (), "of another"),))))
        feed.tell(News(kept=("third/kettle", (kept_of_kettle(), Kept("third/pot", (), f"no history: {EVIL}")))))
        await pilot.pause()
        said = str(past.render())
        assert next(line for line in said.splitlines() if line.startswith("[red]x[/r")).split()[-3:] == ["21"] * 3
        assert "third/kettle knows nothing of lost" in said and "third/pot: no history: [red]x" in said
        assert "of another" not in said and "\x1b" not in shown(screen) and len(shown(screen).splitlines()) == 24
        await pilot.press("q")

    played(play)


def test_the_host_has_its_bars_and_rows_have_them_where_there_is_room() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        table = screen.query_one("#rows", DataTable)
        assert len(table.ordered_columns) == 8
        assert "processor            -  memory          █ 920 KiB  frames            -" in shown(screen)
        await pilot.resize_terminal(120, 24)
        await pilot.pause()
        assert [str(table.get_row_at(at)[8]).strip() for at in range(table.row_count)] == [""] * 5
        usage = {"cpu_percent": 50.0, "frames_in_s": 20.0}
        feed.tell(News(status=document(loop("fifth", usage=usage))))
        await pilot.pause()
        assert str(table.get_row_at(5)[8]).strip() == "█"

    played(play)


def test_a_screen_of_any_size_has_its_rows_and_takes_news_while_it_changes() -> None:
    async def play(screen: TopScreen, feed: ScriptedFeed, pilot: Pilot[None]) -> None:
        for width, height in ((120, 30), (60, 16), (40, 12), (20, 6), (10, 4), (1, 1), (80, 24)):
            await pilot.resize_terminal(width, height)
            feed.tell(News(status=document(loop("fifth"))))
            await pilot.pause()
            assert screen.query_one("#events").display is (height >= EVENTS_FROM)
            lines = shown(screen).splitlines()
            assert len(lines) == height and all(len(line) == width for line in lines)
            if height >= 12:
                assert "supervisor" in shown(screen)
        assert "CALLS/S" in shown(screen)

    played(play)
