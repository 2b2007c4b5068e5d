"""The feature that emits events: what the supervisor hears, and what the authority notes."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.control.life import LoopState
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.events.relay import EventRelay
from tlsrt.supervisor.events.sources import EventSources
from tlsrt.supervisor.supervision.authority_channel import AuthorityChannel
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, MessageHandler
from tlsrt.supervisor.supervision.loop import Loop
from tlsrt.supervisor.supervision.states import LoopEvent

SUPERVISOR = "supervisor"


class HostEvents(Feature):
    """Emits what features hear, and passes events on to components."""

    def __init__(self, context: Context, channel: AuthorityChannel, boot: str, loops: int) -> None:
        self._bus = context.events
        self._bus.boot = boot
        self._sources = EventSources(self._bus, lambda: context.event_loop.now)
        self._relay = EventRelay(context.event_loop, self._bus, channel.events)
        self._bus.emit("starting", SUPERVISOR, loops=loops)

    def messages(self) -> Mapping[str, MessageHandler]:
        return {
            "joined": lambda message: self._relay.joined(message.loop),
            "noted": lambda message: self._sources.noted(message.notes),
        }

    def reported(self, word: str, sentence: str) -> None:
        """Emit what the authority said in words: about a loop, if they begin with its name."""
        self._sources.reported(word, sentence)

    def authority_lost(self) -> None:
        self._relay.lost()

    def beat(self, name: str, lateness_us: int) -> None:
        self._sources.beat(name, lateness_us)

    def heartbeat_suspected(self, name: str, is_late: bool) -> None:
        self._sources.suspected(name, is_late)

    def loop_moved(self, loop: Loop, before: LoopState, event: LoopEvent) -> None:
        self._sources.moved(loop, before, event)

    def refused(self, error: TlsrtError) -> None:
        self._bus.emit("start_refused", SUPERVISOR, str(error))

    def stopping(self) -> None:
        self._bus.emit("stopping", SUPERVISOR)

    def stopped(self, exit_code: int) -> None:
        self._bus.emit("stopped", SUPERVISOR, exit_code=exit_code)
