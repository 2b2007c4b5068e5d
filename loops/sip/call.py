"""One call: where it is, and its dialog (RFC 3261, 12 and 13). Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from tlsrt.loops.sip.description import SrtpKey, Terms
from tlsrt.loops.sip.media import Media
from tlsrt.loops.sip.message import SipMessage


class CallState(enum.Enum):
    """Where a call is. The first two were begun by the other side, the next two by us."""

    OFFERED = "offered"
    ACCEPTED = "accepted"  # answered, and the other side has not said yet that it knows (ACK)
    CALLING = "calling"
    CANCELLING = "cancelling"
    TALKING = "talking"
    ENDED = "ended"


class CallEvent(enum.Enum):
    """What happens to a call. `THEY_` is what the other side says."""

    ACCEPT = "accept"
    REFUSE = "refuse"
    HANG_UP = "hang_up"
    THEY_ACKNOWLEDGE = "they_acknowledge"
    THEY_ACCEPT = "they_accept"
    THEY_REFUSE = "they_refuse"
    THEY_CANCEL = "they_cancel"
    THEY_HANG_UP = "they_hang_up"
    LOST = "lost"  # the connection ended, or nothing came in time


_S, _E = CallState, CallEvent
NEXT: dict[tuple[CallState, CallEvent], CallState] = {
    (_S.OFFERED, _E.ACCEPT): _S.ACCEPTED,
    (_S.OFFERED, _E.REFUSE): _S.ENDED,
    (_S.OFFERED, _E.HANG_UP): _S.ENDED,
    (_S.OFFERED, _E.THEY_CANCEL): _S.ENDED,
    (_S.OFFERED, _E.LOST): _S.ENDED,
    (_S.ACCEPTED, _E.THEY_ACKNOWLEDGE): _S.TALKING,
    (_S.ACCEPTED, _E.THEY_HANG_UP): _S.ENDED,
    (_S.ACCEPTED, _E.HANG_UP): _S.ENDED,
    (_S.ACCEPTED, _E.LOST): _S.ENDED,
    (_S.CALLING, _E.THEY_ACCEPT): _S.TALKING,
    (_S.CALLING, _E.THEY_REFUSE): _S.ENDED,
    (_S.CALLING, _E.HANG_UP): _S.CANCELLING,
    (_S.CALLING, _E.LOST): _S.ENDED,
    (_S.CANCELLING, _E.THEY_ACCEPT): _S.ENDED,
    (_S.CANCELLING, _E.THEY_REFUSE): _S.ENDED,
    (_S.CANCELLING, _E.LOST): _S.ENDED,
    (_S.TALKING, _E.THEY_HANG_UP): _S.ENDED,
    (_S.TALKING, _E.HANG_UP): _S.ENDED,
    (_S.TALKING, _E.LOST): _S.ENDED,
}  # fmt: skip


@dataclass(eq=False)
class Call:
    """A call of one connection. `invite` is the request that began it; `status` of 200 is an answered one."""

    call_id: str
    telephone: str
    invite: SipMessage
    our_tag: str
    is_incoming: bool
    ours: tuple[SrtpKey, ...]
    since_s: float
    state: CallState = CallState.OFFERED
    their_tag: str = ""
    their_target: str = ""  # the URI of later requests
    routes: tuple[str, ...] = ()
    our_count: int = 0  # CSeq of our last request
    their_count: int = 0
    terms: Terms | None = None
    media: Media | None = None
    number: int = 0  # of the session description
    version: int = 0
    last_answer: bytes = b""  # the 200 or the ACK, to be repeated
    repeat_at_s: float = 0.0
    pause_s: float = 0.5  # T1
    until_s: float = 0.0
    has_rung: bool = False
    why: str = ""
    ids: dict[str, str] = field(default_factory=dict)

    def step(self, event: CallEvent) -> bool:
        """Go to the next state; return whether there is one. What is not in the table changes nothing."""
        following = NEXT.get((self.state, event))
        if following is None:
            return False
        self.state = following
        return True

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state is CallState.ENDED
