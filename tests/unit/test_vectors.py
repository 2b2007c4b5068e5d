"""Every test vector against the code, and the recorded session against a client that knows PROTOCOL.md only; and
PROTOCOL.md against the code."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosts import independent_client as stranger
from vectors import generate
from vectors.runner import FOLDER, cases, files, load, run, unhex

from tlsrt import channels, config, loops
from tlsrt.channels.calls import flow_control
from tlsrt.channels.frames import body, frame, structure
from tlsrt.channels.session import grant, heard_sessions
from tlsrt.channels.tls import message_stream
from tlsrt.config import issuer_chain
from tlsrt.config.issuer_chain import PinnedIssuer, encode_chain, state_successor
from tlsrt.config.schema import LimitsConfig
from tlsrt.loops.dispatch import in_flight
from tlsrt.loops.gate import gate

CASES = [
    pytest.param(operation, given, case["expect"], passes, id=f"{name}: {case['name']}")
    for name in files()
    for passes, operation, case, given in cases(name)
]
# Reasons that no single message brings about here: a full table, the authority's own words, what only it can meet.
UNREACHED = {
    "renewal_key",
    "renewal_name",
    "too_many_sessions",
    "session_ended",
    "bad_sessions",
    "too_many_signatures",
    "right_without_session",
    "open_ephemeral",
}


@pytest.mark.parametrize(("operation", "given", "expect", "passes"), CASES)
def test_the_code_agrees(operation: str, given: dict[str, Any], expect: dict[str, Any], passes: bool) -> None:
    assert run(operation, given) == expect
    assert passes == ("reason" not in expect)


def test_there_are_enough() -> None:
    passing = sum(len(load(name)["must_pass"]) for name in files())
    failing = sum(len(load(name)["must_fail"]) for name in files())
    assert passing >= 60 and failing >= 200
    for name in files():
        tree = load(name)
        assert tree["must_pass"] and (tree["must_fail"] or name == "keys")
        names = [case["name"] for case in tree["must_pass"] + tree["must_fail"]]
        assert len(names) == len(set(names)), f"two cases of {name} have one name"


def test_every_reason_of_the_code_is_in_a_vector() -> None:
    told = {
        case["expect"]["reason"]
        for name in files()
        if name != "audit"  # whose reasons are places
        for passes, _, case, _ in cases(name)
        if not passes
    }
    known: set[str] = set()
    for room, module in (
        (channels, "frames/frame"), (channels, "frames/body"), (channels, "session/token"), (channels, "session/keys"),
        (channels, "session/verifier"), (channels, "session/endpoint"), (channels, "session/grant"),
        (channels, "session/opening"), (channels, "session/enrolment"), (channels, "session/certificate_renewal"),
        (channels, "session/job_proof"), (channels, "session/job_result"), (channels, "frames/trace"),
        (channels, "tls/message_stream"), (config, "issuer_chain"), (loops, "gate/gate"),
    ):  # fmt: skip
        known |= set(_reasons(ast.parse((Path(room.__path__[0]) / f"{module}.py").read_text())))
    assert len(known) > 40
    assert known - told <= UNREACHED
    assert told <= known


def _reasons(tree: ast.AST) -> list[str]:
    """The words with which PeerError is raised, and the ones handed to `_array_untrusted`."""
    return [
        str(node.args[-1].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("PeerError", "_array_untrusted")
        and isinstance(node.args[-1], ast.Constant)
    ]


def test_the_files_are_what_the_generator_writes() -> None:
    assert generate.stale() == []


def test_a_changed_a_missing_and_a_foreign_file_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FOLDER.glob("*.json"):
        if path.name != "stored.json":
            shutil.copy(path, tmp_path)
    monkeypatch.setattr(generate, "FOLDER", tmp_path)
    assert generate.stale() == []
    gate = tmp_path / "gate.json"
    gate.write_text(re.sub(r'"reason": "replay"', '"reason": "reply"', gate.read_text(), count=1))
    (tmp_path / "keys.json").unlink()
    (tmp_path / "foreign.json").write_text("{}")
    assert generate.stale() == ["foreign.json", "gate.json", "keys.json"]


def test_a_stranger_derives_every_key_of_the_host() -> None:
    given, steps = _session()
    found = stranger.host_keys(given)
    assert len(found) == 11
    assert found == {name: steps[name] for name in found}


def test_a_stranger_takes_the_grant_and_makes_the_same_request() -> None:
    given, steps = _session()
    fields = stranger.take_grant(given, steps, steps["issuer_public"])
    assert fields[12] == steps["proof_key"] and fields[13][0][2] == steps["request_key"]
    assert stranger.ask(given, fields) == steps["request_frame"]
    assert stranger.read_reply(fields, steps["reply_frame"]) == "value of a"


@pytest.mark.parametrize("name", ["challenge_sent", "open_sent", "granted_sent"])
def test_a_stranger_notices_a_changed_byte(name: str) -> None:
    given, steps = _session()
    changed = steps[name][:-1] + bytes((steps[name][-1] ^ 1,))
    if name == "challenge_sent":  # its last byte is the time, which nobody signs: change the challenge itself
        changed = steps[name].replace(bytes.fromhex(given["challenge"]), bytes(32))
    with pytest.raises((AssertionError, InvalidSignature)):
        stranger.take_grant(given, {**steps, name: changed}, steps["issuer_public"])


@pytest.mark.parametrize("passes", [True, False])
def test_a_stranger_follows_a_rotated_issuer_as_we_do(passes: bool) -> None:
    found = [(case, given) for passed, _, case, given in cases("succession") if passed == passes]
    assert len(found) > 6
    for case, given in found:
        install, issuer, chain = (unhex(given[name]) for name in ("install", "issuer", "chain"))
        if not passes:
            with pytest.raises((AssertionError, InvalidSignature)):
                stranger.follow(install, given["issuer_version"], issuer, chain)
            continue
        version, key = stranger.follow(install, given["issuer_version"], issuer, chain)
        assert {"issuer": key.hex(), "issuer_version": version} == case["expect"], case["name"]


def test_a_stranger_takes_the_grant_of_an_issuer_that_followed() -> None:
    given, steps = _session()
    old = Ed25519PrivateKey.from_private_bytes(bytes(32))
    new = PinnedIssuer(2, steps["issuer_public"])  # the session was granted by this one
    chain = encode_chain([state_successor(bytes.fromhex(given["install"]), 1, new, old.sign)])
    _, key = stranger.follow(bytes.fromhex(given["install"]), 1, old.public_key().public_bytes_raw(), chain)
    assert stranger.take_grant(given, steps, key)[12] == steps["proof_key"]
    with pytest.raises(InvalidSignature):
        stranger.take_grant(given, steps, old.public_key().public_bytes_raw())


def _session() -> tuple[dict[str, Any], dict[str, bytes]]:
    tree = load("session")
    return tree["given"], {step["name"]: bytes.fromhex(step["value"]) for step in tree["steps"]}


DOCUMENT = FOLDER.parent.parent / "PROTOCOL.md"
LIMITS = {
    "payload and frame": frame.FRAME_MAX,
    "payload before the grant, at the server": message_stream.OPENING_MAX,
    "control message": message_stream._CONTROL_MAX,
    "header": frame.HEADER_MAX,
    "token": frame.TOKEN_MAX,
    "plaintext of a body": frame.BODY_MAX,
    "open": grant.OPEN_MAX,
    "certificate": grant.CERTIFICATE_MAX,
    "grant, encrypted": grant.GRANT_MAX,
    "name: subject or method, characters": frame.NAME_MAX,
    "ZeroMQ message": frame.MESSAGE_MAX,
    "deadline ahead, ms": frame.DEADLINE_MAX_MS,
    "slack for clocks, ms": heard_sessions.SLACK_MS,
    "seq": frame.SEQ_MAX,
    "statements in a chain": issuer_chain.CHAIN_MAX,
    "window of a stream": flow_control.WINDOW,
    "credit in one frame": body.CREDIT_MAX,
    "depth of a body": structure.DEPTH_MAX,
    "arrays and maps in a body": structure.CONTAINERS_MAX,
    "open calls of a session, default": LimitsConfig().calls_per_session,
    "frames a second of a client, default": LimitsConfig().frames_per_s,
    "sessions of a client at once, default": LimitsConfig().sessions_per_client,
    "new sessions a second of a client, default": LimitsConfig().openings_per_s,
    "... at once after a pause, default": LimitsConfig().openings_burst,
    "requests under way at a component": in_flight.RUNNING_MAX,
    "streams open at a component": in_flight.STREAMS_MAX,
    "... of one subject": in_flight.STREAMS_OF_ONE,
    "sessions that a recipient remembers": heard_sessions.REMOTE_SESSIONS_MAX,
}


def test_the_document_says_the_limits_of_the_code() -> None:
    rows = re.findall(r"^\|(.+)\|$", DOCUMENT.read_text().partition("## 13.")[2].partition("**Versions")[0], re.M)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows[2:]]
    found = {row[at]: int(row[at + 1]) for row in cells for at in (0, 2) if row[at]}
    assert found == LIMITS
    assert gate.SLACK_MS == heard_sessions.SLACK_MS


def test_the_document_lists_every_kind_and_control_message() -> None:
    text = DOCUMENT.read_text()
    kinds = {
        (int(number), name): (sender, key)
        for number, name, sender, key in re.findall(r"^\| (\d+) \| ([A-Z]+) \| (\w+) \| (\w+) \|", text, re.M)
    }
    expected = {
        (int(kind), kind.name): (
            ("requester", "request") if kind in frame.FROM_REQUESTER
            else ("replier", "reply") if kind in frame.FROM_REPLIER else ("gate", "none")
        )
        for kind in frame.FrameKind
    }  # fmt: skip
    assert kinds == expected
    rows = re.findall(r"^\| `(\w+)` \| (server|client) \| (.*) \|$", text, re.M)
    assert {name: sender for name, sender, _ in rows} == {
        name: rule.sender for name, rule in message_stream.TABLE.items()
    }
    for name, _, fields in rows:
        assert len(re.findall(r"\*(?:bin|str|int)\*", fields)) == len(message_stream.TABLE[name].fields)


def test_the_document_shows_the_recorded_session() -> None:
    _, steps = _session()
    text = re.sub(r"\s", "", DOCUMENT.read_text())
    for name in ("run_key", "mailbox_root", "request_key", "reply_key", "proof_key", "request_header", "request_body",
                 "request_sealed", "request_proof", "reply_sealed", "reply_body"):  # fmt: skip
        assert steps[name].hex() in text, name
    assert len(DOCUMENT.read_text().splitlines()) < 660
