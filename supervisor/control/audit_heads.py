"""Heads of the audit log: handed to journald, with the state of the log for `status`.

An anchor is worth something because another program keeps it, as another user. It is one line, which `audit verify
--anchors` reads again: `tlsrt-audit file=N size=N sequence=N tree=HEX`. journald is never waited for; where it is not,
there are no anchors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tlsrt.channels.control.authority_channel import AuditedMessage, CheckpointedMessage, UnrecordedMessage
from tlsrt.supervisor.audit.verify import Anchor
from tlsrt.supervisor.events.journal import SOCKET, JournalSocket, encode_fields
from tlsrt.supervisor.supervision.authority_process import NAME
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature, MessageHandler

Document = dict[str, Any]
IDENTIFIER = "tlsrt-audit"
_LINE = re.compile(rf"{IDENTIFIER} file=(\d{{1,18}}) size=(\d{{1,18}}) sequence=\d{{1,18}} tree=([0-9a-f]{{64}})")


def line_of(file: int, size: int, sequence: int, root: bytes) -> str:
    """Return an anchor as people and journald keep it."""
    return f"{IDENTIFIER} file={file} size={size} sequence={sequence} tree={root.hex()}"


def anchors_in(lines: Iterable[str]) -> list[Anchor]:
    """Return the anchors among lines of any kind, such as a journal."""
    found = (_LINE.search(line) for line in lines)
    return [Anchor(int(match[1]), int(match[2]), bytes.fromhex(match[3])) for match in found if match is not None]


class AuditHeads(Feature):
    """What the authority says of the log."""

    def __init__(self, context: Context, journal: str = SOCKET) -> None:
        self._context = context
        self._journal = JournalSocket(journal)
        self._install = context.current.config.install_id.hex()
        self._head: tuple[int, float] | None = None  # sequence, and when it was heard of
        self._stands: AuditedMessage | None = None  # as the authority said it last
        self._problem = ""

    def messages(self) -> Mapping[str, MessageHandler]:
        return {"audited": self._audited, "checkpointed": self._checkpointed, "unrecorded": self._unrecorded}

    def document(self) -> Document | None:
        """Return how the log stands; None if no authority has said it yet."""
        if self._stands is None:
            return None
        stands = self._stands
        head: Document | None = None
        if self._head is not None:
            head = {"sequence": self._head[0], "age_s": round(self._context.event_loop.now - self._head[1], 3)}
        return {
            "file": stands.file, "sequence": stands.sequence, "head": head, "dropped": stands.dropped,
            "problem": self._problem, "bytes": stands.size,
            "keep_bytes": self._context.current.config.audit.keep_mb << 20,
        }  # fmt: skip

    def _audited(self, message: AuditedMessage) -> None:
        self._stands = message
        self._problem = message.problem

    def _checkpointed(self, message: CheckpointedMessage) -> None:
        file, size, root, sequence = message
        self._head = sequence, self._context.event_loop.now
        line = line_of(file, size, sequence, root)
        fields = (
            ("MESSAGE", line), ("PRIORITY", "5"), ("SYSLOG_IDENTIFIER", IDENTIFIER), ("TLSRT_INSTALL", self._install),
        )  # fmt: skip
        self._journal.send(encode_fields(fields))

    def _unrecorded(self, message: UnrecordedMessage) -> None:
        problem = self._problem = message.problem
        self._context.events.emit("reported", NAME, problem or "the audit log is written again")
        if problem:
            self._context.console.bad(NAME, "audit", f"{problem}; until then no session is opened, no reload is taken")
        else:
            self._context.console.good(NAME, "audit", "is written again")
