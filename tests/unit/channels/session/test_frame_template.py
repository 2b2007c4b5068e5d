"""A frame that is sealed from a template has the bytes of one that is sealed field by field."""

from __future__ import annotations

import pytest
from fakes.memory_host import MemoryHost

from tlsrt.channels.frames.frame import BODY_MAX, FrameKind, correlation
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.frame_template import TEMPLATES_MAX

CONSOLE, STORE = "third/console", "secondary/store"
SIZES = (0, 1, 239, 240, 8192, 65_519, 65_520, BODY_MAX)
NUMBERS = (1, 126, 127, 128, 254, 255, 256, 65_535, 65_536, (1 << 32) - 2)
DEADLINES = (1_010_000, (1 << 32) - 1, 1 << 32)


def pair(world: MemoryHost, subject: str) -> tuple[Endpoint, Endpoint]:
    """Return two endpoints with the same keys: one with templates, one whose templates the test forgets."""
    return world.make_endpoint(subject), world.make_endpoint(subject)


def sealed(endpoint: Endpoint, seq: int, deadline: int, body: bytes, *, forget: bool) -> tuple[bytes, bytes]:
    """Return a request and a reply with this number."""
    header = MemoryHost().plain_header("client/admin", STORE, seq=7)
    templates = endpoint._epochs[endpoint.epoch].templates
    if forget:
        templates.clear()
    endpoint._seq = seq - 1
    request = endpoint.seal_request(FrameKind.REQUEST, STORE, "get", body, deadline)[1]
    endpoint._seq = seq - 1
    name = correlation(header.session, 7)
    reply = endpoint.seal_reply(FrameKind.REPLY, header, body, deadline, correlation=name)
    assert len(templates) == 2, "one of each"
    return request, reply


@pytest.mark.parametrize("number", NUMBERS)
def test_the_same_bytes_whatever_number_deadline_and_body(number: int) -> None:
    quick, slow = pair(MemoryHost(), CONSOLE)
    sealed(quick, 5, 1_000_001, b"first", forget=False)
    for size in SIZES:
        for deadline in DEADLINES:
            body = bytes(size)
            assert sealed(quick, number, deadline, body, forget=False) == sealed(
                slow, number, deadline, body, forget=True
            )


def test_another_token_key_or_incarnation_is_sealed_anew() -> None:
    world = MemoryHost()
    quick, slow = pair(world, CONSOLE)
    sealed(quick, 5, 1_000_001, b"first", forget=False)
    token = world.token(CONSOLE, issued=world.now + 1)
    for endpoint in (quick, slow):
        endpoint._epochs[endpoint.epoch].token = token
    assert sealed(quick, 9, 1_010_000, b"x", forget=False) == sealed(slow, 9, 1_010_000, b"x", forget=True)
    for endpoint in (quick, slow):
        endpoint.apply_right(world.epoch, STORE, 9, bytes(32), ("get",))
    assert sealed(quick, 9, 1_010_000, b"x", forget=False) == sealed(slow, 9, 1_010_000, b"x", forget=True)


def test_traced_flagged_and_other_kinds_have_no_template() -> None:
    endpoint = MemoryHost().make_endpoint(CONSOLE)
    for kind, options in (
        (FrameKind.REQUEST, {"flags": 4}), (FrameKind.REQUEST, {"correlation": bytes(40)}),
        (FrameKind.PART, {"part": 1, "correlation": bytes(24)}), (FrameKind.CANCEL, {"correlation": bytes(24)}),
    ):  # fmt: skip
        endpoint.seal_request(kind, STORE, "get", b"x", 1_010_000, **options)
    assert not endpoint._epochs[endpoint.epoch].templates


def test_templates_are_bounded_and_end_with_the_sessions_they_answer() -> None:
    endpoint = MemoryHost().make_endpoint(CONSOLE)
    templates = endpoint._epochs[endpoint.epoch].templates
    for at in range(TEMPLATES_MAX + 3):
        endpoint.seal_request(FrameKind.REQUEST, STORE, f"method{at}", b"x", 1_010_000)
    assert len(templates) == 3
    endpoint.forget([bytes(16)])
    assert not templates
