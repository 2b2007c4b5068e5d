"""Structure of a value: whatever the bytes are, reading them costs little, and what is written can be read."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.frames.body import decode_bundle_untrusted, encode_value, join_bodies, pack_value
from tlsrt.channels.frames.structure import CONTAINERS_MAX, DEPTH_MAX, StructureError, heads, unpack_untrusted
from tlsrt.errors import InvalidArgument, PeerError

SIZE = 64 * 1024
GENEROUS_S = 0.05  # fifty times what is measured on an idle machine; what was found took 600 ms


def _many(item: bytes) -> bytes:
    count = (SIZE - 5) // len(item)
    return b"\xdd" + count.to_bytes(4, "big") + item * count


def _map(count: int) -> bytes:
    return b"\xdf" + count.to_bytes(4, "big") + b"".join(b"\xa4%04x\xc0" % number for number in range(count))


def _colliding(count: int) -> bytes:
    """Return a map whose keys are numbers that a map of Python looks for in the same places."""
    numbers = [*range(count), *(at << 40 for at in range(1, count))]
    return b"\xdf" + len(numbers).to_bytes(4, "big") + b"".join(msgpack.packb(number) + b"\xc0" for number in numbers)


HOSTILE = {
    "arrays that claim": (b"\xdd" + (5000).to_bytes(4, "big")) * 1020,
    "arrays that claim as much as there is": (b"\xdd" + (65000).to_bytes(4, "big")) * 32 + b"\xc0" * (SIZE - 160),
    "arrays that claim 4 G": b"\xdd\xff\xff\xff\xff" * 13_000,
    "maps that claim": b"\xdf\x00\x00\xff\x00\xa0" * 10_000,
    "small arrays that claim": (b"\xdc\x01\xfe") * 32 + b"\xc0" * 400,
    "arrays within each other": b"\x91" * 65_000 + b"\xc0",
    "empty arrays": _many(b"\x90"),
    "arrays of one": _many(b"\x91\xc0"),
    "empty maps": _many(b"\x80"),
    "maps of one": _many(b"\x81\xa0\xc0"),
    "numbers": _many(b"\x01"),
    "texts of one letter": _many(b"\xa1a"),
    "texts of two bytes": _many(b"\xa2\xc3\xa9"),
    "empty bins": _many(b"\xc4\x00"),
    "floats": _many(b"\xca\x01\x02\x03\x04"),
    "a text": b"\xda\xff\xf0" + b"\xc3\xa9" * 32_760,
    "a map of many keys": _map(10_900),
    "a map of chosen numbers": _colliding(5000),
    "extensions": _many(b"\xd4\x01\x00"),
    "empty extensions": _many(b"\xc7\x00\x01"),
}


def _read(body: bytes) -> str:
    try:
        unpack_untrusted(body)
    except StructureError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", HOSTILE)
def test_no_body_costs_much_time_or_memory(name: str) -> None:
    body = HOSTILE[name]
    took = min(_timed(lambda: _read(body)) for _ in range(5))
    assert took < GENEROUS_S
    # The table of interned strings, which keys of maps go into, grows now and then, and by megabytes: not each time.
    assert min(_peak(lambda: _read(body)) for _ in range(3)) < 64 * len(body) + 300_000


def _peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


@pytest.mark.parametrize("inner", [b"\x90", b"\x80", b"\xc0"])
@pytest.mark.parametrize("level", [b"\x91", b"\x81\xa0", b"\xdc\x00\x01", b"\xde\x00\x01\xc4\x01k"])
@pytest.mark.parametrize("padding", [b"", b"\xc5\x04\x00" + b"\x91" * 1024, b"\xc5\x40\x00" + b"\xc0" * 16384])
def test_the_depth_is_bounded_to_the_level(inner: bytes, level: bytes, padding: bytes) -> None:
    levels = DEPTH_MAX - (inner != b"\xc0") - bool(padding)

    def body(count: int) -> bytes:
        nested = level * count + inner
        return b"\x92" + padding + nested if padding else nested

    assert _read(body(levels)) == ""
    assert _read(body(levels + 1)) == f"it is nested more than {DEPTH_MAX} deep"
    assert _read(body(levels)) == "", "a refused body leaves nothing behind"


def test_a_bundle_has_one_level_more_than_what_it_holds() -> None:
    deepest = b"\x91" * (DEPTH_MAX - 1) + b"\x90"
    assert decode_bundle_untrusted(join_bodies([deepest, b"\x01"])[1], 2)[1] == 1
    with pytest.raises(PeerError):
        decode_bundle_untrusted(join_bodies([b"\x91" + deepest, b"\x01"])[1], 2)


def test_the_number_of_lists_and_maps_is_bounded() -> None:
    def body(item: bytes, count: int) -> bytes:
        return b"\xdd" + count.to_bytes(4, "big") + item * count

    for item in (b"\x90", b"\x81\xa0\xc0"):
        assert _read(body(item, CONTAINERS_MAX - 1)) == ""
        assert _read(body(item, CONTAINERS_MAX)) == f"it holds more than {CONTAINERS_MAX} lists and maps"


@pytest.mark.parametrize("padding", [0, 600, 9000])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "whole"),
        (b"\x01\x02", "whole"),
        (b"\xc1", "whole"),
        (b"\x91", "whole"),
        (b"\xa1\xff", "whole"),
        (b"\x81\x01\x02", "key"),
        (b"\x81\x92\x01\x02\x04", "key"),
        (b"\x81\xc0\x02", "key"),
        (b"\xd4\x01\x00", "extension"),
        (b"\xc7\x00\x01", "extension"),
    ],
)
def test_what_is_no_value_is_refused_at_any_size(body: bytes, says: str, padding: int) -> None:
    filled = b"\x92\xc5" + padding.to_bytes(2, "big") + bytes(padding) + body if padding else body
    assert says in _read(filled)
    assert _read(b"\x92\xc5" + (600).to_bytes(2, "big") + bytes(600) + b"\x01") == ""


_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.binary(), inner),
    max_leaves=60,
)  # fmt: skip


@given(_values)
def test_what_is_written_is_read(value: Any) -> None:
    assert unpack_untrusted(pack_value(value)) == value


@given(st.recursive(
    st.none() | st.integers() | st.text(alphabet=st.characters()) | st.tuples(st.integers()),
    lambda inner: st.lists(inner) | st.dictionaries(st.none() | st.integers() | st.text() | st.tuples(), inner),
))  # fmt: skip
def test_what_cannot_be_read_is_not_written(value: Any) -> None:
    try:
        packed = pack_value(value)
    except StructureError:
        return
    unpack_untrusted(packed)


@given(st.binary(max_size=2000), st.integers(0, 700))
def test_any_bytes_are_a_value_or_one_error(body: bytes, padding: int) -> None:
    filled = b"\x92\xc5" + padding.to_bytes(2, "big") + bytes(padding) + body
    for each in (body, filled):
        try:
            value = unpack_untrusted(each)
        except StructureError:
            continue
        assert _containers(value) <= min(heads(each), CONTAINERS_MAX) and _depth(value) <= DEPTH_MAX


def _parts(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []


def _containers(value: Any) -> int:
    return isinstance(value, (list, dict)) + sum(map(_containers, _parts(value)))


def _depth(value: Any) -> int:
    return isinstance(value, (list, dict)) + max(map(_depth, _parts(value)), default=0)


@pytest.mark.parametrize(
    "value",
    [
        {(1, 2): 4}, {1: 2}, {"a": [{None: 1}]}, {1.5: 1}, {True: 1}, "\ud800", {"\ud800": 1}, 1 << 64, object(),
        {1, 2}, msgpack.ExtType(1, b""), msgpack.Timestamp(1), [[[{"a": [object()]}]]], "x" * 300_000,
    ],
    ids=repr,
)  # fmt: skip
def test_what_no_reader_takes_is_refused_by_its_writer(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="cannot send"):
        encode_value(value)


def test_a_list_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidArgument, match="cannot send"):
        encode_value(value)


def test_threads_read_at_once() -> None:
    body = msgpack.packb([list(range(40)), {"a": b"x" * 600}])
    wrong: list[object] = []

    def read() -> None:
        for _ in range(2000):
            try:
                unpack_untrusted(body)
            except StructureError as error:
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
