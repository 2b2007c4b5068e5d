"""What may listen beside what: names, places, and what the door has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlsrt.config.listeners import ListenConfig, Listener, is_of_one_link, overlaps, problems_of, stays_on_link

PLACES = st.builds(
    ListenConfig, st.just("a"), st.integers(1, 3), st.just("why"),
    st.sampled_from(("0.0.0.0", "127.0.0.1", "192.0.2.1", "::", "::1")), st.sampled_from(("tcp", "udp")),
)  # fmt: skip


def listener(
    port: int, host: str = "127.0.0.1", *, name: str = "in", process: str = "third.a", program: str = "", **more: object
) -> Listener:
    asked = ListenConfig(name, port, "it must", host, where="f:1:1", **more)  # type: ignore[arg-type]
    return Listener(process, "third/a", asked, program)


@given(PLACES, PLACES)
def test_two_sockets_collide_or_not_whichever_comes_first(one: ListenConfig, other: ListenConfig) -> None:
    assert overlaps(one, other) is overlaps(other, one)
    assert overlaps(one, one)
    if overlaps(one, other):
        assert (one.port, one.protocol) == (other.port, other.protocol) and (":" in one.host) is (":" in other.host)


@pytest.mark.parametrize(
    ("listeners", "sentence"),
    [
        ([listener(7443)], "f:1:1: third/a cannot listen on 127.0.0.1:7443/tcp: the door does; choose another port"),
        ([listener(7443, "0.0.0.0")], "cannot listen on 0.0.0.0:7443/tcp: the door does"),
        ([listener(1), listener(1, name="b")], "third/a cannot listen on 127.0.0.1:1/tcp: third/a (in) does"),
        ([listener(1), listener(2)], "third/a has two listeners in: give each a name of its own"),
        ([listener(1, process="primary")], "third/a runs in primary, which keeps the one door"),
        ([listener(1, answers=True)], "third/a cannot have `answers` over tcp"),
        (
            [listener(1, protocol="udp", answers=True, program="dns")],
            "third/a/dns cannot have `answers`: a program sends to who has written to it; write `replies`",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(listeners: list[Listener], sentence: str) -> None:
    door = ListenConfig("own", 7443, "", "127.0.0.1")
    (found,) = problems_of(listeners, [("the door", door)])
    assert sentence in found


def test_other_protocols_ports_and_families_are_no_conflict() -> None:
    several = [listener(1), listener(1, "::1", name="b"), listener(1, name="c", protocol="udp"), listener(2, name="d")]
    assert problems_of(several, [("the door", ListenConfig("own", 7443, "", "127.0.0.1"))]) == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("fe80::1", True), ("febf::1", True), ("ff02::fb", True), ("ff12::1", True), ("ff01::1", True),
        ("fec0::1", False), ("ff05::fb", False), ("::", False), ("::1", False), ("224.0.0.251", False),
        ("169.254.1.1", False),
    ],
)  # fmt: skip
def test_an_address_of_each_link_is_known(host: str, expected: bool) -> None:
    assert is_of_one_link(host) is expected


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("224.0.0.251", True), ("224.0.1.1", False), ("239.255.255.250", False),
        ("ff02::fb", True), ("ff05::fb", False),
    ],
)  # fmt: skip
def test_a_group_that_no_router_passes_on_is_known(group: str, expected: bool) -> None:
    assert stays_on_link(group) is expected


def test_one_group_and_port_on_two_interfaces_are_no_conflict() -> None:
    def on(interface: str, name: str) -> Listener:
        return listener(5353, name=name, protocol="udp", group="224.0.0.251", interface=interface)

    assert problems_of([on("eth0", "a"), on("eth1", "b")], []) == []
    for interfaces in (("eth0", "eth0"), ("eth0", ""), ("", "")):
        (found,) = problems_of([on(one, name) for one, name in zip(interfaces, "ab", strict=True)], [])
        assert "does; choose another port" in found
