"""A line of SIP: whatever bytes come, in whatever pieces, nothing fails, and no one is proven or rings by that."""

from __future__ import annotations

from attackers.fuzzing import CUTS, STEPS, brief, changed, pieces_of
from fakes.line_owner import OFFER, Owner, line, request
from hypothesis import given
from hypothesis import strategies as st

REQUESTS = [
    request("INVITE", body=OFFER),
    request(
        "REGISTER", authorization='Digest username="anna", realm="home", nonce="n", uri="sip:third.door@h", nc=00000001'
    ),
    request("BYE", to_tag="x") + request("CANCEL") + request("OPTIONS", count=3),
    request("INVITE", body=OFFER) + request("CANCEL") + request("ACK", to_tag="x"),
]


def fed(telephone: str, pieces: list[bytes]) -> Owner:
    made, owner = line(telephone)
    for piece in pieces:
        if not owner.ends:  # the connection is closed then
            made.feed_untrusted(piece, 1.0)
    made.tick(2.0, 10, 10)
    made.hang_up_all("the end")
    made.lost("the end")
    assert not made.calls and all(call.is_over for call in owner.over)
    if not telephone:
        assert made.telephone == "" and not owner.calls and not owner.registrations
    return owner


@given(st.sampled_from(REQUESTS), st.sampled_from(["", "anna"]), STEPS, CUTS)
@brief(150)
def test_bytes_that_are_almost_right(
    data: bytes, telephone: str, steps: list[tuple[str, int, bytes]], cuts: list[int]
) -> None:
    made = changed(data, steps)
    whole, cut = fed(telephone, [made]), fed(telephone, pieces_of(made, cuts))
    assert [one.status for one in whole.sent] == [one.status for one in cut.sent]
    assert whole.ends == cut.ends


@given(st.sampled_from(["", "anna"]), st.lists(st.binary(max_size=200), max_size=5))
@brief(100)
def test_any_bytes(telephone: str, pieces: list[bytes]) -> None:
    fed(telephone, pieces)


def test_what_is_right_is_taken() -> None:
    assert [one.status for one in fed("anna", [REQUESTS[0]]).sent] == [100, 480]
