"""What is this host's own, and how often a server is asked."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.resolver import Outcome
from tlsrt.config.name_rules import NameRule
from tlsrt.config.resolver import NameServer
from tlsrt.sandbox.seccomp.name_pins import NamePins
from tlsrt.supervisor.supervision import names as module
from tlsrt.supervisor.supervision.names import Names


def test_an_answer_that_is_cut_off_over_a_stream_too_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def ask(
        _: str, server: NameServer, __: float, heard: Callable[..., None], *, is_six: bool, is_stream: bool
    ) -> None:
        asked.append((server.host, is_stream))
        assert len(asked) < 20, "no end"
        if not is_six:
            heard(Outcome.TRUNCATED, 0, [])

    read: list[str] = []

    def read_file(path: str) -> bytes:
        read.append(path)
        return b""

    monkeypatch.setattr(module, "read_file", read_file)
    servers = (NameServer("192.0.2.1"), NameServer("192.0.2.2"))
    rule = SimpleNamespace(name="example.org", within=(), may_be=lambda address: True)
    config = SimpleNamespace(
        loops=[SimpleNamespace(name="third")], names_of=lambda process: [rule],
        resolver=SimpleNamespace(servers=servers), own_names=(),
    )  # fmt: skip
    pins = SimpleNamespace(forget=lambda gone: None, all=dict, settled=set())
    context = SimpleNamespace(
        current=SimpleNamespace(config=config, children=SimpleNamespace(pins=pins)),
        event_loop=SimpleNamespace(now=1.0, call_later=lambda *_: SimpleNamespace(cancel=lambda: None)),
    )
    resolver = SimpleNamespace(ask=ask, is_busy=False, is_attested=True, is_stopping=False, on_ready=[])
    Names(cast("Any", context), cast("Any", resolver)).look()
    of_four = asked[:-1]
    assert of_four == [(one.host, stream) for one in servers * 2 for stream in (False, True)]
    assert read == [module.HOSTS]  # once, as it has not changed


def test_a_stop_takes_no_address_from_those_who_go_on() -> None:
    rule = NameRule("tcp", "logs.test", 6514, 6514, (ipaddress.ip_network("192.0.2.0/24"),))
    config = SimpleNamespace(loops=[], own_names=(rule,), resolver=SimpleNamespace(servers=()))
    pins = NamePins()
    pins.set("logs.test", [bytes((192, 0, 2, 1))])
    context = SimpleNamespace(
        current=SimpleNamespace(config=config, children=SimpleNamespace(pins=pins, profiles={})),
        event_loop=SimpleNamespace(now=1.0, call_later=lambda *_: SimpleNamespace(cancel=lambda: None)),
    )
    resolver = SimpleNamespace(is_busy=True, is_attested=False, is_stopping=True, on_ready=[])
    names = Names(cast("Any", context), cast("Any", resolver))
    names.stopping()
    names.ask_again("logs.test")
    assert pins.all() == {"logs.test": frozenset({bytes((192, 0, 2, 1))})}
