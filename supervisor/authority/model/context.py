"""Context of the authority's services: the host's state, tables and ports, and transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tlsrt.channels.clock import Moment
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, NotFound, PeerError
from tlsrt.supervisor.authority.keys.epochs import Epochs
from tlsrt.supervisor.authority.keys.key_ring import KeyRing
from tlsrt.supervisor.authority.model.loop_table import LoopTable
from tlsrt.supervisor.authority.model.ports import Detail, Outgoing, Recorder
from tlsrt.supervisor.authority.model.state import AuthorityState
from tlsrt.supervisor.authority.model.state_writer import StateWriter
from tlsrt.supervisor.authority.sessions.event_notes import EventNotes
from tlsrt.supervisor.authority.sessions.manager import SessionManager
from tlsrt.supervisor.messages.result_codes import ResultCode

NOT_WRITTEN = "the authority's state cannot be written, so nothing has changed: make room on its disk"

Randomness = Callable[[int], bytes]
Undo = Callable[[], None]
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

    def answer(self, number: int, code: ResultCode, rows: Sequence[object], *, more: bool = False) -> None:
        """Answer a request of the supervisor; of one that is refused the rows are sentences."""
        self.outgoing.tell("answer", number, int(code), int(more), list(rows))

    def transact(
        self, kind: str, subject: str, detail: Detail, moment: Moment, change: Callable[[], Undo | None],
        done: Callable[[], None], refused: Refused,
    ) -> None:  # fmt: skip
        """Record, change, persist, and only then answer. When one of these fails, nothing has changed.

        `change` is called once the record is written: it checks again, changes what is in memory and returns what takes
        that back, or None if there is nothing to persist. NotFound, ConfigError or PeerError refuses. Then `done` or
        `refused` is called, once.
        """

        def recorded() -> None:
            try:
                undo = change()
            except (NotFound, ConfigError, PeerError) as error:
                refused(ResultCode.REFUSED, str(error))
                return
            if undo is not None and not self.writer.write():
                undo()
                refused(ResultCode.UNCHANGED, NOT_WRITTEN)
                return
            done()

        self.recorder.before(
            kind, subject, detail, moment, recorded, lambda sentence: refused(ResultCode.UNCHANGED, sentence)
        )
