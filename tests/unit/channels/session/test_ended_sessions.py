"""A session that has ended stays refused for as long as a token of it may live, in memory that is bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from fakes.frame_sender import FakeChannel
from fakes.linked_components import ProcessorNotes
from fakes.memory_host import MemoryHost, parts

from tlsrt import Component
from tlsrt.budget import Budget
from tlsrt.channels.calls.ending import Fate
from tlsrt.channels.control.trust import TRUST
from tlsrt.channels.frames.frame import Header
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.ended_sessions import EndedSessions
from tlsrt.channels.session.heard_sessions import HeardSessions
from tlsrt.channels.session.token import LIFETIME_MAX_MS
from tlsrt.config.components import ComponentConfig
from tlsrt.errors import PeerError
from tlsrt.loops.dispatch.fast_path import ReceiveFastPath
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.runtime.authority_client import AuthorityClient
from tlsrt.loops.runtime.component_host import ComponentHost

STORE, CONSOLE, ADMIN = "secondary/store", "third/console", "client/admin"


def ids(first: int, count: int) -> list[bytes]:
    return [number.to_bytes(16, "big") for number in range(first, first + count)]


def frame_of(world: MemoryHost, session: bytes, subject: str = ADMIN, seq: int = 1, **claims: Any) -> bytes:
    header = world.plain_header(subject, session=session, seq=seq)
    return world.forge(subject, header, b"x", token=world.token(subject, session=session, **claims))


def opened(world: MemoryHost, data: bytes) -> str:
    """Return why the store refuses a frame; "" if it takes it."""
    header: Header = world.header(data)
    try:
        world.endpoints[STORE].open_untrusted(parts(data), header, world.now)
    except PeerError as error:
        return error.reason
    return ""


def tell_ended(world: MemoryHost, *sessions: bytes, what: str = "sessions") -> AuthorityClient:
    authority = AuthorityClient(world.verifier, world.endpoints, None)
    authority.on_message("sessions_ended", TRUST.by_name["sessions_ended"].fields(what, [*sessions]), [], world.now)
    return authority


def test_an_id_is_known_for_as_long_as_a_token_lives() -> None:
    ended = EndedSessions()
    ended.add(ids(1, 2), 1_000)
    ended.add(ids(2, 2), 1_000 + LIFETIME_MAX_MS - 1)
    assert all(session in ended for session in ids(1, 3))
    ended.add(ids(9, 1), 1_000 + LIFETIME_MAX_MS)
    assert [session in ended for session in ids(1, 3)] == [False, False, True]
    assert ended.floor < 0


def test_too_many_ids_leave_a_time_before_which_no_unknown_session_is_taken() -> None:
    ended = EndedSessions(most=10)
    for number in range(5):
        ended.add(ids(4 * number, 4), 1_000 + number)
    assert len(ended) <= 10
    assert ended.floor == 1_002, "when the last of those that were dropped ended"
    assert all(session in ended for session in ids(12, 8))


@pytest.mark.parametrize("what", ["sessions", "clients"])
def test_a_frame_of_a_session_that_has_ended_is_not_taken_again(what: str) -> None:
    world = MemoryHost()
    data = frame_of(world, b"s" * 16)
    assert opened(world, data) == ""
    tell_ended(world, *([b"s" * 16] if what == "sessions" else []), what=what)
    assert len(world.endpoints[STORE].heard) == 0, "nothing is kept of it but its id"
    assert opened(world, data) == "session_ended"
    assert opened(world, frame_of(world, b"s" * 16, seq=2)) == "session_ended"
    assert opened(world, frame_of(world, b"t" * 16)) == "", "another session of the same client"


def test_a_recipient_forgets_the_keys_and_tokens_of_a_session_too() -> None:
    world = MemoryHost()
    store, tokens = world.endpoints[STORE], world.verifier.tokens
    for session in ids(1, 50):
        assert opened(world, frame_of(world, session)) == ""
    [keys] = store._epochs.values()
    held = len(keys.pairs), len(tokens._wrapped), len(tokens._unwrapped)
    assert held == (50, 50, 50)
    tell_ended(world, *ids(1, 50))
    assert not keys.pairs and not len(tokens._wrapped) and not len(tokens._unwrapped)
    assert tokens._wrapped._size == tokens._unwrapped._size == 0


def test_an_unknown_session_waits_for_a_newer_token_if_ids_were_dropped() -> None:
    world = MemoryHost()
    known, ended = frame_of(world, b"k" * 16), frame_of(world, b"e" * 16)
    assert opened(world, known) == opened(world, ended) == ""
    tell_ended(world, b"e" * 16)
    world.verifier.ended._most = 0
    tell_ended(world, b"f" * 16)
    assert opened(world, ended) == Budget.REMEMBERED, "its id was dropped, and its token is old"
    assert opened(world, frame_of(world, b"k" * 16, seq=2)) == "", "one that is known goes on"
    newer = frame_of(world, b"n" * 16, issued=world.now + 1, not_before=world.now)
    assert opened(world, newer) == ""


def test_a_token_that_follows_lets_no_frame_of_before_pass_again() -> None:
    """A frame's deadline may lie behind the end of the token it came with, and the recipient reads the token apart."""
    world = MemoryHost()
    session, store = b"s" * 16, world.endpoints[STORE]
    header = world.plain_header(ADMIN, session=session, seq=1, deadline=world.now + 200_000)
    first = world.forge(ADMIN, header, b"x", token=world.token(ADMIN, session=session))
    assert opened(world, first) == ""
    world.now += 60_001  # its token has expired
    world.verifier.snapshot(9, 0, 1, 0, world.now, [], world.now)
    store.retire(world.now)
    again = world.forge(ADMIN, header, b"x", token=world.token(ADMIN, session=session, token_id=b"2" * 16))
    assert opened(world, again) == "replay"


