"""Control channels: the table decides, and a hostile or dead peer costs us nothing."""

from __future__ import annotations

import array
import os
import socket
import tracemalloc
from pathlib import Path
from typing import NamedTuple

import msgpack
import pytest

from tlsrt.channels.control.life import LIFE, LoopState
from tlsrt.channels.control.seqpacket import ControlChannel, Message, MessageTable, control_pair
from tlsrt.channels.control.trust import TRUST
from tlsrt.errors import MisuseError, PeerError

SAMPLES: dict[type, object] = {int: 1, bytes: b"", str: "", list: [], dict: {}}


class Hello(NamedTuple):
    number: int
    words: bytes


A, CHOSEN, X = frozenset({"a", "chosen"}), frozenset({"chosen"}), frozenset({"x"})
TABLE = MessageTable(
    "test",
    256,
    (
        Message(1, "hello", A, X, Hello),
        Message(2, "gift", A, X, descriptors=1),
        Message(3, "secret", CHOSEN, X),
        Message(4, "back", frozenset({"b"}), X),
    ),
)


def pair(table: MessageTable = TABLE) -> tuple[ControlChannel, socket.socket]:
    ours, theirs = control_pair()
    return ControlChannel(ours, table), socket.socket(fileno=theirs)


def reason(channel: ControlChannel, *, descriptors: bool = False) -> str:
    with pytest.raises(PeerError) as caught:
        channel.receive("a", "x", descriptors=descriptors)
    return caught.value.reason


def test_round_trip_and_nothing_waiting() -> None:
    ours, theirs = control_pair()
    left, right = ControlChannel(ours, TABLE), ControlChannel(theirs, TABLE)
    assert right.receive("a", "x") is None
    left.send("hello", 1, b"x")
    assert right.receive("a", "x") == ("hello", Hello(1, b"x"), [])
    left.close()
    assert reason(right) == "closed"
    right.close()


def test_last_words_are_heard_from_a_peer_that_has_not_read_ours() -> None:
    """The kernel says "connection reset" first, although packets wait."""
    ours, theirs = control_pair()
    left, right = ControlChannel(ours, TABLE), ControlChannel(theirs, TABLE)
    right.send("hello", 1, b"unread")
    left.send("hello", 2, b"last")
    left.close()
    assert right.receive("a", "x") == ("hello", (2, b"last"), [])
    assert reason(right) == "closed"
    right.close()


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (msgpack.packb([9]), "unknown_message"),
        (msgpack.packb([1, 1]), "bad_fields"),
        (msgpack.packb([1, -1, b""]), "bad_fields"),
        (msgpack.packb([1, True, b""]), "bad_fields"),
        (msgpack.packb([1, 1, "text"]), "bad_fields"),
        (msgpack.packb([True, 1, b""]), "not_a_message"),
        (msgpack.packb([]), "not_a_message"),
        (msgpack.packb("x"), "not_a_message"),
        (b"\xc1", "not_msgpack"),
        (b"\x91" * 250, "not_msgpack"),
        (b"x" * 257, "bad_packet_size"),
        (b"x" * 4000, "truncated"),
        (b"", "closed"),
    ],
)
def test_hostile_packets(packet: bytes, wanted: str) -> None:
    channel, peer = pair()
    peer.send(packet)
    assert reason(channel) == wanted
    channel.close()
    peer.close()


def test_a_packet_that_claims_much_costs_little() -> None:
    packet = (b"\xdd" + (60_000).to_bytes(4, "big")) * 1000
    tracemalloc.start()
    try:
        with pytest.raises(PeerError, match="not_msgpack"):
            TRUST.decode_untrusted(packet, "loop", "joined")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_direction_and_state() -> None:
    packet = TABLE.encode("hello", 1, b"")
    with pytest.raises(PeerError, match="wrong_direction"):
        TABLE.decode_untrusted(packet, "b", "x")
    with pytest.raises(PeerError, match="wrong_state"):
        TABLE.decode_untrusted(packet, "a", "y")
    with pytest.raises(PeerError, match="wrong_direction"):
        TABLE.decode_untrusted(TABLE.encode("back"), "a", "x")


