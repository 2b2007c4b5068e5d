"""The request of a run: round trip, and any bytes are arguments or the one error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.channels.control.program_request import (
    LENGTH,
    REQUEST_MOST,
    decode_request_untrusted,
    encode_request,
    request_length_untrusted,
)
from tlsrt.config.argument_patterns import ARGUMENT_BYTES_MOST, ARGUMENTS_MOST
from tlsrt.errors import InvalidArgument, PeerError

ARGUMENTS = st.lists(st.binary(max_size=200).filter(lambda one: b"\0" not in one), max_size=40)


@given(ARGUMENTS)
def test_what_is_encoded_is_decoded(arguments: list[bytes]) -> None:
    packet = encode_request(arguments)
    assert request_length_untrusted(packet[: LENGTH.size]) == len(packet) - LENGTH.size <= REQUEST_MOST
    assert decode_request_untrusted(packet[LENGTH.size :]) == arguments


@given(st.binary(max_size=300))
def test_any_bytes_are_arguments_or_the_one_error(data: bytes) -> None:
    try:
        assert encode_request([one for one in decode_request_untrusted(data) if b"\0" not in one])
    except PeerError as error:
        assert error.reason in ("truncated", "too_many", "trailing_bytes")  # noqa: PT017


@given(ARGUMENTS, st.data())
def test_a_request_that_is_cut_is_refused(arguments: list[bytes], data: st.DataObject) -> None:
    body = encode_request(arguments)[LENGTH.size :]
    with pytest.raises(PeerError):
        decode_request_untrusted(body[: data.draw(st.integers(0, len(body) - 1))])
    with pytest.raises(PeerError, match="trailing"):
        decode_request_untrusted(body + b"x")


@pytest.mark.parametrize("head", [b"", b"\0\0\0", bytes(4), b"\0\0\0\1", LENGTH.pack(REQUEST_MOST + 1), b"\xff" * 4])
def test_a_length_that_cannot_be_is_refused_before_anything_is_read(head: bytes) -> None:
    with pytest.raises(PeerError):
        request_length_untrusted(head)


@pytest.mark.parametrize("arguments", [[b"a\0"], [b"a"] * (ARGUMENTS_MOST + 1), [b"a" * (ARGUMENT_BYTES_MOST + 1)]])
def test_what_no_program_may_be_given_is_not_encoded(arguments: list[bytes]) -> None:
    with pytest.raises(InvalidArgument):
        encode_request(arguments)
