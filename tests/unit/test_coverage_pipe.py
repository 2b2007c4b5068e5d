"""Coverage of forked children over one shared pipe."""

from __future__ import annotations

import os
import random
import sys

import pytest
from hosts import coverage_pipe
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.binary(max_size=20_000), max_size=5))
def test_what_is_sent_is_collected(dumps: list[bytes]) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    received = b""
    for dump in dumps:
        coverage_pipe.send(writing, dump)
        received += os.read(reading, 1 << 20)
    os.close(reading)
    os.close(writing)
    assert coverage_pipe.collect(received) == dumps


def test_packets_of_several_children_may_interleave_and_a_torn_one_is_left_out() -> None:
    reading, writing = os.pipe()
    dumps = [bytes([number]) * 10_000 for number in range(4)]
    for dump in dumps:
        coverage_pipe.send(writing, dump)
    packets, rest = [], os.read(reading, 1 << 20)
    while rest:
        length = 11 + int.from_bytes(rest[9:11], "big")
        packets.append(rest[:length])
        rest = rest[length:]
    os.close(reading)
    os.close(writing)
    assert max(map(len, packets)) <= 4096
    queues = [packets[at : at + 3] for at in range(0, 12, 3)]
    mixed: list[bytes] = []
    generator = random.Random(1)
    while any(queues):
        mixed.append(generator.choice([queue for queue in queues if queue]).pop(0))
    assert sorted(coverage_pipe.collect(b"".join(mixed))) == dumps
    assert len(coverage_pipe.collect(b"".join(mixed)[:-1])) <= 4
    assert len(coverage_pipe.collect(b"".join(packets[:-1]))) == 3


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(coverage_pipe.VARIABLE, raising=False)
    before = set(sys.modules)
    coverage_pipe.install()
    with coverage_pipe.measured() as kept:
        assert kept == ()
    assert {name for name in set(sys.modules) - before if name.startswith("coverage")} == set()


def test_a_forked_child_that_ends_with_os_exit_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import coverage

    from tlsrt.text import duration

    reading, writing = os.pipe()
    monkeypatch.setenv(coverage_pipe.VARIABLE, str(writing))
    pid = os.fork()
    if pid == 0:
        try:
            with coverage_pipe.measured() as kept:
                assert kept == (writing,)
                duration(61)
        finally:
            os._exit(0)
    os.close(writing)
    received = b""
    while piece := os.read(reading, 65536):
        received += piece
    os.close(reading)
    os.waitpid(pid, 0)
    (dump,) = coverage_pipe.collect(received)
    data = coverage.CoverageData(no_disk=True)
    data.loads(dump)
    (path,) = [name for name in data.measured_files() if name.endswith("tlsrt/text.py")]
    assert data.lines(path)
    data.close(force=True)
