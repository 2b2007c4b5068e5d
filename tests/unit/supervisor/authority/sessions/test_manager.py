from __future__ import annotations

from collections.abc import Callable

import pytest

from tlsrt.errors import InternalError, MisuseError
from tlsrt.supervisor.authority.sessions.manager import (
    CLIENT_TTL_MS,
    COMPONENT_TTL_MS,
    MAXIMUM_LIFE_MS,
    Session,
    SessionManager,
)
from tlsrt.supervisor.authority.sessions.states import SessionState


def counter(jitter: bytes = b"\x80\x00") -> Callable[[int], bytes]:
    """Return a source of distinct ids; two bytes are the jitter."""
    drawn = 0

    def draw(size: int) -> bytes:
        nonlocal drawn
        if size == 2:
            return jitter
        drawn += 1
        return drawn.to_bytes(size, "big")

    return draw


def working(manager: SessionManager, now: int = 0) -> Session:
    session = manager.open_component("third/console", "third", now)
    manager.opened(session)
    return session


def test_a_session_opens_in_two_steps() -> None:
    manager = SessionManager(counter())
    session = manager.open_component("third/console", "third", 5)
    assert session.state is SessionState.OPENING
    assert manager.counts() == {}
    manager.opened(session)
    assert manager.counts() == {"third": 1}
    assert (session.issued, session.expires, session.ends) == (5, 5 + COMPONENT_TTL_MS, 5 + MAXIMUM_LIFE_MS)


@pytest.mark.parametrize(("jitter", "when"), [(b"\x00\x00", 27_000), (b"\xff\xff", 33_000)])
def test_renewal_is_due_at_half_life_with_jitter(jitter: bytes, when: int) -> None:
    manager = SessionManager(counter(jitter))
    session = working(manager)
    assert manager.next_due() == when
    assert manager.tick(when - 1).renewing == ()
    token = session.token_id
    session.tokens[1] = b"old"
    assert manager.tick(when).renewing == (session,)
    assert str(session.state) == "renewing"
    assert session.token_id != token
    assert session.tokens == {}
    assert session.expires == when + COMPONENT_TTL_MS
    manager.renewed(session)
    assert str(session.state) == "active"


def test_clients_get_five_minutes() -> None:
    manager = SessionManager(counter())
    assert manager.open_client("client/admin", b"c" * 32, 0).expires == CLIENT_TTL_MS


def test_a_session_that_never_left_opening_expires() -> None:
    manager = SessionManager(counter())
    session = manager.open_component("third/console", "third", 0)
    due = manager.next_due()
    assert due is not None
    assert manager.tick(due).expired == (session,)
    assert len(manager) == 0


def test_the_last_lease_ends_with_the_session() -> None:
    manager = SessionManager(counter())
    session = working(manager)
    now = 0
    while not session.is_on_last_lease:
        now = manager.next_due() or 0
        for renewing in manager.tick(now).renewing:
            manager.renewed(renewing)
    assert session.expires == session.ends == MAXIMUM_LIFE_MS
    assert manager.next_due() == MAXIMUM_LIFE_MS
    assert manager.tick(MAXIMUM_LIFE_MS).expired == (session,)
    assert session.state is SessionState.EXPIRED


def test_a_host_that_slept_through_the_end_does_not_renew() -> None:
    manager = SessionManager(counter())
    session = working(manager)
    due = manager.tick(MAXIMUM_LIFE_MS + 1)
    assert (due.renewing, due.expired) == ((), (session,))


def test_revocation_by_session_token_subject_and_owner() -> None:
    manager = SessionManager(counter())
    sessions = [working(manager) for _ in range(4)]
    other = manager.open_client("client/admin", b"", 0)
    assert manager.revoke_session(sessions[0].session_id) == [sessions[0]]
    assert manager.revoke_token(sessions[1].token_id) == [sessions[1]]
    assert manager.revoke_subject("third/console") == sessions[2:]
    assert manager.revoke_owner("client") == [other]
    assert {session.state for session in [*sessions, other]} == {SessionState.REVOKED}
    assert manager.revoke_session(sessions[0].session_id) == []
    assert manager.next_due() is None


def test_an_ended_session_is_not_found_and_cannot_go_on() -> None:
    manager = SessionManager(counter())
    session = working(manager)
    manager.close(session)
    assert manager.find(session.session_id) is None
    for action in (manager.close, manager.opened, manager.renewed, manager.quarantine):
        with pytest.raises(InternalError):
            action(session)
    assert session.state is SessionState.CLOSED


def test_a_quarantined_session_does_not_count_and_ends_in_time() -> None:
    manager = SessionManager(counter())
    session = working(manager)
    manager.quarantine(session)
    assert manager.counts() == {}
    assert manager.tick(MAXIMUM_LIFE_MS - 1).renewing == ()
    assert manager.tick(MAXIMUM_LIFE_MS).expired == (session,)


def test_repeated_randomness_is_refused() -> None:
    manager = SessionManager(lambda size: bytes(size))
    manager.open_component("third/console", "third", 0)
    with pytest.raises(MisuseError):
        manager.open_component("third/console", "third", 0)


def test_secrets_are_not_shown() -> None:
    session = working(SessionManager(counter()))
    session.tokens[1] = b"very secret token"
    assert "very secret" not in repr(session)
