"""Decoys for the operator: a warning while accesses go unnoticed, and tests on demand."""

from __future__ import annotations

from collections.abc import Mapping

from tlsrt.channels.control.authority_channel import DecoysMessage
from tlsrt.supervisor.control.canary_files import CanaryFiles
from tlsrt.supervisor.supervision.authority_process import AuthorityProcess
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import ControlVerb, Feature, MessageHandler, Reply, Request
from tlsrt.supervisor.supervision.pending_answers import PendingAnswers

NAME = "decoys"
TRIAL_S = 6.0  # the authority gives up after 5
_AWAY = "the authority does not answer: see its log"


class DecoyReport(Feature):
    """Reports what the authority says of its tests, and asks for one."""

    def __init__(self, context: Context, authority: AuthorityProcess, files: CanaryFiles) -> None:
        self._files = files
        self._console = context.console
        self._context = context
        self._authority = authority
        self._said: str | None = None
        self._pending = PendingAnswers[float](context.event_loop)  # when the test was asked for

    def messages(self) -> Mapping[str, MessageHandler]:
        return {NAME: self._hear}

    def verbs(self) -> Mapping[str, ControlVerb]:
        return {"honeypot_test": ControlVerb(self.ask)}

    @property
    def warnings(self) -> tuple[str, ...]:
        return (self._said,) if self._said else ()

    def stopping(self) -> None:
        self._pending.answer_all({"error": "stopping"})

    def ask(self, request: Request, reply: Reply) -> None:
        """Have a decoy accessed for a test now."""
        decoys = self._context.current.config.deception
        late = {"heard": False, "took_ms": round(TRIAL_S * 1000), "problem": _AWAY}
        self._pending.hold(reply, self._context.event_loop.now, longest_s=TRIAL_S, late=late)
        if not decoys.components and not decoys.methods:
            self._answer("there are no decoys: `deception` in the configuration switches them off")
        elif not self._authority.channel.ask("try_decoys"):
            self._answer(_AWAY)

    def _answer(self, problem: str) -> None:
        if self._pending:
            problem = problem or self._files.prove()
        for number, began in self._pending.items():
            took_ms = round((self._context.event_loop.now - began) * 1000)
            self._pending.answer(number, {"heard": not problem, "took_ms": took_ms, "problem": problem})

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
