"""The supervisor's side of the learner: hands the authority's questions on, and answers that are advice back.

It is started by the first question, and whatever becomes of it costs no call anything: a question that it cannot take
now is dropped. One that answers what it was not asked, not in time or what is no advice is killed, and the next one
begins to learn anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from tlsrt.channels.control.learner import LEARNER, AdviceMessage, WeighMessage, parse_advice_untrusted
from tlsrt.config.schema import Config
from tlsrt.errors import PeerError
from tlsrt.supervisor.process.children import Child, Children, HelperStart
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.process.exit_reason import Cause
from tlsrt.supervisor.supervision.authority_channel import AuthorityChannel
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import MessageHandler
from tlsrt.supervisor.supervision.service_process import ServiceProcess

NAME = "learner"
WAITING_MAX = 16  # questions, of 256 rows at most: 0.5 s of its work
LATE_S = 10.0


class LearnerProcess(ServiceProcess):
    """The one learner, over all its incarnations."""

    def __init__(self, context: Context, authority: AuthorityChannel) -> None:
        super().__init__(context, NAME, LEARNER)
        self._authority = authority
        self._waiting: dict[int, tuple[int, Timer]] = {}  # question: rows, until when
        self._is_asked = False

    def is_needed(self, config: Config) -> bool:
        return self._is_asked and config.needs_learner

    def fork(self, children: Children, start: HelperStart) -> Child:
        return children.spawn_helper(replace(start, name=NAME))

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"weigh": self._weigh}

    def _weigh(self, message: WeighMessage) -> None:
        self._is_asked = True
        if self._channel is None:
            self.look()
        if self._channel is None or not self.is_attested or len(self._waiting) >= WAITING_MAX:
            return
        is_late = partial(self.kill, "does not answer", Cause.DEADLINE)
        timer = self._context.event_loop.call_later(LATE_S, is_late)
        self._waiting[message.number] = len(message.rows), timer
        try:
            self._channel.send("weigh", *message)
        except PeerError as error:
            self.kill(f"does not read its channel: {error.reason}")

    def take(self, name: str, message: AdviceMessage, descriptors: list[int]) -> None:
        rows, timer = self._waiting.pop(message.number, (-1, None))
        if timer is None:
            raise PeerError("unasked")
        timer.cancel()
        parse_advice_untrusted(message, rows)
        self._authority.ask("advice", *message)

    def lost(self) -> None:
        for _, timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
