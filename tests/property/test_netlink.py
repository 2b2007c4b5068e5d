"""Messages of netlink: what is written is read again, and whatever bytes come are an answer or the one error."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.errors import PeerError
from tlsrt.supervisor.helper import netlink
from tlsrt.supervisor.helper.nftables import Element, ask_for_set, remove_element, set_element, unfit_untrusted
from tlsrt.supervisor.helper.rtnetlink import Route, remove_route, set_route

ELEMENT = Element(1, "filter", "blocked", 7, 4, 0xC0000207, 60_000)
IPV4 = st.integers(0, (1 << 32) - 1)


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(max_size=40)), max_size=5))
def test_messages_are_read_as_they_were_written(written: list[tuple[int, int, bytes]]) -> None:
    data = b"".join(netlink.message(kind, 1, sequence, body) for kind, sequence, body in written)
    read = [(one.type, one.sequence, one.body) for one in netlink.messages_untrusted(data)]
    assert read == written and len(data) % 4 == 0


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_are_read_as_they_were_written(written: dict[int, bytes]) -> None:
    data = b"".join(netlink.attribute(kind, value) for kind, value in written.items())
    assert netlink.attributes_untrusted(data) == written
    assert netlink.attributes_untrusted(netlink.nested(5, data)) == {5: data}


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_the_one_error(data: bytes) -> None:
    for read in (
        lambda: [*netlink.messages_untrusted(data)], lambda: netlink.attributes_untrusted(data),
        lambda: netlink.outcome_untrusted(data, 1), lambda: unfit_untrusted(ELEMENT, data),
    ):  # fmt: skip
        try:
            read()
        except PeerError:
            continue


def _error(sequence: int, error: int) -> bytes:
    return netlink.message(netlink.ERROR, 0, sequence, struct.pack("=i", -error) + bytes(16))


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (_error(3, 0), 0),
        (_error(2, 0), None),
        (_error(2, 0) + _error(3, 0), 0),
        (_error(1, errno.EPERM) + _error(3, 0), errno.EPERM),
        (netlink.message(netlink.ERROR, 0, 3, struct.pack("=i", 5)), errno.EIO),
        (netlink.message(99, 0, 3, b""), None),
        (b"", None),
    ],
)
def test_the_first_error_is_the_outcome(data: bytes, outcome: int | None) -> None:
    assert netlink.outcome_untrusted(data, 3) == outcome


@given(IPV4, st.integers(8, 32), IPV4, st.integers(0, 1 << 30), st.integers(1, 1 << 31))
def test_a_route_has_what_it_was_made_of(to: int, prefix: int, via: int, device: int, metric: int) -> None:
    for make, kind in ((set_route, 24), (remove_route, 25)):
        [one] = netlink.messages_untrusted(make(Route(4, to, prefix, via, device, metric), 9))
        assert (one.type, one.sequence) == (kind, 9)
        assert one.body[:2] == bytes([2, prefix]) and one.body[4:6] == bytes([254, 116])  # main table, our protocol
        found = netlink.attributes_untrusted(one.body[12:])
        assert found[1] == to.to_bytes(4, "big") and found[5] == via.to_bytes(4, "big")
        assert found.get(4, bytes(4)) == struct.pack("=I", device) and found[6] == struct.pack("=I", metric)


@given(IPV4, st.integers(0, 1 << 40))
def test_an_element_has_what_it_was_made_of(value: int, timeout_ms: int) -> None:
    element = Element(1, "filter", "blocked", 7, 4, value, timeout_ms)
    batches = [(set_element(element, 5, again=True), [0x10, 0xA0E, 0xA0C, 0x11]),
               (set_element(element, 5, again=False), [0x10, 0xA0C, 0x11]),
               (remove_element(element, 5), [0x10, 0xA0E, 0x11])]  # fmt: skip
    for batch, kinds in batches:
        read = [*netlink.messages_untrusted(batch)]
        assert [one.type for one in read] == kinds and read[-2].sequence == 7
        found = netlink.attributes_untrusted(read[-2].body[4:])
        assert found[1] == b"filter\0" and found[2] == b"blocked\0"
        item = netlink.attributes_untrusted(netlink.attributes_untrusted(found[3])[1])
        assert netlink.attributes_untrusted(item[1])[1][:4] == value.to_bytes(4, "big")
        assert (4 in item) is (bool(timeout_ms) and kinds[-2] == 0xA0C)


@pytest.mark.parametrize(
    ("flags", "kind", "size", "error"),
    [
        (0x10, 7, 4, 0), (0, 7, 4, errno.EINVAL), (0x10, 19, 4, errno.EINVAL), (0x10, 7, 8, errno.EINVAL),
        (0x14, 7, 4, errno.EINVAL), (0x18, 7, 4, errno.EINVAL),
    ],
)  # fmt: skip
def test_a_set_of_another_kind_takes_no_element(flags: int, kind: int, size: int, error: int) -> None:
    """A set without timeouts, of marks, of longer elements, of intervals, and a map."""
    values = ((3, flags), (4, kind), (5, size))
    body = bytes(4) + b"".join(netlink.attribute(key, value.to_bytes(4, "big")) for key, value in values)
    assert unfit_untrusted(ELEMENT, netlink.message(0xA09, 0, 1, body)) == error


def test_a_set_is_asked_for_by_its_names() -> None:
    [one] = netlink.messages_untrusted(ask_for_set(ELEMENT, 1))
    assert one.type == 0xA0A and netlink.attributes_untrusted(one.body[4:]) == {1: b"filter\0", 2: b"blocked\0"}
