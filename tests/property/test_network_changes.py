"""Changes of the network: whatever bytes come, they are changes in printable text or the one error; both ends agree."""

from __future__ import annotations

import struct
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.network_change import (
    RESYNCHRONISE,
    STATES,
    NetworkChange,
    decode_change_untrusted,
    encode_change,
    joined,
    passes,
)
from tlsrt.errors import PeerError
from tlsrt.supervisor.helper.netlink import MULTI, attribute, message
from tlsrt.supervisor.helper.network_changes import NAMES_MAX, NetworkReader, ask_for_links

U32 = st.integers(0, (1 << 32) - 1)
NAMES = st.binary(min_size=1, max_size=15).filter(lambda name: b"\0" not in name)
KINDS = st.sampled_from([16, 17, 20, 21, 24, 25])
ATTRIBUTES = st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=20)), max_size=8)


def link(index: int, name: bytes, *, flags: int = 0x10001, kind: int = 16, how: int = 0, mtu: int = 1500) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0) + attribute(3, name + b"\0")
    return message(kind, how, 0, body + attribute(4, struct.pack("=I", mtu)) + attribute(16, b"\6"))


def address(index: int, own: bytes, prefix: int, *, kind: int = 20) -> bytes:
    family = 2 if len(own) == 4 else 10
    return message(kind, 0, 0, struct.pack("=4BI", family, prefix, 0, 0, index) + attribute(1, own))


def route(index: int, to: bytes, prefix: int, via: bytes, *, flags: int = 0, table: int = 254) -> bytes:
    head = struct.pack("=8BI", 2, prefix, 0, 0, table, 3, 0, 1, flags) + (attribute(1, to) if to else b"")
    return message(24, 0, 0, head + attribute(5, via) + attribute(4, struct.pack("=I", index)))


def read(data: bytes, reader: NetworkReader | None = None) -> list[NetworkChange]:
    return [*(reader or NetworkReader()).read_untrusted(data)]


@given(st.binary(max_size=300))
def test_any_bytes_are_changes_or_the_one_error(data: bytes) -> None:
    for parse in (read, lambda data: [decode_change_untrusted(data)]):
        try:
            changes = parse(data)
        except PeerError:
            continue
        for change in changes:
            assert decode_change_untrusted(encode_change(change, 0)) == replace(change, dropped=0)


@given(KINDS, st.binary(min_size=8, max_size=16), ATTRIBUTES)
def test_any_attributes_are_changes_or_the_one_error(
    kind: int, head: bytes, attributes: list[tuple[int, bytes]]
) -> None:
    data = message(kind, 0, 0, head + b"".join(attribute(number, value) for number, value in attributes))
    try:
        changes = read(data)
    except PeerError:
        return
    for change in changes:
        assert decode_change_untrusted(encode_change(change, 7)) == replace(change, dropped=7)


@given(st.integers(1, (1 << 31) - 1), NAMES, U32, st.integers(0, (1 << 32) - 1))
def test_whatever_the_name_of_an_interface_it_is_told_in_printable_text(
    index: int, name: bytes, mtu: int, flags: int
) -> None:
    (change,) = read(link(index, name, mtu=mtu, flags=flags))
    assert all(" " < sign <= "~" for sign in change.interface) and change.mtu_bytes == mtu and change.index == index
    assert (change.up, change.carrier) == (bool(flags & 1), bool(flags & 0x10000))
    assert decode_change_untrusted(encode_change(change, 0)) == change


@given(st.lists(st.one_of(st.none(), st.booleans(), U32, st.text(max_size=5), st.binary(max_size=5)), max_size=13))
def test_what_a_captured_helper_says_is_a_change_or_the_one_error(items: list[object]) -> None:
    try:
        change = decode_change_untrusted(msgpack.packb(items))
    except PeerError:
        return
    assert change.state in STATES


def test_names_are_learned_from_links_and_given_to_addresses_and_routes() -> None:
    reader = NetworkReader()
    assert read(link(3, b"eth0", how=MULTI), reader) == [], "an answer is learned and not told"
    assert read(address(3, b"\x0a\0\0\1", 24), reader) == [NetworkChange("address", False, "eth0", 3, "10.0.0.1/24")]
    assert read(address(3, bytes(15) + b"\1", 64, kind=21), reader)[0].address == "::1/64"
    (way,) = read(route(3, b"", 0, b"\x0a\0\0\2"), reader)
    assert (way.what, way.interface, way.address, way.gateway) == ("route", "eth0", "0.0.0.0/0", "10.0.0.2")
    (gone,) = read(link(3, b"eth0", kind=17), reader)
    assert gone.removed and gone.state == "up" and gone.up and gone.carrier
    assert read(address(3, b"\x0a\0\0\1", 24), reader)[0].interface == ""


def test_routes_that_no_one_asked_about_are_not_told() -> None:
    assert read(route(3, b"", 0, bytes(4), flags=0x200)) == [], "a copy of the cache"
    assert read(route(3, b"\x0a\0\0\1", 32, bytes(4), table=255)) == [], "the kernel's own table"


def test_names_are_bounded() -> None:
    reader = NetworkReader()
    for index in range(1, NAMES_MAX + 3):
        read(link(index, b"x%d" % index), reader)
    assert read(address(1, bytes(4), 0), reader)[0].interface == "", "the oldest has gone"
    assert read(address(NAMES_MAX, bytes(4), 0), reader)[0].interface == f"x{NAMES_MAX}"


@pytest.mark.parametrize(
    "data",
    [
        link(0, b"eth0"), link(1, b""), link(1, b"a" * 16), address(1, b"\x0a\0\0\1", 33), route(1, b"\1", 8, bytes(4)),
        message(16, 0, 0, b"short"), message(20, 0, 0, b""), message(24, 0, 0, bytes(11)),
        message(16, 0, 0, struct.pack("=BxHiII", 0, 1, 1, 0, 0) + attribute(3, b"a\0") + attribute(16, b"\x63")),
        message(16, 0, 0, struct.pack("=BxHiII", 0, 1, 1, 0, 0) + attribute(3, b"a\0") + attribute(4, b"\1")),
        message(16, 0, 0, struct.pack("=BxHiII", 0, 1, 1, 0, 0) + attribute(3, b"a\0") + attribute(1, bytes(33))),
    ],
)  # fmt: skip
def test_what_the_kernel_does_not_say(data: bytes) -> None:
    with pytest.raises(PeerError):
        read(data)


@pytest.mark.parametrize(
    ("grant", "name", "does"),
    [
        (["eth0"], "eth0", True), (["eth0"], "eth01", False), (["wlan*", "eth0"], "wlan7", True), (["*"], "", True),
        (["eth0"], "", False), (["veth*"], "eth0", False),
    ],
)  # fmt: skip
def test_a_grant_has_interfaces_by_name_or_by_beginning(grant: list[str], name: str, does: bool) -> None:
    assert passes(joined(grant), name) is does


def test_what_was_lost_is_a_gap() -> None:
    assert RESYNCHRONISE.is_gap and decode_change_untrusted(encode_change(RESYNCHRONISE, 3)).dropped == 3
    change = NetworkChange("link", interface="eth0", index=1)
    assert not change.is_gap and replace(change, dropped=1).is_gap
    assert ask_for_links(1)[:4] == struct.pack("=I", 32)