def test_one_subject_cannot_fill_what_a_recipient_remembers() -> None:
    heard = HeardSessions(most=64, share=16)
    for session in ids(0, 16):
        heard.advance_untrusted(session, ADMIN, (1, 1), 10_000, 0)
    for session in ids(16, 84):
        with pytest.raises(PeerError, match=Budget.REMEMBERED):
            heard.advance_untrusted(session, ADMIN, (1, 1), 10_000, 0)
    heard.advance_untrusted(b"c" * 16, CONSOLE, (1, 1), 10_000, 0)
    heard.advance_untrusted(ids(0, 1)[0], ADMIN, (2, 2), 10_000, 0)  # those that it has go on
    heard.forget(ids(0, 1))
    heard.advance_untrusted(b"n" * 16, ADMIN, (1, 1), 10_000, 0)


@pytest.mark.parametrize("fields", [["sessions", [1]], ["sessions", ["text"]], ["clients", [None]]])
def test_ends_of_something_else_are_refused(fields: list[object]) -> None:
    world = MemoryHost()
    authority = AuthorityClient(world.verifier, world.endpoints, None)
    with pytest.raises(PeerError, match="bad_sessions"):
        authority.on_message("sessions_ended", TRUST.by_name["sessions_ended"].fields(*fields), [], world.now)


@pytest.mark.parametrize(
    ("what", "told", "of_admin", "of_console"),
    [
        ("sessions", [b"s" * 16], Fate.ENDS, Fate.GOES_ON),
        ("sessions", [b"t" * 16], Fate.GOES_ON, Fate.GOES_ON),
        ("clients", [], Fate.ENDS, Fate.GOES_ON),
        ("subjects", [b"client/admin"], Fate.ENDS_FOR_ALL, Fate.GOES_ON),
        ("all", [], Fate.ENDS_FOR_ALL, Fate.ENDS_FOR_ALL),
        ("something newer", [], Fate.ENDS_FOR_ALL, Fate.ENDS_FOR_ALL),
    ],
)
def test_whose_calls_end(what: str, told: list[bytes], of_admin: Fate, of_console: Fate) -> None:
    [ending] = tell_ended(MemoryHost(), *told, what=what).take_endings()
    assert ending.fate(b"s" * 16, ADMIN) is of_admin
    assert ending.fate(b"c" * 16, CONSOLE) is of_console


def test_a_revocation_ends_calls_too() -> None:
    world = MemoryHost()
    authority = AuthorityClient(world.verifier, world.endpoints, None)
    assert opened(world, frame_of(world, b"s" * 16)) == ""
    for number, kind, value in ((1, "session", b"s" * 16), (2, "subject", b"client/admin")):
        authority.on_message("revoked", TRUST.by_name["revoked"].fields(number, kind, value), [], world.now)
    entries = [["session", b"x" * 16], ["subject", b"third/console"]]
    authority.on_message("snapshot", TRUST.by_name["snapshot"].fields(2, 0, 1, 3, world.now, entries), [], world.now)
    session, subject, snapshot = authority.take_endings()
    assert session.fate(b"s" * 16, CONSOLE) is Fate.ENDS and len(world.endpoints[STORE].heard) == 0
    assert subject.fate(b"o" * 16, ADMIN) is Fate.ENDS_FOR_ALL
    assert snapshot.fate(b"x" * 16, ADMIN) is Fate.ENDS and snapshot.fate(b"o" * 16, CONSOLE) is Fate.ENDS_FOR_ALL


def test_a_recipient_has_nothing_left_of_the_frames_of_a_session_that_has_ended() -> None:
    world = MemoryHost()
    host = ComponentHost(
        ComponentConfig("secondary", "store", "x:X"), Component(), world.verifier, FakeChannel(lambda frame: None),
        lambda: world.now, Path("/nowhere"), ProcessorShares(WriteBatch(cast("Any", "no loop")), ProcessorNotes()),
        waiting_max=1,
    )  # fmt: skip
    host.endpoint = world.endpoints[STORE]
    fast = ReceiveFastPath(world.verifier)
    fast.add(host)
    for number in range(30):
        fast.open_untrusted(frame_of(world, number.to_bytes(16, "big")), world.now)
    fast.open_untrusted(world.request(CONSOLE), world.now)
    patterns = fast._patterns
    assert patterns.flows == len(patterns._tokens) == 31
    [ending] = tell_ended(world, *ids(0, 30)).take_endings()
    fast.forget_sessions(ending.sessions)
    assert patterns.flows == len(patterns._tokens) == len(patterns.known) == 1
    assert patterns._token_bytes == 3 * len(world.token(CONSOLE))
    assert fast.recognise_untrusted(world.request(CONSOLE), world.now) is not None, "others are as fast as before"
