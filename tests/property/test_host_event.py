"""Uevents: whatever bytes come, they are an event in printable text or the one error, and both ends agree."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.host_event import (
    EVENT_MAX,
    Uevent,
    decode_uevent_untrusted,
    encode_uevent,
    parse_uevent_untrusted,
)
from tlsrt.errors import PeerError

KERNEL = (
    b"change@/devices/virtual/mem/null\0ACTION=change\0DEVPATH=/devices/virtual/mem/null\0SUBSYSTEM=mem\0DEVNAME=null\0"
)
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40)
KEYS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)


@given(st.binary(max_size=400))
def test_any_bytes_are_an_event_or_the_one_error(data: bytes) -> None:
    for parse in (parse_uevent_untrusted, decode_uevent_untrusted):
        try:
            event = parse(data)
        except PeerError:
            continue
        assert all(0x20 <= ord(sign) <= 0x7E for sign in f"{event.devpath}{event.devname}{event.subsystem}")


@given(st.sampled_from(["add", "remove"]), TEXT, st.dictionaries(KEYS, TEXT, max_size=20), st.integers(0, 1 << 40))
def test_what_the_helper_says_is_what_the_component_hears(
    action: str, path: str, properties: dict[str, str], dropped: int
) -> None:
    said = "".join(f"{line}\0" for line in (f"{action}@/{path}", *(f"{k}={v}" for k, v in properties.items())))
    event = replace(parse_uevent_untrusted(said.encode()), dropped=dropped)
    assert decode_uevent_untrusted(encode_uevent(event, dropped)) == event and event.properties == properties


def test_the_words_of_the_kernel() -> None:
    event = parse_uevent_untrusted(KERNEL)
    assert event == Uevent("change", "mem", "/devices/virtual/mem/null", "null", event.properties)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"add@/x", b"libudev\0\xfe\xed\xca\xfe", b"dance@/x\0", b"add@x\0", b"add@/x\0A\0", b"add@/x\0A=1\0A=2\0",
        b"add@/\xff\0", b"add@/x\0A=\n\0", b"add@/x\0" + b"".join(b"A%d=1\0" % n for n in range(65)),
        b"add@/" + b"x" * EVENT_MAX + b"\0",
    ],
)  # fmt: skip
def test_what_the_kernel_does_not_say(data: bytes) -> None:
    with pytest.raises(PeerError):
        parse_uevent_untrusted(data)
