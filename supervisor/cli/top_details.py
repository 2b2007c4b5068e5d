"""One process or component on the screen of `top`: the last minute, hour and day of it, and all that is said of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Footer, RichLog, Static

from tlsrt.supervisor.cli.top_services import Kept

DETAIL_S = 2.0  # between two looks at the details of one subject
KEPT_S = 10.0  # and at what its services have kept, whose buckets are as long


class Details(ModalScreen[None]):
    """A subject, its numbers as bars, and what `status SUBJECT` says of it; all are kept up to date."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,d", "dismiss", "Back")]
    CSS = """
    Details { background: $background; }
    #subject, #past { height: auto; } #past { max-height: 70%; } #detail { height: 1fr; overflow-x: hidden; }
    """

    def __init__(
        self, subject: str, process: str, ask: Callable[[], None], ask_kept: Callable[[], None],
        cleaned: Callable[[str], str],
    ) -> None:  # fmt: skip
        super().__init__()
        self.subject = subject
        self.process = process
        self.kept: Sequence[Kept] = ()
        self._ask = ask
        self._ask_kept = ask_kept
        self._cleaned = cleaned
        self._lines: tuple[str, ...] = ()
        self._past = ""
        self._asked = self._asked_kept = -KEPT_S

    def compose(self) -> ComposeResult:
        words = f"{self.subject}  (process {self.process}, as seen since this screen began)"
        yield Static(Text(self._cleaned(words), style="bold", no_wrap=True), id="subject")
        yield Static(Text(""), id="past")
        yield RichLog(id="detail", wrap=True, min_width=1, markup=False, highlight=False)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#detail").focus()
        self.look_again()

    def look_again(self) -> None:
        """Ask once more, if the last time was long enough ago."""
        now = time.monotonic()
        if now - self._asked >= DETAIL_S:
            self._asked = now
            self._ask()
        if now - self._asked_kept >= KEPT_S:
            self._asked_kept = now
            self._ask_kept()

    def show_past(self, lines: Sequence[str]) -> None:
        """Show the bars."""
        if (past := "\n".join(lines)) != self._past:
            self._past = past
            self.query_one("#past", Static).update(Text(past, no_wrap=True))

    def show(self, lines: tuple[str, ...]) -> None:
        """Show the details, and stay at the line where the reader is."""
        if lines != self._lines:
            self._lines = lines
            log = self.query_one("#detail", RichLog)
            at = log.scroll_y
            log.clear()
            for line in lines:
                log.write(Text(self._cleaned(line)), scroll_end=False)
            log.scroll_to(y=at, animate=False)
