"""What the operator sees of the decoys: a line at the start, a warning while nobody would hear of a touch, and a trial
when one is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.control.authority_channel import DecoysMessage
from tlsrt.supervisor.control.canary_files import CanaryFiles
from tlsrt.supervisor.process.event_loop import Timer
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, MessageHandler, Reply, Request, Verb

NAME = "decoys"
TRIAL_S = 6.0  # the authority gives up after 5
_AWAY = "the authority does not answer: see its log"


class DecoyReport(Feature):
    """Hears what the authority says of its trials."""

    def __init__(self, context: Context, authority: AuthorityProcess, files: CanaryFiles) -> None:
        self._files = files
        self._console = context.console
        self._context = context
        self._authority = authority
        self._said: str | None = None
        self._asked: list[tuple[Reply, float]] = []
        self._timer: Timer | None = None

    def messages(self) -> Mapping[str, MessageHandler]:
        return {NAME: self._hear}

    def verbs(self) -> Mapping[str, Verb]:
        return {"honeypot_test": Verb(self.ask)}

    @property
    def warnings(self) -> tuple[str, ...]:
        return (self._said,) if self._said else ()

    def ask(self, request: Request, reply: Reply) -> None:
        """Have a decoy touched for a trial now."""
        decoys = self._context.current.config.deception
        self._asked.append((reply, self._context.event_loop.now))
        if not decoys.components and not decoys.methods:
            self._answer("there are no decoys: `deception` in the configuration switches them off")
        elif not self._authority.client.ask("try_decoys"):
            self._answer(_AWAY)
        elif len(self._asked) == 1:
            self._timer = self._context.event_loop.call_later(TRIAL_S, lambda: self._answer(_AWAY))

    def _answer(self, problem: str) -> None:
        if self._asked:
            problem = problem or self._files.prove()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for reply, began in self._asked:
            took_ms = round((self._context.event_loop.now - began) * 1000)
            reply({"heard": not problem, "took_ms": took_ms, "problem": problem})
        self._asked.clear()

    def _hear(self, message: DecoysMessage) -> None:
        problem = message.problem
        self._answer(problem)
        if problem == self._said:  # a later life of Primary, or of the authority
            return
        self._said = problem
        if problem:
            self._console.warning(NAME, problem)
        else:
            self._console.good(NAME, "proved", "one was touched for a trial, and the authority was told")
