"""Findings of the authority about loops: reported, and fatal for a loop that broke a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tlsrt.channels.control.authority_channel import AuthorityEventMessage, RespawnMessage
from tlsrt.supervisor.process.exit_reason import cause_of_word
from tlsrt.supervisor.supervision.authority_process import NAME as AUTHORITY
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, MessageHandler
from tlsrt.supervisor.supervision.loops import Loops
from tlsrt.supervisor.supervision.states import LoopEvent

FATAL = ("offence", "unprepared", "unattested", "anomaly")  # words about a loop


class Findings(Feature):
    """Ends the loops that the authority finds guilty; `report` takes each finding as an event."""

    def __init__(self, context: Context, loops: Loops, report: Callable[[str, str], None]) -> None:
        self._context = context
        self._loops = loops
        self._report = report

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"event": self._event, "respawn": self._respawn}

    def _event(self, message: AuthorityEventMessage) -> None:
        word, sentence = message
        self._context.console.bad(AUTHORITY, word, sentence)
        self._report(word, sentence)
        name, _, why = sentence.partition(": ")
        for loop in self._loops.all:
            if word in FATAL and loop.name == name.partition(":")[0]:
                self._loops.kill(loop, LoopEvent.VIOLATED, f"{word}: {why}", cause_of_word(word))

    def _respawn(self, message: RespawnMessage) -> None:
        """Replace a loop for what it did; one that was replaced meanwhile is innocent."""
        name, incarnation, sentence = message
        self._context.console.bad(AUTHORITY, "anomaly", f"{name}: {sentence}")
        self._report("anomaly", f"{name}: {sentence}")
        for loop in self._loops.all:
            if loop.name == name and loop.incarnation == incarnation:
                self._loops.kill(loop, LoopEvent.VIOLATED, f"anomaly: {sentence}", cause_of_word("anomaly"))
