"""Attacked sentence: a captured loop can do nothing but what the policy lines of its components allow.

The attacker holds its own keys and makes every header itself; what it lacks is the right.
"""

from __future__ import annotations

from typing import Any

import pytest
from attackers.arena import IN_PRIMARY, VICTIM, Arena, request_body

from tlsrt.channels.frames.frame import FLAG_STREAM, SEQ_MAX

STORE = "secondary/store"
# What is changed in the header of a request that would pass; the reason in the log; the word that the peer is told.
HEADERS: list[tuple[str, dict[str, Any], str, str]] = [
    ("a method that no line allows", {"method": "forbidden"}, "not_allowed", "rejected"),
    ("a method that does not exist", {"method": "x" * 80}, "not_allowed", "rejected"),
    ("the empty method", {"method": ""}, "not_allowed", "rejected"),
    ("the word for all methods", {"method": "*"}, "not_allowed", "rejected"),
    ("subscribe, which is no describe", {"method": "subscribe", "flags": FLAG_STREAM}, "not_allowed", "rejected"),
    ("a component beside the right one", {"dst": STORE, "method": "get"}, "not_allowed", "rejected"),
    ("describe of a forbidden component", {"dst": STORE, "method": "describe"}, "not_allowed", "rejected"),
    ("describe of one in Primary", {"dst": "primary/kernel", "method": "describe"}, "not_allowed", "rejected"),
    ("a component of its own loop", {"dst": "third/io", "method": "describe"}, "not_allowed", "rejected"),
    ("a component that does not exist", {"dst": "secondary/nothing"}, "not_allowed", "rejected"),
    ("a loop that does not exist", {"dst": "nowhere/counter"}, "not_allowed", "rejected"),
    ("a client as if it were a component", {"dst": "client/admin"}, "not_allowed", "rejected"),
    ("the authority as if it were a component", {"dst": "authority", "method": "join"}, "not_allowed", "rejected"),
    ("a whole loop", {"dst": "secondary"}, "not_allowed", "rejected"),
    ("all components", {"dst": "*/*"}, "not_allowed", "rejected"),
    ("the target in other letters", {"dst": "Secondary/Counter"}, "not_allowed", "rejected"),
    ("a request that answers another one", {"correlation": bytes(24)}, "correlated_request", "rejected"),
    ("a trace of zeros", {"correlation": bytes(25)}, "correlated_request", "rejected"),
    ("a trace with a line in its state", {"correlation": b"t" * 25 + b"a=\n"}, "correlated_request", "rejected"),
    ("a deadline that has passed", {"deadline": 1}, "deadline", "rejected"),
    ("a deadline beyond five minutes", {"deadline": 1 << 60}, "deadline_too_far", "rejected"),
    ("another incarnation of the gate", {"gate": 99}, "stale_gate", "stale"),
    ("another incarnation of the recipient", {"mailbox": 99}, "stale_mailbox", "stale"),
    ("the sequence number zero", {"seq": 0}, "replay", "rejected"),
]  # fmt: skip
# Those that nobody can answer, because they are no headers of this version.
UNREADABLE: list[tuple[str, dict[str, Any], str]] = [
    ("a later version", {"version": 2}, "unknown_version"),
    ("no version", {"version": 0}, "unknown_version"),
    ("a kind that does not exist", {"kind": 10}, "unknown_kind"),
    ("the kind zero", {"kind": 0}, "unknown_kind"),
    ("a negative kind", {"kind": -1}, "unknown_kind"),
    ("a name that is too long", {"dst": "secondary/" + "x" * 80}, "name_too_long"),
    ("a session id that is too short", {"session": bytes(15)}, "not_a_header"),
    ("a correlation of another length", {"correlation": bytes(23)}, "not_a_header"),
    ("a sequence number past the end", {"seq": SEQ_MAX + 1}, "out_of_range"),
    ("unknown flags", {"flags": 8}, "out_of_range"),
    ("a negative deadline", {"deadline": -1}, "out_of_range"),
    ("a number where a name belongs", {"dst": 7}, "not_a_header"),
    ("a name where a number belongs", {"epoch": "1"}, "not_a_header"),
    ("true where a number belongs", {"part": True}, "not_a_header"),
]


@pytest.mark.parametrize(("changes", "reason", "word"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS])
def test_a_header_of_ones_own_making(arena: Arena, changes: dict[str, Any], reason: str, word: str) -> None:
    arena.third.send(arena.third.forge(arena.third.header(**{"method": "add"} | changes), request_body(1)))
    arena.refused(reason, told=[word])


@pytest.mark.parametrize(("changes", "reason"), [row[1:] for row in UNREADABLE], ids=[row[0] for row in UNREADABLE])
def test_a_header_that_is_none(arena: Arena, changes: dict[str, Any], reason: str) -> None:
    arena.third.send(arena.third.forge(arena.third.header(**changes), request_body(1)))
    arena.refused(reason, told=[])


@pytest.mark.parametrize(("difference", "reason"), [(-1, "stale_epoch"), (1, "stale_epoch"), (1 << 40, "stale_epoch")])
def test_another_epoch_than_the_present_one(arena: Arena, difference: int, reason: str) -> None:
    header = arena.third.header()
    arena.third.send(arena.third.forge(header._replace(epoch=header.epoch + difference), request_body(1)))
    arena.refused(reason, told=["stale"])


def test_a_token_that_claims_another_epoch_in_its_prefix(arena: Arena) -> None:
    token = arena.third.token
    for epoch, reason in ((arena.third.session()["epoch"] + 1, "token_epoch"), (0, "token_epoch")):
        claimed = token[:5] + epoch.to_bytes(8, "big") + token[13:]
        arena.third.send(arena.third.forge(arena.third.header(), request_body(1), token=claimed))
        arena.refused(reason, told=["rejected"])


@pytest.mark.parametrize(
    ("start", "end", "reason"),
    [(0, 1, "token_version"), (1, 5, "token_key_version"), (5, 13, "token_epoch"), (13, 25, "token_forged")],
)
def test_a_token_with_another_prefix(arena: Arena, start: int, end: int, reason: str) -> None:
    token = arena.third.token
    other = token[:start] + bytes(byte ^ 0xFF for byte in token[start:end]) + token[end:]
    arena.third.send(arena.third.forge(arena.third.header(), request_body(1), token=other))
    arena.refused(reason, told=["rejected"])


def test_two_captured_processes_together_get_no_further_than_the_recipient(arena: Arena) -> None:
    """Third seals what it may not say, and Primary lets it pass: the recipient reads the token for itself."""
    for changes in ({"method": "forbidden"}, {"dst": STORE, "method": "get"}):
        header = arena.third.header(**changes)
        entry = arena.third.right(VICTIM)
        frame = arena.third.forge(header._replace(mailbox=entry["mailbox"]), request_body(1), body_key=entry["key"])
        arena.client.call(IN_PRIMARY, "deliver", "secondary", [frame])
        arena.refused("not_allowed", by="secondary")


def test_a_right_of_one_component_is_not_one_of_its_neighbour(arena: Arena) -> None:
    """third/io lives in the process of the thief, and its session is as good; but it has no policy line."""
    held = arena.third.session("third/io")
    header = arena.third.header(src="third/io", session=held["session"], seq=1 << 20)
    frame = arena.third.forge(header, request_body(1), token=held["token"], proof_key=held["proof_key"])
    arena.third.send(frame)
    arena.refused("not_allowed")
