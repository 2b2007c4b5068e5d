"""The screen of `top`, by Textual: the extra `tui`.

Words from the host stand in `Text` only, which knows no markup, and were escaped before: nothing that a component says
steers the screen or the terminal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.events import Resize
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import DataTable, Footer, Input, RichLog, Static

from tlsrt.supervisor.cli.status import header
from tlsrt.supervisor.cli.status_table import summary
from tlsrt.supervisor.cli.top_details import Details
from tlsrt.supervisor.cli.top_feed import EVENTS_SHOWN, News
from tlsrt.supervisor.cli.top_history import SHOWN, History
from tlsrt.supervisor.cli.top_rows import (
    COLUMNS,
    ORDERS,
    SUPERVISOR,
    WIDE,
    WORDS,
    Row,
    arranged,
    columns_for,
    fitted,
    rows_of,
)
from tlsrt.supervisor.cli.top_series import amount, table_lines
from tlsrt.supervisor.cli.top_services import Kept
from tlsrt.supervisor.cli.top_terminal import MODERN, QuietDriver, Terminal
from tlsrt.text import ascii_only, printable

_STYLES = {"warning": "yellow", "alarm": "red"}
_SCROLLBAR = 2
EVENTS_FROM = 16  # lines of a screen: a lower one has rows alone
_STATUS = "third/status"  # which keeps the history of the host as a whole
_LOOK_S = 1.0  # between looks whether the terminal is still there
_SPANS = ("just now", "last hour", "last day")
_HOST = frozenset({SUPERVISOR, "authority"})  # which are not stopped alone


class Feed(Protocol):
    """Where news come from, and who carries out what is asked."""

    def start(self, tell: Callable[[News], None]) -> None: ...

    def stop(self) -> None: ...

    def change(self, verb: str, loop: str, tell: Callable[[News], None]) -> None: ...

    def detail_of(self, subject: str, tell: Callable[[News], None]) -> None: ...

    def kept_of(self, subject: str, addresses: Sequence[str], tell: Callable[[News], None]) -> None: ...

    def log_of(self, loop: str) -> list[str]: ...


class Told(Message):
    """News, brought into the thread of the screen."""

    def __init__(self, news: News) -> None:
        super().__init__()
        self.news = news


class Question(ModalScreen[bool]):
    """A question that only `y` says yes to."""

    DEFAULT_CSS = "Question { align: center middle; } Question > Static { width: 64; height: auto; border: solid; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "Yes"), Binding("n,escape,q,enter", "dismiss(False)", "No"),
    ]  # fmt: skip

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{self._words}\n\ny: yes   n: no"))


class Log(ModalScreen[None]):
    """The last lines of a log."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,l", "dismiss", "Back")]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        yield Static(Text(self._title))
        yield RichLog(wrap=True, min_width=1, markup=False, highlight=False)
        yield Footer()

    def on_mount(self) -> None:
        log = self.query_one(RichLog)
        for line in self._lines:
            log.write(Text(printable(line, keep="\t")))
        log.focus()


