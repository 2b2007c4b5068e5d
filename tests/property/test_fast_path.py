"""The gate's fast path against its full check: the same verdicts and the same state over random conversations."""

from __future__ import annotations

from typing import Any

import pytest
from fakes.memory_host import MemoryHost
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsrt.channels.frames.frame import FrameKind, correlation, names_of
from tlsrt.loops.gate.state import GateVerdict

CONSOLE, NETWORK, STORE, ADMIN = "third/console", "external/network", "secondary/store", "client/admin"
ASKERS = (CONSOLE, NETWORK, ADMIN)
STEPS = st.tuples(
    st.sampled_from(
        ["ask", "ask", "ask", "ask_all", "answer", "answer", "answer_all", "again", "flip", "tail", "other socket",
         "late", "far", "time", "feed", "revoke", "member", "attest", "epoch", "sweep", "renew", "empty", "odd", "odd"]
    ),
    st.integers(0, 1 << 20),
)  # fmt: skip
LAST_NUMBERS = (0, 100, 120, 250, 300, 65_500)  # from which the next ones need one byte, two, three or five


class Twins:
    """Two worlds with the same keys: one gate with its fast path, one that always asks everything."""

    def __init__(self, ending: bytes = b"", before: int = 300) -> None:
        self.one, self.two = MemoryHost(ending=ending), MemoryHost(ending=ending)
        self.now = self.one.now
        for endpoint in (*self.one.endpoints.values(), *self.two.endpoints.values()):
            endpoint._seq = before
        self.asked: list[Any] = []
        self.sent: list[tuple[bytes, str]] = []
        self.fast_path = 0

    def say(self, data: bytes, subject: str) -> None:
        self.sent.append((data, subject))
        first = self.one.gate.check_untrusted(data, self.one.origin(subject), self.now)
        second = self.two.gate.check_in_order_untrusted(data, self.two.origin(subject), self.now)
        assert first == second
        assert self.state(self.one) == self.state(self.two)

    @staticmethod
    def state(world: MemoryHost) -> object:
        gate = world.gate
        return (
            gate.refused, gate.calls.late, sorted(gate.calls.by_name),
            [(call[0].src, call[0].dst, call[0].answers, call[1]) for _, call in sorted(gate.calls.by_name.items())],
            {name: (item.last, item.expires, item.open_calls) for name, item in gate.each_session.items()},
        )  # fmt: skip

    def step(self, what: str, number: int) -> None:
        subject = ASKERS[number % 3]
        endpoint, deadline = self.one.endpoints[subject], self.now + 10_000 + number % 3
        if what == "ask":
            body = bytes(number % 70_000 if number % 50 == 0 else number % 300)
            flags = 4 if number % 17 == 0 else 0
            data = endpoint.seal_request(FrameKind.REQUEST, STORE, "get", body, deadline, flags=flags)[1]
            self.asked.append(self.one.header(data))
            self.say(data, subject)
        elif what == "ask_all":
            numbers = range(endpoint._seq + 1, endpoint._seq + 2 + number % 31)
            endpoint._seq = numbers[-1]
            data = endpoint.seal_requests(
                numbers, STORE, "get", [b"\xc0"] * len(numbers), deadline, 7, endpoint.session
            )
            self.asked.append(self.one.header(data))
            self.say(data, subject)
        elif what in ("answer", "answer_all") and self.asked:
            self.answer(self.asked[number % len(self.asked)], number)
        elif what in ("again", "other socket") and self.sent:
            data, subject = self.sent[number % len(self.sent)]
            self.say(data, subject if what == "again" else (CONSOLE, NETWORK, STORE, ADMIN)[number % 4])
        elif what in ("flip", "tail", "empty"):
            self.broken(
                what, number, endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"x" * 20, deadline)[1], subject
            )
        elif what in ("late", "far"):
            deadline = self.now - number % 2 if what == "late" else self.now + 300_000 + number % 6_000
            self.say(endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", deadline)[1], subject)
        elif what == "odd":
            self.say(self.one.odd_request(number, number >> 2 & 0xFF), CONSOLE)
        else:
            self.change(what, number)

    def answer(self, header: Any, number: int) -> None:
        store = self.one.endpoints[STORE]
        if header.kind == FrameKind.REQUESTS:
            names = names_of(header)[number % 5 :]
            if len(names) > 1:
                self.say(store.seal_replies(header, names, [b"\xc0"] * len(names), self.now + 1000), STORE)
        else:
            name = correlation(header.session, header.seq)
            kind = FrameKind.ERROR if number % 7 == 0 else FrameKind.REPLY
            self.say(store.seal_reply(kind, header, bytes(number % 300), self.now + 1000, correlation=name), STORE)

    def broken(self, what: str, number: int, data: bytes, subject: str) -> None:
        if what == "flip" and data:
            at = number % max(1, len(data))  # a tail may be nothing
            data = data[:at] + bytes((data[at] ^ (1 << number % 8),)) + data[at + 1 :]
        elif what == "tail":
            data = data[: -1 - number % 40] if number % 2 else data + bytes(number % 40)
        else:
            data = data[: number % 60]
        self.say(data, subject)

    def change(self, what: str, number: int) -> None:
        if what == "time":
            self.now += number % 40_000
        for world in (self.one, self.two):
            if what == "feed" or (what == "time" and number % 5):
                world.verifier.snapshot(1, 0, 1, 0, self.now, [], self.now)
            elif what == "revoke" and number % 9 == 0:
                world.verifier.revoke(0, "session", world.session(ASKERS[number % 2]), self.now)
            elif what == "member":
                world.gate.set_loop("secondary", 2 if number % 4 else 0, 7)
            elif what == "attest":
                world.gate.set_loop("third", 3, 7 if number % 3 else 6)
            elif what == "epoch" and number % 7 == 0:
                world.gate.drop_epoch(7)
                world.gate.set_root(7, 1 if number % 2 else 2, world.gate_root(7))
            elif what == "sweep":
                world.gate.sweep(self.now)
        if what == "renew":
            subject = (*ASKERS, STORE)[number % 4]
            token = self.one.token(subject, token_id=number.to_bytes(16, "big"), issued=self.now,
                                   not_before=self.now, expires=self.now + 60_000)  # fmt: skip
            self.one.endpoints[subject]._epochs[7].token = token


@given(
    st.lists(STEPS, max_size=60), st.sampled_from([b"", b"\xcc", b"\xcd", b"\xce", b"\x05", b"\xe0"]),
    st.sampled_from(LAST_NUMBERS),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_the_fast_path_lets_pass_what_the_full_check_lets_pass(
    steps: list[tuple[str, int]], ending: bytes, before: int
) -> None:
    twins = Twins(ending, before)
    for what, number in steps:
        twins.step(what, number)


@pytest.mark.parametrize("before", LAST_NUMBERS)
def test_most_frames_of_a_conversation_take_the_fast_path(before: int) -> None:
    """So that the comparison above compares something."""
    twins, full = Twins(before=before), []
    check = twins.one.gate.check_in_order_untrusted

    def count(*arguments: Any) -> GateVerdict:
        full.append(arguments)
        return check(*arguments)

    twins.one.gate.check_in_order_untrusted = count  # type: ignore[assignment,method-assign]
    for number in range(0, 90, 3):
        twins.step("ask", number + 51)
        twins.step("ask_all", 9)
        for _ in range(2):
            header = twins.asked.pop()
            twins.answer(header, 1)
    assert twins.one.gate.refused == 0
    assert len(twins.sent) == 120
    assert len(full) < 24


@pytest.mark.parametrize("before", [3, 130, 300])
def test_every_flipped_bit_of_a_frame_that_the_fast_path_knows_is_refused_as_by_the_full_check(before: int) -> None:
    twins = Twins(before=before)
    for _ in range(2):
        twins.step("ask", 60)
    data = twins.one.endpoints[CONSOLE].seal_request(FrameKind.REQUEST, STORE, "get", b"body", twins.now + 10_000)[1]
    for at in range(len(data)):
        for bit in range(8):
            bad = data[:at] + bytes((data[at] ^ (1 << bit),)) + data[at + 1 :]
            twins.say(bad, CONSOLE)
            if twins.one.gate.each_session[twins.one.session(CONSOLE)].last > before + 2:
                twins = Twins(before=before)
                for _ in range(2):
                    twins.step("ask", 60)


MARKS = (0xCC, 0xCD, 0xCE)  # of numbers, which a session's last byte can look like


@pytest.mark.parametrize("variant", range(3))
@pytest.mark.parametrize("ending", MARKS)
def test_a_header_that_is_not_the_shortest_is_read_as_the_parser_reads_it(ending: int, variant: int) -> None:
    twins = Twins(bytes((ending,)))
    twins.say(twins.one.odd_request(variant, 5), CONSOLE)
    for mark in (7, 0x80, 0xC0, 0xCC, 0xE0, 0xFF):
        twins.say(twins.one.odd_request(variant, mark), CONSOLE)