def test_a_message_of_one_peer_is_refused_from_every_other_on_its_side() -> None:
    packet = TABLE.encode("secret")
    assert TABLE.decode_untrusted(packet, "chosen", "x") == ("secret", ())
    with pytest.raises(PeerError, match="not_chosen"):
        TABLE.decode_untrusted(packet, "a", "x")
    with pytest.raises(PeerError, match="wrong_direction"):
        TABLE.decode_untrusted(packet, "b", "x")
    assert TABLE.sent_by("a") == {"hello", "gift"} and TABLE.sent_by("chosen") == {"hello", "gift", "secret"}


def test_a_loop_that_is_not_primary_may_send_few_messages_and_primary_all_but_those_of_others() -> None:
    jobs = {"job_put", "job_list", "job_show", "job_remove", "job_pause", "job_resume", "job_over"}
    assert TRUST.sent_by("loop") == {"join", "prepared", "recipient_reports", "rest", "wake"} | jobs
    assert TRUST.sent_by("primary") >= {"join", "prepared", "open", "lock", "unlock", "offences", "telemetry"}
    assert not TRUST.sent_by("primary") & {"recipient_reports", *jobs}
    assert TRUST.sent_by("door") == {"join", "prepared", "tried", "pair_tried", "rest", "wake"}
    for message in TRUST.messages:
        sender = next(iter(message.who - {"loop"}), "loop")
        packet = TRUST.encode(message.name, *(SAMPLES[kind] for kind in message.types))
        state = next(iter(message.states))
        for other in {"loop", "primary", "door", "authority"} - message.who:
            with pytest.raises(PeerError, match=r"^not_(primary|loop|door_primary|door_loop)$|^wrong_direction$"):
                TRUST.decode_untrusted(packet, other, state)
        assert TRUST.decode_untrusted(packet, sender, state)[0] == message.name


def test_every_life_message_is_refused_in_every_state_that_the_table_does_not_list() -> None:
    refused = 0
    for message in LIFE.messages:
        packet = LIFE.encode(message.name, *(SAMPLES[kind] for kind in message.types))
        for state in LoopState:
            if state in message.states:
                assert LIFE.decode_untrusted(packet, next(iter(message.who)), state)[0] == message.name
            else:
                refused += 1
                with pytest.raises(PeerError, match="wrong_state"):
                    LIFE.decode_untrusted(packet, next(iter(message.who)), state)
    assert refused > 40


def test_our_own_mistakes_are_ours() -> None:
    for fields in ((1,), (1, "x"), (-1, b""), (1, b"x" * 300)):
        with pytest.raises(MisuseError):
            TABLE.encode("hello", *fields)


def test_a_peer_that_does_not_read_is_hung_and_never_blocks_us() -> None:
    channel, peer = pair()

    def fill() -> None:
        for _ in range(100_000):
            channel.send("hello", 1, b"x" * 200)

    with pytest.raises(PeerError, match="hung"):
        fill()
    channel.close()
    peer.close()


def _open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_descriptors_that_nobody_asked_for_do_not_stay() -> None:
    channel, peer = pair()
    before = _open_descriptors()
    for descriptors in (False, True):
        for _ in range(20):
            peer.sendmsg(
                [TABLE.encode("hello", 1, b"")],
                [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [peer.fileno()] * 3))],
            )
            if descriptors:
                assert reason(channel, descriptors=True) == "bad_descriptors"
            else:
                assert channel.receive("a", "x") == ("hello", (1, b""), [])
    assert _open_descriptors() == before
    channel.close()
    peer.close()


def test_descriptors_arrive_where_they_are_expected() -> None:
    ours, theirs = control_pair()
    left, right = ControlChannel(ours, TABLE), ControlChannel(theirs, TABLE)
    left.send("gift", descriptors=[left.fileno()])
    message = right.receive("a", "x", descriptors=True)
    assert message is not None
    assert message[0] == "gift"
    os.close(message[2][0])
    left.send("gift", descriptors=[left.fileno(), left.fileno()])
    assert reason(right, descriptors=True) == "bad_descriptors"
    left.close()
    right.close()


def test_the_rights_message_of_a_full_page_fits() -> None:
    from tlsrt.channels.control.trust import RIGHTS_PER_PAGE

    entry = ["x" * 80, 1, bytes(32), ["m" * 20] * 20]
    assert TRUST.encode("rights", 1, "x" * 80, [entry] * RIGHTS_PER_PAGE)