class TopScreen(App[None]):
    """Processes, components and programs of a host, and its events below."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #host, #said { height: auto; max-height: 4; }
    #rows { height: 1fr; overflow-x: hidden; }
    #events { height: 30%; min-height: 5; border-top: solid; overflow-x: hidden; }
    #filter { height: 3; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "sort", "Sort"), Binding("slash", "filter", "Filter", key_display="/", priority=True),
        Binding("x", "change('stop_loop')", "Stop"), Binding("u", "change('start_loop')", "Start"),
        Binding("d", "details", "Details"), Binding("l", "log", "Log"), Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False),
        Binding("escape", "all", show=False, priority=True), Binding("enter", "filtered", show=False, priority=True),
    ]  # fmt: skip

    def __init__(
        self, feed: Feed, environment: Mapping[str, str] = os.environ, terminal: Terminal = MODERN
    ) -> None:  # fmt: skip
        # In the terminal's own colours, Textual leaves all colours out for NO_COLOR; else it makes them grey.
        super().__init__(ansi_color=True if environment.get("NO_COLOR") else None, driver_class=QuietDriver)
        self.terminal = terminal
        self._feed = feed
        self._rows: list[Row] = []
        self._shown: list[Row] = []
        self._order = ORDERS[0]
        self._wanted = ""
        self._history = History()
        self._is_plain = terminal.is_ascii
        self._is_lost = False

    def compose(self) -> ComposeResult:
        yield Static(Text("waiting for the host"), id="host")
        table: DataTable[Text] = DataTable(id="rows", cursor_type="row", cell_padding=0)
        yield table
        yield RichLog(id="events", max_lines=EVENTS_SHOWN, wrap=True, min_width=1, markup=False, highlight=False)
        yield Static(Text(""), id="said")
        yield Input(id="filter", placeholder="a part of a name or a state")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#events").can_focus = False
        self.query_one("#rows").focus()
        self._feed.start(self._tell)
        self.set_interval(_LOOK_S, self._leave_what_is_gone)

    def _leave_what_is_gone(self) -> None:
        if isinstance(self._driver, QuietDriver) and self._driver.is_gone:
            self.exit()

    def on_unmount(self) -> None:
        self._feed.stop()

    def on_resize(self, resized: Resize) -> None:
        if isinstance(self._driver, QuietDriver):
            self._driver.resized(*resized.size)
        self.query_one("#events").display = resized.size.height >= EVENTS_FROM
        self.call_later(lambda: self._redraw(anew=True))  # its size is the new one when the handlers are through

    def on_told(self, told: Told) -> None:
        """Show what was heard."""
        with suppress(NoMatches):  # what shows it is taken down already, while the feed ends
            self._show(told.news)

    def _show(self, news: News) -> None:
        if news.status is not None:
            self._take(news.status)
        if news.event is not None:
            line, severity = news.event
            self.query_one("#events", RichLog).write(Text(self._cleaned(line), style=_STYLES.get(severity, "")))
        if news.detail is not None and (details := self._details()) and details.subject == news.detail[0]:
            details.show(news.detail[1])
        if news.kept is not None and (details := self._details()) and details.subject == news.kept[0]:
            details.kept = news.kept[1]
            self._show_past()
        if news.words is not None:
            self._is_lost = news.is_lost
            self._say(news.words)

    def on_input_changed(self, changed: Input.Changed) -> None:
        """Filter as the words are typed."""
        self._wanted = changed.value
        self._redraw()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Tell whether a key is for the filter now: judged here, key by key, or what was typed ahead goes elsewhere."""
        if action not in ("filter", "filtered", "all"):
            return True
        is_asked = isinstance(self.focused, Input)
        return len(self.screen_stack) == 1 and (action == "all" or is_asked == (action == "filtered"))

    def action_filtered(self) -> None:
        """Go back to the rows, with the filter."""
        self.query_one("#filter").styles.display = "none"
        self.set_focus(self.query_one("#rows"))

    def action_filter(self) -> None:
        """Ask for a filter."""
        field = self.query_one("#filter", Input)
        field.styles.display = "block"
        self.set_focus(field)  # at once: over a slow line the next keys are here already

    def action_all(self) -> None:
        """Show all rows again."""
        self.query_one("#filter", Input).value = ""
        self.action_filtered()

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self._say(f"sorted by {self._order}")
        self._redraw()

    def action_change(self, verb: str) -> None:
        """Stop or start the loop of the chosen row, after a question."""
        row = self._chosen()
        if row is None:
            return
        if row.loop in _HOST:
            self._say(f"{row.loop} cannot be stopped alone: `tlsrt-supervisor stop` stops the host")
            return
        loop, name = row.loop, printable(row.loop, 120)
        words = f"Stop {name}? Calls to it fail until it is started again." if verb == "stop_loop" else f"Start {name}?"

        def answered(is_meant: bool | None) -> None:
            if is_meant:
                self._say(f"{name}: asked for")
                self._feed.change(verb, loop, self._tell)

        self.push_screen(Question(words), answered)

    def on_data_table_row_selected(self) -> None:
        """Do on Enter what `d` does."""
        self.action_details()

    def action_details(self) -> None:
        """Show the details of the chosen row."""
        if (row := self._chosen()) is None:
            return
        subject, addresses = row.subject, self._services_of(row)

        def ask() -> None:
            self._feed.detail_of(subject, self._tell)

        def ask_kept() -> None:
            if addresses:
                self._feed.kept_of(subject, addresses, self._tell)

        self.push_screen(Details(subject, row.loop, ask, ask_kept, self._cleaned))
        self.call_later(self._show_past)

    def _services_of(self, row: Row) -> tuple[str, ...]:
        if row.loop != SUPERVISOR:
            return row.services
        return tuple(one for each in self._rows for one in each.services if one == _STATUS)

    def action_log(self) -> None:
        """Show the log of the chosen row's process."""
        if (row := self._chosen()) is not None:
            self.push_screen(Log(f"log of {printable(row.loop, 120)}", self._feed.log_of(row.loop)))

    def _tell(self, news: News) -> None:
        self.post_message(Told(news))

    def _cleaned(self, text: str) -> str:
        """Return words of the host as one harmless line, in ASCII where the terminal has no more."""
        return ascii_only(text.expandtabs()) if self._is_plain else printable(text.expandtabs())

    def _say(self, words: str) -> None:
        self.query_one("#said", Static).update(Text(self._cleaned(words)))

    def _take(self, status: dict[str, Any]) -> None:
        self._rows = rows_of(status)
        self._history.add(self._rows, time.monotonic())
        bars = min(10, max(1, (self.size.width - 50) // 3))
        used = "  ".join(self._used(name, self._history.of_host(name), bars) for name in SHOWN)
        host = f"{printable(header(status))}\n{printable(summary(status))}\n{used}"
        self.query_one("#host", Static).update(Text(host, no_wrap=True))
        if (details := self._details()) is not None:
            details.look_again()
            self._show_past()
        if self._is_lost:
            self._is_lost = False
            self._say("")
        self._redraw()

    def _details(self) -> Details | None:
        return self.screen if isinstance(self.screen, Details) else None

    def _show_past(self) -> None:
        """Show the bars of what is looked at: its process as it was seen from here, and what services have kept."""
        if (details := self._details()) is None:
            return
        width = self.size.width
        process = None if details.process == SUPERVISOR else details.process
        pasts = self._history.past(process, time.monotonic())
        lines = list[str]()
        if pasts:
            lines += table_lines(pasts, _SPANS, width, is_plain=self._is_plain)
        for one in details.kept:
            lines += self._kept_lines(one, width)
        details.show_past(lines)

    def _kept_lines(self, kept: Kept, width: int) -> list[str]:
        """Return the lines of one service; kinds of which it knows nothing are named only."""
        if kept.words:
            return [self._cleaned(f"{kept.address}: {kept.words}")]
        known = [past for past in kept.pasts if any(one.buckets for one in past.spans)]
        lines = table_lines(known, _SPANS, width, is_plain=self._is_plain)[1:]
        unknown = ", ".join(past.name for past in kept.pasts if past not in known)
        return [self._cleaned(f"{kept.address} knows nothing of {unknown}")[:width], *lines] if unknown else lines

    def _used(self, name: str, values: Sequence[float | None], width: int, padding: int = 0) -> str:
        bars = self._history.line(values, name, width, is_plain=self._is_plain)
        last = values[-1] if values else None
        return f"{name:{padding}} {bars} {amount(name, last) if last is not None else '-'}"

    def _chosen(self) -> Row | None:
        at = self.query_one("#rows", DataTable).cursor_row
        return self._shown[at] if 0 <= at < len(self._shown) else None

    def _redraw(self, *, anew: bool = False) -> None:
        """Show the rows; where they stand as before, only what has changed, so that nothing flickers."""
        table: DataTable[Text] = self.query_one("#rows", DataTable)
        before, chosen = self._shown, self._chosen()
        self._shown = arranged(self._rows, self._order, self._wanted)
        anew = anew or len(table.ordered_columns) != len(self._columns())
        if anew or [row.key for row in before] != [row.key for row in self._shown]:
            self._fill(table, chosen)
            return
        for at, (old, row) in enumerate(zip(before, self._shown, strict=True)):
            if old != row or len(table.ordered_columns) > len(COLUMNS):  # the bars move each time
                for column, cell in zip(table.ordered_columns, self._cells(row), strict=True):
                    table.update_cell(table.ordered_rows[at].key, column.key, cell)

    def _fill(self, table: DataTable[Text], chosen: Row | None) -> None:
        table.clear(columns=True)
        for _, title, width in self._columns():
            table.add_column(Text(title, justify="left" if title in WORDS else "right"), width=width)
        for row in self._shown:
            table.add_row(*self._cells(row))
        keys = [row.key for row in self._shown]
        if chosen is not None and chosen.key in keys:
            table.move_cursor(row=keys.index(chosen.key))

    def _columns(self) -> list[tuple[int, str, int]]:
        return columns_for(self.size.width - _SCROLLBAR)

    def _cells(self, row: Row) -> list[Text]:
        lately = ""
        if row.key == f"process {row.loop}":
            values = self._history.of(row.loop, SHOWN[0])
            lately = self._history.line(values, SHOWN[0], WIDE[1] - 1, is_plain=self._is_plain)
        cells = (*row.cells, lately)
        return [
            Text(
                fitted(cells[at], width - 1 if title in WORDS else width),
                style="red" if title == "STATE" and not row.is_fine else "",
                justify="left" if title in WORDS else "right",
            )
            for at, title, width in self._columns()
        ]
