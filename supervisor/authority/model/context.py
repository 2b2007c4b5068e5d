"""Context of the authority's services: the host's state, tables and ports, and transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlsrt.channels.clock import Moment
from tlsrt.config.schema import Config
from tlsrt.supervisor.authority.keys.epochs import Epochs
from tlsrt.supervisor.authority.keys.key_ring import KeyRing
from tlsrt.supervisor.authority.model.loop_table import GATE, LoopTable
from tlsrt.supervisor.authority.model.ports import Detail, Outgoing, Recorder
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.model.state_writer import NOT_WRITTEN, Apply, StateWriter, Undo
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes
from tlsrt.supervisor.authority.sessions.manager import SessionManager
from tlsrt.supervisor.messages.result_codes import ResultCode

__all__ = ["NOT_WRITTEN", "Undo"]

Randomness = Callable[[int], bytes]
Refused = Callable[[ResultCode, str], None]  # REFUSED or UNCHANGED, and a sentence


@dataclass(frozen=True, slots=True)
class AuthorityContext:
    """The collaborators that all services share. `writer` writes `state`."""

    config: Config
    state: AuthorityState
    writer: StateWriter
    loops: LoopTable
    keys: KeyRing
    epochs: Epochs
    sessions: SessionManager
    outgoing: Outgoing
    recorder: Recorder
    notes: EventNotes
    randomness: Randomness
    moment: Callable[[], Moment]  # of this wake-up: what waits for a disk goes on at another one

    @property
    def now(self) -> int:
        return self.moment().now

    def answer(self, number: int, code: ResultCode, rows: Sequence[object], *, more: bool = False) -> None:
        """Answer a request of the supervisor; of one that is refused the rows are sentences."""
        self.outgoing.tell("answer", number, int(code), int(more), list(rows))

    def answer_gate(self, incarnation: int, name: str, *fields: object) -> None:
        """Answer a request of this life of Primary, if it still lives: the next one counts its connections anew."""
        if self.loops[GATE].incarnation == incarnation:
            self.outgoing.send(GATE, name, *fields)

    def transact(
        self, kind: str, subject: str, detail: Detail, moment: Moment, change: Apply,
        done: Callable[[], None], refused: Refused,
    ) -> None:  # fmt: skip
        """Record, persist, change, and only then answer. When one of these fails, nothing has changed.

        `change` is called when the record is written: it checks again, changes what is in memory and returns what takes
        that back. It is called again when that is on the disk (see StateWriter). NotFound, ConfigError or PeerError
        refuses. Then `done` or `refused` is called, once. A slow disk makes this late: `moment` is when it was asked.
        """

        def unwritten(sentence: str) -> None:
            refused(ResultCode.UNCHANGED if sentence == NOT_WRITTEN else ResultCode.REFUSED, sentence)

        self.recorder.before(
            kind, subject, detail, moment, lambda: self.writer.change(change, done, unwritten, self.now),
            lambda sentence: refused(ResultCode.UNCHANGED, sentence),
        )  # fmt: skip
