"""Who hears what the authority says, and what becomes of it: callbacks, which whoever is concerned replaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class AuthorityHooks:
    """The callbacks. Those of the first block are called by its process, those of the second for a message."""

    def __init__(self) -> None:
        self.on_booted: Callable[[], None] = lambda: None
        self.on_epoch: Callable[[], None] = lambda: None
        self.on_refused: Callable[[list[str]], None] = lambda sentences: None
        self.on_unconfined: Callable[[str], None] = lambda reason: None
        self.on_given_up: Callable[[], None] = lambda: None
        self.on_lost: Callable[[], None] = lambda: None  # it died, and comes again
        self.on_beat: Callable[[int], None] = lambda lateness_us: None
        self.on_dead: Callable[[], None] = lambda: None  # while stopping

        self.on_event: Callable[[str, str], None] = lambda word, sentence: None
        self.on_checked: Callable[[int, bool, list[str], str], None] = lambda *said: None
        self.on_rekeyed: Callable[[int, bool, list[str]], None] = lambda number, is_good, sentences: None
        self.on_rotated: Callable[[int, int, int, list[str], list[str]], None] = lambda *said: None
        self.on_moved: Callable[[int, int], None] = lambda number, epoch: None
        self.on_answer: Callable[[int, int, bool, list[Any]], None] = lambda number, code, more, rows: None
        self.on_joined: Callable[[str], None] = lambda loop: None  # it has got its keys
        self.on_noted: Callable[[list[object]], None] = lambda notes: None  # what happened, for the event bus
        self.on_said: dict[str, Callable[[list[Any]], None]] = {}  # for messages of parts that have their own words

    def pass_on(self, name: str, fields: list[Any]) -> None:
        """Give a message to the one who waits for it; its fields have the types of the table."""
        if name == "event":
            self.on_event(fields[0], fields[1])
        elif name == "checked":
            self.on_checked(fields[0], bool(fields[1]), _words(fields[2]), fields[3])
        elif name == "moved":
            self.on_moved(fields[0], fields[1])
        elif name == "joined":
            self.on_joined(fields[0])
        elif name == "noted":
            self.on_noted(fields[0])
        elif name == "answer":
            self.on_answer(fields[0], fields[1], bool(fields[2]), fields[3])
        elif name == "rekeyed":
            self.on_rekeyed(fields[0], bool(fields[1]), _words(fields[2]))
        elif name == "rotated":
            number, epoch, took_ms, late, sentences = fields
            self.on_rotated(number, epoch, took_ms, _words(late), _words(sentences))
        elif name in self.on_said:
            self.on_said[name](fields)


def _words(values: list[Any]) -> list[str]:
    return [str(value) for value in values]
