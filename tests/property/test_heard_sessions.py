"""Whatever ends, expires or is renewed: no frame of a session is accepted twice, and what is kept stays bounded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.channels.frames.frame import DEADLINE_MAX_MS
from tlsrt.channels.session.ended_sessions import EndedSessions
from tlsrt.channels.session.heard_sessions import HeardSessions
from tlsrt.errors import PeerError

TOKEN_MS = 300_000
SESSIONS = 4
ENDED_MOST = 2  # so few that ids are dropped
STEPS = st.one_of(
    st.tuples(st.just("say"), st.integers(0, SESSIONS - 1), st.sampled_from([1, 1_000, 150_000, DEADLINE_MAX_MS])),
    st.tuples(st.just("again"), st.integers(0, 50), st.just(0)),
    st.tuples(st.just("renew"), st.integers(0, SESSIONS - 1), st.just(0)),
    st.tuples(st.just("end"), st.integers(0, SESSIONS - 1), st.just(0)),
    st.tuples(st.just("pass"), st.sampled_from([1, 1_000, 150_000, TOKEN_MS - 1, TOKEN_MS]), st.just(0)),
)


class Recipient:
    """What a recipient asks of a frame, with the newest token of its session, in the order of an endpoint."""

    def __init__(self) -> None:
        self.now = 1_000
        self.heard = HeardSessions()
        self.ended = EndedSessions(ENDED_MOST)
        self.gone: set[int] = set()
        self.issued = dict.fromkeys(range(SESSIONS), self.now)  # of the newest token
        self.numbers = dict.fromkeys(range(SESSIONS), 0)
        self.frames: list[tuple[int, int, int]] = []  # session, number, deadline
        self.accepted: set[tuple[int, int]] = set()

    def take(self, session: int, number: int, deadline: int) -> bool:
        name, issued = bytes([session]) * 16, self.issued[session]
        if name in self.ended or not issued <= self.now < issued + TOKEN_MS or self.now >= deadline:
            return False
        if issued <= self.ended.floor and self.heard.get(name) is None:
            return False
        try:
            self.heard.advance_untrusted(name, f"client/{session}", (number, number), issued + TOKEN_MS, self.now)
        except PeerError:
            return False
        return True

    def step(self, what: str, which: int, ahead: int) -> None:
        if what == "say":
            self.numbers[which] += 1
            self.frames.append((which, self.numbers[which], self.now + ahead))
            self.present(*self.frames[-1])
        elif what == "again" and self.frames:
            self.present(*self.frames[which % len(self.frames)])
        elif what == "renew" and which not in self.gone:
            self.issued[which] = self.now
        elif what == "end":
            self.gone.add(which)
            self.ended.add([bytes([which]) * 16], self.now)
            self.heard.forget([bytes([which]) * 16])
        elif what == "pass":
            self.now += which
            self.heard.expire(self.now)

    def present(self, session: int, number: int, deadline: int) -> None:
        if self.take(session, number, deadline):
            assert (session, number) not in self.accepted, "the same frame passed twice"
            self.accepted.add((session, number))
            assert session not in self.gone, "a frame of a session that had ended passed"


@settings(max_examples=1000)
@given(st.lists(STEPS, max_size=40))
def test_no_frame_passes_twice_and_none_of_a_session_that_has_ended(steps: list[tuple[str, int, int]]) -> None:
    recipient = Recipient()
    for step in steps:
        recipient.step(*step)
        assert len(recipient.ended) <= ENDED_MOST
        assert len(recipient.heard) <= SESSIONS
