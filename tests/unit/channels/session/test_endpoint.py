"""Endpoints: the recipient checks everything again, even if Primary were captured."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from fakes.memory_host import POLICY, MemoryHost, parts

from tlsrt.channels.frames.frame import (
    SEQ_MAX,
    Frame,
    FrameKind,
    Header,
    correlation,
    pack_frame,
    pack_header,
    parse_header_untrusted,
)
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.config import key_schedule
from tlsrt.errors import Denied, PeerError, Unavailable

STORE, CONSOLE, NETWORK, ADMIN = "secondary/store", "third/console", "external/network", "client/admin"


def opens(world: MemoryHost, data: bytes, subject: str = STORE, *, now: int | None = None) -> bytes:
    return world.endpoints[subject].open_untrusted(parts(data), world.header(data), now or world.now).body


def refuses(world: MemoryHost, data: bytes, subject: str = STORE, *, now: int | None = None) -> str:
    with pytest.raises(PeerError) as caught:
        opens(world, data, subject, now=now)
    return caught.value.reason


def reply_to(world: MemoryHost, data: bytes, kind: FrameKind = FrameKind.REPLY, body: bytes = b"answer") -> bytes:
    header = world.header(data)
    return world.endpoints[header.dst].seal_reply(
        kind, header, body, world.now + 1000, correlation=correlation(header.session, header.seq)
    )


def test_there_and_back() -> None:
    world = MemoryHost()
    data = world.request(body=b"question")
    assert opens(world, data) == b"question"
    assert opens(world, reply_to(world, data), CONSOLE) == b"answer"


def test_no_policy_line_no_key_no_talk() -> None:
    world = MemoryHost()
    with pytest.raises(Denied, match="third/console may not call forth/power"):
        world.request(CONSOLE, "forth/power")


def test_before_the_session_is_open() -> None:
    with pytest.raises(Unavailable):
        Endpoint(CONSOLE).seal_request(FrameKind.REQUEST, STORE, "get", b"", 1)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"dst": "primary/kernel"}, "not_mine"),
        ({"mailbox": 9}, "stale_mailbox"),
        ({"method": "delete"}, "not_allowed"),
        ({"epoch": 6}, "stale_epoch"),
        ({"src": NETWORK}, "wrong_source"),
        ({"session": bytes(16)}, "wrong_session"),
        ({"deadline": 1_000_000}, "deadline"),
        ({"deadline": 1_400_000}, "deadline_too_far"),
        ({"kind": FrameKind.REPLY}, "unasked_reply"),
    ],
)
def test_a_captured_primary_cannot_change_a_header(changes: dict[str, Any], wanted: str) -> None:
    """Even with a valid token and, worse than possible, the right request key, each field is checked."""
    world = MemoryHost()
    assert refuses(world, world.forge(CONSOLE, world.plain_header(**changes), b"")) == wanted


def test_a_captured_primary_holds_no_request_key() -> None:
    world = MemoryHost()
    key = key_schedule.request_key(world.mailbox("primary/kernel"), world.session(CONSOLE))
    assert refuses(world, world.forge(CONSOLE, world.plain_header(), b"", request_key=key)) == "body_forged"


def test_reply_key_and_request_key_differ() -> None:
    """Reflection: what the store sealed for the console is no request of the store."""
    world = MemoryHost()
    data = world.request()
    opens(world, data)
    reply = parts(reply_to(world, data))
    header = world.plain_header()
    reflected = pack_frame(pack_header(header), world.token(CONSOLE), reply.body, reply.proof)
    assert refuses(world, reflected) == "body_forged"


def test_replay_at_the_recipient() -> None:
    world = MemoryHost()
    first, second = world.request(), world.request()
    assert opens(world, second)
    assert refuses(world, second) == "replay"
    assert refuses(world, first) == "replay"


def test_a_reply_of_a_previous_incarnation() -> None:
    world = MemoryHost()
    data = world.request()
    reply = reply_to(world, data)
    world.endpoints[CONSOLE].apply_right(world.epoch, STORE, 6, bytes(32), ("get",))
    assert refuses(world, reply, CONSOLE) == "unasked_reply"


def test_whoever_waits_for_a_restarted_recipient_is_told() -> None:
    world = MemoryHost()
    told: list[str] = []
    endpoint = world.endpoints[CONSOLE]
    observer = Mock(on_recipient_restarted=told.append)
    endpoint.set_observer(observer)
    endpoint.apply_right(world.epoch, STORE, world.incarnations["secondary"], bytes(32), ("get",))
    assert told == []
    endpoint.apply_right(world.epoch, STORE, 6, bytes(32), ("get",))
    assert told == [STORE]


def test_a_client_gets_no_requests() -> None:
    world = MemoryHost()
    header = Header(
        1, FrameKind.REQUEST, world.session(CONSOLE), 1, 0, CONSOLE, ADMIN, 0, 1, "x", 7, world.now + 9, b"", 0
    )
    assert refuses(world, world.forge(CONSOLE, header, b"", request_key=bytes(32)), ADMIN) == "request_to_client"


def test_the_counter_never_starts_again_within_a_session_and_ends_before_it_wraps() -> None:
    world = MemoryHost()
    endpoint = world.endpoints[CONSOLE]
    seqs = [endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", world.now + 9)[0] for _ in range(5)]
    endpoint.apply_session(
        world.epoch, endpoint.session, 3, bytes(32), 1, bytes(32), b"token", world.now + 9, world.now + 9
    )
    seqs.append(endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", world.now + 9)[0])
    assert seqs == [1, 2, 3, 4, 5, 6]
    endpoint._seq = SEQ_MAX
    with pytest.raises(Unavailable, match="used up"):
        endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", world.now + 9)


def test_a_new_session_starts_anew_with_new_keys() -> None:
    world = MemoryHost()
    endpoint = world.endpoints[CONSOLE]
    endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", world.now + 9)
    endpoint.apply_session(world.epoch, bytes(16), 3, bytes(32), 1, bytes(32), b"token", world.now + 9, world.now + 9)
    endpoint.commit(world.epoch, 0, world.now)
    with pytest.raises(Denied):
        endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", world.now + 9)


def test_between_a_new_session_and_its_rights_nobody_is_told_that_no_policy_line_allows_it() -> None:
    """An authority that comes again says them in several messages; a call that is made meanwhile waits."""
    world = MemoryHost()
    endpoint = world.endpoints[CONSOLE]
    for session in (bytes(16), bytes(15) + b"1"):  # the second comes before the rights of the first
        endpoint.apply_session(world.epoch, session, 3, bytes(32), 1, bytes(32), b"token", world.now + 9, world.now + 9)
        with pytest.raises(Unavailable, match="has just begun"):
            endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", world.now + 9)
        with pytest.raises(Denied):
            endpoint.seal_request(FrameKind.REQUEST, "forth/power", "status", b"", world.now + 9)
    endpoint.apply_right(world.epoch, STORE, 2, bytes(32), ("get",))
    assert endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", world.now + 9)[0] == 1


def _prepare(world: MemoryHost, epoch: int) -> None:
    world.verifier.add_epoch(epoch, key_schedule.token_key(world.run, epoch))
    before, world.epoch = world.epoch, epoch
    for subject in (CONSOLE, STORE):
        endpoint = world.endpoints[subject]
        session = world.session(subject)
        proof = key_schedule.proof_key(world.gate_root(epoch), session)
        endpoint.apply_session(
            epoch, session, world.incarnations[subject.partition("/")[0]], world.mailbox(subject), 1, proof,
            world.token(subject), world.now + 60_000, world.now + 60_000,
        )  # fmt: skip
        for target, methods in POLICY[subject].items():
            key = key_schedule.request_key(world.mailbox(target), session)
            endpoint.apply_right(epoch, target, world.incarnations[target.partition("/")[0]], key, methods)
    world.epoch = before


def test_an_epoch_change_in_two_phases_loses_nothing() -> None:
    world = MemoryHost()
    old = world.request(body=b"old")
    _prepare(world, 8)
    still_old = world.request(body=b"still old")
    assert world.header(still_old).epoch == 7
    world.endpoints[CONSOLE].commit(8, 5_000, world.now)
    new = world.request(body=b"new")
    assert world.header(new).epoch == 8
    assert [opens(world, data) for data in (old, still_old, new)] == [b"old", b"still old", b"new"]
    answer = reply_to(world, new)
    assert world.header(answer).epoch == 8  # the asker's epoch: it has those keys for certain
    assert opens(world, answer, CONSOLE) == b"answer"


def test_who_waits_for_a_recipient_that_is_another_one_in_a_new_epoch_is_told() -> None:
    world = MemoryHost()
    told: list[str] = []
    endpoint = world.endpoints[CONSOLE]
    endpoint.set_observer(Mock(on_recipient_restarted=told.append))
    world.incarnations["secondary"] += 1  # it has died in between, and the new epoch knows only the new one
    _prepare(world, 8)
    assert told == []
    endpoint.commit(8, 5_000, world.now)
    assert told == [STORE]
    endpoint.commit(8, 5_000, world.now)
    assert told == [STORE], "once"


def test_a_reply_to_an_asker_whose_new_keys_are_still_on_their_way() -> None:
    world = MemoryHost()
    data = world.request()
    _prepare(world, 8)
    store = world.endpoints[STORE]
    store.commit(8, 5_000, world.now)
    assert opens(world, reply_to(world, data), CONSOLE) == b"answer"
    store.retire(world.now + 5_000)
    assert world.header(reply_to(world, data)).epoch == 8


def test_after_the_grace_the_old_epoch_is_gone() -> None:
    world = MemoryHost()
    old = world.request()
    _prepare(world, 8)
    store = world.endpoints[STORE]
    store.commit(8, 5_000, world.now)
    store.retire(world.now + 4_999)
    late = world.request()
    assert opens(world, late) == b"x"
    store.retire(world.now + 5_000)
    assert refuses(world, old) == "stale_epoch"


def test_refusals_end_only_our_own_calls() -> None:
    world = MemoryHost()
    header = Header(
        1, FrameKind.REFUSAL, bytes(16), 0, 0, "gate", CONSOLE, 0, 0, "", 7, world.now + 9,
        correlation(world.session(CONSOLE), 1), 0,
    )  # fmt: skip
    data = pack_frame(pack_header(header), b"", b"busy", b"")
    assert opens(world, data, CONSOLE) == b"busy"
    assert refuses(world, data, NETWORK) == "bad_refusal"
    foreign = header._replace(correlation=correlation(world.session(NETWORK), 1))
    assert refuses(world, pack_frame(pack_header(foreign), b"", b"busy", b""), CONSOLE) == "bad_refusal"


def test_remembered_sessions_are_bounded_and_let_go_after_their_last_token() -> None:
    world = MemoryHost()
    store = world.endpoints[STORE]
    for number in range(70):
        header = world.plain_header(session=number.to_bytes(16, "big"), seq=1)
        token = world.token(CONSOLE, session=header.session)
        store.open_untrusted(*_split(world.forge(CONSOLE, header, b"", token=token)), world.now)
    store.retire(world.now + 60_001)
    assert len(store.heard) == 70, "a frame may be repeated under the token that follows, until its deadline"
    store.retire(world.now + 60_000 + 305_000)
    assert not len(store.heard)


def _split(data: bytes) -> tuple[Frame, Header]:
    frame = parts(data)

    return frame, parse_header_untrusted(frame.header)


def test_an_epoch_that_brings_no_keys_leaves_the_session_mute() -> None:
    world = MemoryHost()
    world.endpoints[CONSOLE].commit(8, 0, world.now)
    with pytest.raises(Unavailable):
        world.request()
