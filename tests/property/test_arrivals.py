"""The recipient's fast path against `Endpoint.open_untrusted`: the same frames, contents and state."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from fakes.frame_sender import FakeChannel
from fakes.linked_components import ProcessorNotes
from fakes.memory_host import MemoryHost
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt import Component
from tlsrt.channels.frames.frame import FrameKind, correlation, names_of, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.links.write_batch import WriteBatch
from tlsrt.channels.session.endpoint import Endpoint, OpenedFrame
from tlsrt.config import key_schedule
from tlsrt.config.components import ComponentConfig
from tlsrt.errors import PeerError
from tlsrt.loops.dispatch.fast_path import ReceiveFastPath, Recipient
from tlsrt.loops.dispatch.processor_shares import ProcessorShares
from tlsrt.loops.runtime.component_host import ComponentHost

CONSOLE, NETWORK, STORE, ADMIN = "third/console", "external/network", "secondary/store", "client/admin"
ASKERS = (CONSOLE, NETWORK, ADMIN)
STEPS = st.tuples(
    st.sampled_from(
        ["ask", "ask", "ask", "ask_all", "answer", "answer", "answer_all", "again", "flip", "tail", "other", "late",
         "far", "time", "feed", "revoke", "right", "mailbox", "epoch", "retire", "renew", "forge", "session",
         "odd", "odd"]
    ),
    st.integers(0, 1 << 20),
)  # fmt: skip
LAST_NUMBERS = (0, 100, 120, 250, 300, 65_500)  # from which the next ones need one byte, two, three or five


def heard_by(endpoint: Endpoint) -> dict[bytes, tuple[int, int]]:
    return {session: (heard.last, heard.until) for session, heard in endpoint.heard}


class Twins:
    """Two worlds with the same keys: recipients with their fast path, and recipients that always ask everything."""

    def __init__(self, ending: bytes = b"", before: int = 300) -> None:
        self.one, self.two = MemoryHost(ending=ending), MemoryHost(ending=ending)
        self.now = self.one.now
        self.sealer = MemoryHost(ending=ending)  # seals everything, so that both recipients keep to receiving
        for endpoint in self.sealer.endpoints.values():
            endpoint._seq = before
        self.lane = ReceiveFastPath(self.one.verifier)
        self.hosts = {subject: self.host(subject) for subject in (STORE, CONSOLE, NETWORK)}
        for host in self.hosts.values():
            self.lane.add(host)
        self.asked: list[Any] = []
        self.sent: list[tuple[bytes, str]] = []
        self.by_lane = 0

    def host(self, subject: str) -> ComponentHost:
        loop, _, name = subject.partition("/")
        host = ComponentHost(
            ComponentConfig(loop, name, "x:X"), Component(), self.one.verifier,
            FakeChannel(lambda frame: None), lambda: self.now,
            Path("/nowhere"), ProcessorShares(WriteBatch(cast("Any", "no loop")), ProcessorNotes()), waiting_max=1,
        )  # fmt: skip
        host.endpoint = self.one.endpoints[subject]
        return host

    def say(self, data: bytes, to: str) -> None:
        self.sent.append((data, to))
        first = self.fast(data)
        second = self.slow(self.two, data)
        assert first == second
        for subject in self.hosts:
            assert heard_by(self.one.endpoints[subject]) == heard_by(self.two.endpoints[subject])

    def fast(self, data: bytes) -> OpenedFrame | str:
        recognise = self.lane.recognise_untrusted

        def counted(data: bytes, now: int) -> tuple[Recipient, OpenedFrame] | None:
            known = recognise(data, now)
            self.by_lane += known is not None
            return known

        self.lane.recognise_untrusted = counted  # type: ignore[method-assign]
        try:
            return self.lane.open_untrusted(data, self.now)[1]
        except PeerError as error:
            return error.reason
        finally:
            self.lane.recognise_untrusted = recognise  # type: ignore[method-assign]

    def slow(self, world: MemoryHost, data: bytes) -> OpenedFrame | str:
        try:
            frame = parse_frame_untrusted(data)
            header = parse_header_untrusted(frame.header)
            if header.dst not in self.hosts:
                raise PeerError("not_mine")
            return world.endpoints[header.dst].open_untrusted(frame, header, self.now)
        except PeerError as error:
            return error.reason

    def step(self, what: str, number: int) -> None:
        subject = ASKERS[number % 3]
        endpoint, deadline = self.sealer.endpoints[subject], self.now + 10_000 + number % 3
        if what in ("ask", "late", "far"):
            body = bytes(number % 70_000 if number % 50 == 0 else number % 300)
            deadline += {"ask": 0, "late": -10_003, "far": 285_000 + number % 20_000}[what]
            data = endpoint.seal_request(FrameKind.REQUEST, STORE, "get", body, deadline)[1]
            self.asked.append(self.one.header(data))
            self.say(data, STORE)
        elif what == "ask_all":
            numbers = range(endpoint._seq + 1, endpoint._seq + 3 + number % 30)
            endpoint._seq = numbers[-1]
            data = endpoint.seal_requests(
                numbers, STORE, "get", [b"\xc0"] * len(numbers), deadline, 7, endpoint.session
            )
            self.asked.append(self.one.header(data))
            self.say(data, STORE)
        elif what in ("answer", "answer_all") and self.asked:
            self.answer(self.asked[number % len(self.asked)], number)
        elif what in ("again", "other", "flip", "tail") and self.sent:
            data, to = self.sent[number % len(self.sent)]
            at = number % max(1, len(data))  # a tail may be nothing
            if what == "flip" and data:
                data = data[:at] + bytes((data[at] ^ (1 << number % 8),)) + data[at + 1 :]
            elif what == "tail":
                data = data[:at]
            self.say(data, to)
        elif what == "forge":
            header = self.sealer.plain_header(seq=endpoint._seq + 1)
            self.say(self.sealer.forge(CONSOLE, header, b"x", request_key=bytes(32)), STORE)
        elif what == "odd":
            self.say(self.one.odd_request(number, number >> 2 & 0xFF), STORE)
        else:
            self.change(what, number, subject)

    def answer(self, header: Any, number: int) -> None:
        store = self.sealer.endpoints[STORE]
        if header.kind == FrameKind.REQUESTS:
            names = names_of(header)
            self.say(store.seal_replies(header, names, [b"\xc0"] * len(names), self.now + 1000), header.src)
        else:
            name = correlation(header.session, header.seq)
            if number % 5 == 0:
                name = bytes(16) + name[16:]
            self.say(store.seal_reply(FrameKind.REPLY, header, b"x", self.now + 1000, correlation=name), header.src)

    def change(self, what: str, number: int, subject: str) -> None:
        if what == "time":
            self.now += number % 40_000
        for world in (self.one, self.two):
            if what == "feed" or (what == "time" and number % 5):
                world.verifier.snapshot(1, 0, 1, 0, self.now, [], self.now)
            elif what == "revoke" and number % 9 == 0:
                world.verifier.revoke(0, "session", world.session(ASKERS[number % 2]), self.now)
            elif what == "right" and number % 3 == 0:
                world.endpoints[CONSOLE].apply_right(7, STORE, 2 + number % 2, bytes(32) if number % 2 else
                    key_schedule.request_key(world.mailbox(STORE), world.session(CONSOLE)), ("*",))  # fmt: skip
            elif what in ("mailbox", "session") and number % 4 == 0:
                held = world.endpoints[STORE]._epochs[7]
                session = world.session(STORE) if what == "mailbox" else bytes(16)
                world.endpoints[STORE].apply_session(
                    7, session, 2 + number % 3, held.mailbox_root, held.gate, bytes(32), held.token, 0, 0
                )
            elif what == "epoch" and number % 7 == 0:
                world.verifier.drop_epoch(7)
                if number % 2:
                    world.verifier.add_epoch(7, key_schedule.token_key(world.run, 7))
            elif what == "retire":
                world.endpoints[STORE].retire(self.now)
        if what == "renew":
            subject = (*ASKERS, STORE)[number % 4]
            self.sealer.endpoints[subject]._epochs[7].token = self.one.token(
                subject, token_id=number.to_bytes(16, "big"), issued=self.now, not_before=self.now,
                expires=self.now + 60_000,
            )  # fmt: skip


@given(
    st.lists(STEPS, max_size=60), st.sampled_from([b"", b"\xcc", b"\xcd", b"\xce", b"\x05", b"\xe0"]),
    st.sampled_from(LAST_NUMBERS),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_the_fast_path_opens_what_is_opened_when_everything_is_asked(
    steps: list[tuple[str, int]], ending: bytes, before: int
) -> None:
    twins = Twins(ending, before)
    for what, number in steps:
        twins.step(what, number)


@pytest.mark.parametrize("before", LAST_NUMBERS)
def test_most_frames_of_a_conversation_take_the_lane(before: int) -> None:
    """So that the comparison above compares something."""
    twins = Twins(before=before)
    for number in range(0, 90, 3):
        twins.step("ask", number + 51)
        twins.step("ask_all", 9)
        for _ in range(2):
            twins.answer(twins.asked.pop(), 1)
    assert twins.by_lane > 96


@pytest.mark.parametrize("before", [3, 130, 300])
def test_every_flipped_bit_of_a_frame_that_the_lane_knows_is_refused_or_only_the_gates_to_refuse(before: int) -> None:
    twins = Twins(before=before)
    for _ in range(2):
        twins.step("ask", 60)
    data = twins.sealer.endpoints[CONSOLE].seal_request(FrameKind.REQUEST, STORE, "get", b"body", twins.now + 10_000)[1]
    for at in range(len(data)):
        for bit in range(8):
            bad = data[:at] + bytes((data[at] ^ (1 << bit),)) + data[at + 1 :]
            twins.say(bad, STORE)
            if heard_by(twins.one.endpoints[STORE])[twins.one.session(CONSOLE)][0] > before + 2:
                assert at >= len(data) - 16  # the proof, which a recipient does not look at
                twins = Twins(before=before)
                for _ in range(2):
                    twins.step("ask", 60)


MARKS = (0xCC, 0xCD, 0xCE)  # of numbers, which a session's last byte can look like


@pytest.mark.parametrize("variant", range(3))
@pytest.mark.parametrize("ending", MARKS)
def test_a_header_that_is_not_the_shortest_is_read_as_the_parser_reads_it(ending: int, variant: int) -> None:
    twins = Twins(bytes((ending,)))
    twins.say(twins.one.odd_request(variant, 5), STORE)
    for mark in (7, 0x80, 0xC0, 0xCC, 0xE0, 0xFF):
        twins.say(twins.one.odd_request(variant, mark), STORE)
