"""Which requests reach the authority, and as which message."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.supervisor.control.requests import REQUESTS, OperatorRequests
from tlsrt.supervisor.process.event_loop import EventLoop

RULES = [["primary/kernel", ["uname"]]]
ADD = {"name": "phone", "rules": RULES, "ttl_ms": 5}


class Relay:
    """The requests, with an authority that takes down what it is sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[object, ...]] = []
        self.answers: list[dict[str, Any]] = []
        channel = SimpleNamespace(ask=self.ask_authority)
        common = SimpleNamespace(event_loop=EventLoop())
        self.requests = OperatorRequests(
            cast("Any", common), cast("Any", SimpleNamespace(channel=channel, unwritten=""))
        )

    def ask_authority(self, name: str, number: int, *fields: object) -> bool:
        AUTHORITY_CHANNEL.encode(name, number, *fields)  # raises for what does not fit the table
        self.sent.append((name, *fields))
        return True

    def ask(self, verb: str, **request: object) -> None:
        self.requests.verbs()[verb].answer({"verb": verb, **request}, self.answers.append)


@pytest.mark.parametrize(
    ("verb", "request_", "fields"),
    [
        ("sessions", {}, (b"",)),
        ("revoke", {"kind": "all"}, ("all", "", 0)),
        ("revoke", {"kind": "client", "what": "phone", "for_ms": 7}, ("client", "phone", 7)),
        ("restore", {"kind": "loop", "what": "third"}, ("loop", "third")),
        ("client_add", ADD, ("phone", RULES, 5, 0, b"", b"", "")),
        (
            "client_add",
            {**ADD, "http": True, "request": "abcd", "page": "ab"},
            ("phone", RULES, 5, 1, b"\xab\xcd", b"", "ab"),
        ),
        ("client_list", {}, ("",)),
        ("client_renew", {"name": "phone"}, ("phone", 0, b"", b"")),
        ("client_renew", {"name": "phone", "code_key": "0a"}, ("phone", 0, b"", b"\n")),
        ("client_revoke", {"name": "phone"}, ("phone",)),
        ("client_set", {"name": "phone"}, ("phone", [], 0, [])),
        ("client_set", {"name": "phone", "rules": RULES, "may": ["lock"]}, ("phone", RULES, 1, ["lock"])),
        ("anomalies", {}, ()),
        ("release", {"name": "client/phone"}, ("client/phone",)),
    ],
)
def test_a_request_becomes_the_message_of_its_name(
    verb: str, request_: dict[str, object], fields: tuple[object, ...]
) -> None:
    relay = Relay()
    relay.ask(verb, **request_)
    assert relay.sent == [(verb, *fields)] and relay.answers == []


@pytest.mark.parametrize(
    ("verb", "request_"),
    [
        ("client_add", {**ADD, "name": ""}), ("client_add", {**ADD, "name": "x" * 65}),
        ("client_add", {**ADD, "rules": None}), ("client_add", {**ADD, "rules": [["primary/kernel"]]}),
        ("client_add", {**ADD, "rules": [["primary/kernel", "uname"]]}),
        ("client_add", {**ADD, "rules": ["x" * 20_000]}),
        ("client_add", {**ADD, "rules": [["primary/kernel", [5]]]}), ("client_add", {**ADD, "ttl_ms": True}),
        ("client_add", {**ADD, "ttl_ms": 1 << 49}), ("client_add", {**ADD, "http": 1}),
        ("client_add", {**ADD, "request": "no hex"}), ("client_add", {"name": "phone", "rules": RULES}),
        ("client_list", {"after": 5}), ("client_renew", {"name": None}), ("client_revoke", {}),
        ("client_set", {"name": "phone", "may": "lock"}), ("client_set", {"name": "phone", "may": ["lock"] * 9}),
        ("client_set", {"name": "phone", "may": [""]}), ("release", {}), ("release", {"name": ""}),
        ("release", {"name": "x" * 201}), ("revoke", {}), ("revoke", {"kind": ["all"]}),
    ],
)  # fmt: skip
def test_what_is_no_request_is_not_sent(verb: str, request_: dict[str, object]) -> None:
    relay = Relay()
    relay.ask(verb, **request_)
    assert relay.sent == [] and relay.answers == [{"error": "bad_request"}]


def test_every_verb_is_a_message_to_the_authority() -> None:
    assert AUTHORITY_CHANNEL.sent_by("supervisor") >= REQUESTS.keys()
