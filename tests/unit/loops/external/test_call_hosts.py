"""Other hosts in calls: who is one, whom they ring for, their rates, and what is said at the ways to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tlsrt import Busy, ConfigError, Denied, InvalidArgument, NotFound, Unavailable
from tlsrt.loops.external.call_hosts import CallHosts
from tlsrt.loops.external.call_leg import ANSWERED, HELD, RESUMED, HeardPieces
from tlsrt.loops.external.call_options import CallHostOptions, NumberOptions, rung_component
from tlsrt.loops.external.call_party import HOST_BURST, HOST_PER_S, HostParty
from tlsrt.loops.external.call_rates import RINGS_PER_MINUTE, RingRates
from tlsrt.loops.external.calls import Calls
from tlsrt.loops.external.telephone_options import TelephoneOptions
from tlsrt.testing import running

HOSTS = {"attic": {"client": "client/test"}, "far": {"secret": "host"}}


def test_a_way_without_its_bundle_is_told_and_rings_no_one(tmp_path: Path) -> None:
    options = {"attic": CallHostOptions(client="client/attic"), "far": CallHostOptions(secret="host")}
    hosts = CallHosts(options, lambda name: None, tmp_path, "external/calls")
    assert hosts.name_of("client/attic") == "attic"
    with pytest.raises(Denied, match="client/far is no host"):
        hosts.name_of("client/far")
    assert "far: `tlsrt-supervisor secret set external/calls host`" in hosts.wrong

    async def ring(address: str) -> None:
        async for _ in hosts.ring(address, HeardPieces(), by="client/anna", says=""):
            pass

    for address in ("door@far", "door@attic"):
        with pytest.raises(Unavailable, match="no way to host"):
            asyncio.run(ring(address))
    odd = CallHosts(options, lambda name: b"no bundle\x1b[2J", tmp_path, "external/calls")

    async def ring_oddly() -> None:
        await anext(odd.ring("door@far", HeardPieces(), by="client/anna", says=""))

    with pytest.raises(Unavailable, match="host far: ") as caught:
        asyncio.run(ring_oddly())
    assert caught.value.message.isprintable()


def test_all_of_a_host_have_the_attempts_of_one() -> None:
    rates = RingRates()
    for n in range(RINGS_PER_MINUTE):
        rates.charge(f"client/c{n}@attic", 1.0)
        rates.charge("client/anna", 1.0)
    for one, words in (("client/new@attic", "the host attic has"), ("client/anna", "client/anna has")):
        with pytest.raises(Busy, match=words):
            rates.charge(one, 2.0)
    rates.charge("client/new@far", 2.0)
    rates.charge("client/new@attic", 61.1)


def test_a_host_is_not_told_what_it_said_and_says_no_more_than_a_call_has() -> None:
    party = HostParty("door@attic")
    for state, by in (("answered", "x"), ("held", "door@attic"), ("resumed", "x"), ("held", "x")):
        party.tell(state, by=by)

    async def heard() -> list[int]:
        found = []
        async for piece in party.heard:
            found.append(piece[0])
            if len(found) == 3:
                break
        return found

    assert asyncio.run(heard()) == [ANSWERED, RESUMED, HELD]
    for _ in range(int(HOST_BURST)):
        party.check(0.0)
    with pytest.raises(InvalidArgument, match="more than a call has"):
        party.check(0.0)
    for _ in range(int(HOST_PER_S)):
        party.check(1.0)


@pytest.mark.parametrize(
    ("by", "caller", "may"),
    [
        (["*"], "client/anna", True), (["*"], "client/anna@attic", False), (["client/*"], "client/anna@attic", False),
        (["*@attic"], "client/anna@attic", True), (["*@attic"], "client/anna", False),
        (["*@attic"], "client/anna@far", False), (["client/anna@attic"], "client/anna@attic", True),
        (["client/anna"], "client/anna@attic", False), (["client/anna@attic"], "client/anna", False),
    ],
)  # fmt: skip
def test_who_is_of_another_host_rings_only_where_that_is_said(by: list[str], caller: str, may: bool) -> None:
    assert NumberOptions(rings=["client/ben"], by=by).is_for(caller) is may


def test_a_component_of_several_telephones_is_told_which_one_is_rung() -> None:
    NumberOptions(rings=["third/door", "external/sip/kitchen"])
    assert rung_component("third/door", "home") == ("third/door", "home")
    assert rung_component("external/sip/kitchen", "home") == ("external/sip", "kitchen")


@pytest.mark.parametrize(
    ("rings", "good"), [("third/door", True), ("anna", True), ("client/anna", False), ("no/such/thing", False)]
)
def test_a_telephone_rings_components_and_numbers(rings: str, good: bool) -> None:
    with nullcontext() if good else pytest.raises(ValueError, match=r"the number of external/calls|no address"):
        TelephoneOptions(rings=(rings,))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"numbers": {"a": {"rings": ["client/ben/kitchen"]}}}, "none of"),
        ({"numbers": {"a": {"rings": ["external/sip/Kitchen"]}}}, "none of"),
        ({"numbers": {"a": {"rings": ["external/sip/a/b"]}}}, "none of"),
        ({"numbers": {"a": {"rings": ["external/sip/"]}}}, "none of"),
        ({"numbers": {"a": {"rings": ["door@attic"]}}}, "no host 'attic'"),
        ({"numbers": {"a": {"rings": ["client/ben"], "by": ["*@far"]}}}, "no host 'far'"),
        ({"numbers": {"a": {"rings": ["client/ben@attic"]}}, "hosts": {"attic": {}}}, "none of"),
        ({"numbers": {"a": {"rings": ["client/ben"], "by": ["client/*@attic"]}}, "hosts": {"attic": {}}}, "none of"),
        ({"hosts": {"A": {}}}, "'A' is no name"), ({"hosts": {"a": {"client": "third/x"}}}, "client/NAME"),
        ({"hosts": {"a": {"client": "client/x"}, "b": {"client": "client/x"}}}, "the same client"),
        ({"numbers": {"a": {"rings": ["client/ben"], "camera": "front"}}}, "third/camera/SOURCE"),
        ({"numbers": {"a": {"rings": ["client/ben"], "camera": "odd/camera/front"}}}, "third/camera/SOURCE"),
    ],
)  # fmt: skip
def test_a_wrong_option_of_hosts_and_cameras_is_told(options: dict[str, Any], words: str) -> None:
    async def run() -> None:
        async with running(Calls, options=options, needs={"state_mb": 16}):
            pass

    with pytest.raises((ConfigError, InvalidArgument), match=words):
        asyncio.run(run())


async def nothing_said() -> AsyncIterator[bytes]:
    await asyncio.sleep(3600)
    yield b""


def test_who_rings_from_a_host_has_its_name_behind_it_and_goes_on_to_no_third() -> None:
    numbers = {
        "on": {"rings": ["door@far"], "by": ["*@attic"]}, "shy": {"rings": ["client/ben"], "by": ["client/test"]},
    }  # fmt: skip

    async def run() -> None:
        options = {"numbers": numbers, "hosts": {**HOSTS, "far": {"client": "client/far"}}}
        async with running(Calls, options=options, needs={"state_mb": 16}, address="external/calls") as it:
            for number, by, error, words in (
                ("shy", "client/test", NotFound, "for client/test@attic"), ("on", "client/x", Unavailable, "on: away"),
                ("on", "client/x@attic", InvalidArgument, "by: "), ("on", "root", InvalidArgument, "by: "),
            ):  # fmt: skip
                with pytest.raises(error, match=words):
                    async for _ in it.exchange("dial_from", nothing_said(), number, by, ""):
                        pass
            with pytest.raises(Denied, match="third/other is no host"):
                async for _ in it.exchange("dial_from", nothing_said(), "on", "client/x", "", caller="third/other"):
                    pass
            with pytest.raises(NotFound):
                await it.call("status", "0" * 16)

    asyncio.run(run())
