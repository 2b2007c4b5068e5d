"""Random walks through SessionManager, and the timers below it, against plain models."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.errors import InternalError
from tlsrt.supervisor.authority.sessions.manager import JITTER, MAXIMUM_LIFE_MS, Session, SessionManager
from tlsrt.supervisor.authority.sessions.states import ENDED, SessionState
from tlsrt.supervisor.process.timers import Timers

SUBJECTS = ("third/console", "secondary/store", "client/admin")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "client", "opened", "tick", "leap", "close", "revoke", "token", "subject", "owner",
                         "quarantine", "renewed"]),
        st.integers(0, 30),
        st.integers(0, 400_000),
    ),
    max_size=60,
)  # fmt: skip


class Walk:
    """A manager, every session it ever gave, and what must hold of them."""

    def __init__(self, seed: int) -> None:
        self.manager = SessionManager(random.Random(seed).randbytes)
        self.now = 1000
        self.sessions: list[Session] = []
        self.first: dict[int, tuple[bytes, str, int]] = {}
        self.ended: dict[int, SessionState] = {}
        self.token_ids: dict[int, set[bytes]] = {}

    def step(self, name: str, index: int, amount: int) -> None:
        manager = self.manager
        if name == "open":
            self.sessions.append(manager.open_component(SUBJECTS[index % 2], "third", self.now))
        elif name == "client":
            self.sessions.append(manager.open_client("client/admin", b"c" * 32, self.now))
        elif name in ("tick", "leap"):
            self.now += amount * (100 if name == "leap" else 1)
            for session in manager.tick(self.now).renewing:
                if index % 3:  # sometimes the delivery is late
                    manager.renewed(session)
        elif name == "subject":
            manager.revoke_subject(SUBJECTS[index % 3])
        elif name == "owner":
            manager.revoke_owner("client")
        elif self.sessions:
            self.touch(name, self.sessions[index % len(self.sessions)])

    def touch(self, name: str, session: Session) -> None:
        before = session.state
        if name == "revoke":
            self.manager.revoke_session(session.session_id)
        elif name == "token":
            self.manager.revoke_token(session.token_id)
        else:
            try:
                getattr(self.manager, name)(session)
            except InternalError:
                assert session.state is before

    def check(self) -> None:
        for number, session in enumerate(self.sessions):
            identity = (session.session_id, session.subject, session.ends)
            assert self.first.setdefault(number, identity) == identity  # renewal keeps id and end
            assert session.issued <= session.expires <= session.ends <= session.opened + MAXIMUM_LIFE_MS
            assert session.expires <= session.issued + session.ttl
            if number in self.ended:
                assert session.state is self.ended[number]  # a revoked session is never active again
            if session.state in ENDED:
                self.ended[number] = session.state
                assert self.manager.find(session.session_id) is None
                assert session.tokens == {}
            else:
                assert self.manager.find(session.session_id) is session
                self.token_ids.setdefault(number, set()).add(session.token_id)
        everything = [token for tokens in self.token_ids.values() for token in tokens]
        assert len(everything) == len(set(everything))
        assert len({session.session_id for session in self.sessions}) == len(self.sessions)
        living = [session for session in self.sessions if session.state not in ENDED]
        assert len(self.manager) == len(living)
        assert sum(self.manager.counts().values()) == sum(session.is_working for session in living)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 1 << 30))
def test_walks_keep_the_invariants(steps: list[tuple[str, int, int]], seed: int) -> None:
    walk = Walk(seed)
    for step in steps:
        walk.step(*step)
        walk.check()


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 1 << 30))
def test_everything_ends_when_time_goes_on(steps: list[tuple[str, int, int]], seed: int) -> None:
    walk = Walk(seed)
    for step in steps:
        walk.step(*step)
    walk.manager.tick(walk.now + MAXIMUM_LIFE_MS + 1)
    walk.check()
    assert len(walk.manager) == 0


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 30), st.booleans())
def test_a_session_always_has_a_good_token_is_renewed_about_half_life_and_ends_after_eight_hours(
    seed: int, is_client: bool
) -> None:
    """An honest holder, and ticks that come when they are due: from the first moment to the last."""
    manager, opened = SessionManager(random.Random(seed).randbytes), 1000
    session = (
        manager.open_client("client/admin", b"c" * 32, opened)
        if is_client
        else manager.open_component("third/console", "third", opened)
    )
    manager.opened(session)
    issued, expires = session.issued, session.expires
    while (now := manager.next_due()) is not None:
        assert now <= expires, "it was without a good token"
        due = manager.tick(now)
        if due.expired:
            break
        assert due.renewing == (session,)
        manager.renewed(session)
        assert session.ttl * (1 - JITTER) / 2 - 1 <= now - issued <= session.ttl * (1 + JITTER) / 2
        assert session.expires == min(now + session.ttl, session.ends)
        issued, expires = session.issued, session.expires
    assert now == session.ends == opened + MAXIMUM_LIFE_MS
    assert session.state is SessionState.EXPIRED and len(manager) == 0
    assert MAXIMUM_LIFE_MS / session.ttl < session.renewals < 3 * MAXIMUM_LIFE_MS / session.ttl


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["set", "cancel", "due"]), st.integers(0, 8), st.integers(0, 50))))
def test_timers_are_a_dictionary_sorted_by_time(steps: list[tuple[str, int, int]]) -> None:
    timers: Timers[int] = Timers()
    model: dict[int, int] = {}
    for name, key, when in steps:
        if name == "set":
            timers.set(key, when)
            model[key] = when
        elif name == "cancel":
            timers.cancel(key)
            model.pop(key, None)
        else:
            due = timers.due(when)
            assert sorted(due) == sorted(key for key, at in model.items() if at <= when)
            assert [model[key] for key in due] == sorted(model[key] for key in due)
            model = {key: at for key, at in model.items() if at > when}
        assert timers.next() == min(model.values(), default=None)
        assert len(timers) == len(model)
