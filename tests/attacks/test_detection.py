"""Attacked sentence: whoever attacks is answered by the stated step, at once; nobody else is, and it ends by itself.

Real processes. The first of the steps of each attack is timed by the host's own clock, from before the attack is sent
to the event of the step.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from attackers.arena import (
    FOREIGN,
    FOREIGN_CONSOLE,
    IN_PRIMARY,
    STAGE,
    THIEF,
    VICTIM,
    Arena,
    Attacker,
    header_of,
    request_body,
    seal,
)
from attackers.tls_peer import TlsPeer, open_session, request
from hosts.running_host import RunningHost, running

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames.frame import FrameKind, pack_frame, parse_frame_untrusted
from tlsrt.channels.tls.message_stream import encode_control
from tlsrt.errors import CallError
from tlsrt.supervisor.control.client import ControlClient

STEP_MS = 200
STRANGER = "127.0.0.9"  # an address of this machine that nobody else of this test uses


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host that acts, and whose local addresses are on no list."""
    policy = {**STAGE["policy"], f"client/guest -> {VICTIM}": ["value"]}
    detection = {"mode": "act", "allow": ["127.0.0.1"]}
    yield from running(request, **{**STAGE, "policy": policy, "detection": detection}, clients=["guest"])


class Watch:
    """What the host tells of its steps, from now on."""

    def __init__(self, host: RunningHost) -> None:
        self._host = host
        self._seen = max((event["seq"] for event in self._read(0)), default=0)
        self.began = boottime_ms()

    def _read(self, since: int) -> list[dict[str, Any]]:
        with ControlClient(self._host.config.run_dir) as client:
            return [event for event in client.follow("events", follow=False, since=since) if "seq" in event]

    def found(self, name: str, detector: str = "") -> list[dict[str, Any]]:
        """Return the events of a name since then, of one detector or of all."""
        return [
            event for event in self._read(self._seen)
            if event["name"] == name and detector in ("", event["fields"]["detector"])
        ]  # fmt: skip

    def step(self, step: str, subject: str) -> dict[str, Any]:
        """Wait for a step, and return its event with the ms that it took."""
        found: list[dict[str, Any]] = []

        def is_there(document: dict[str, Any]) -> bool:
            found[:] = [event for event in self._read(self._seen) if event["name"] == "response"]
            return any(event["fields"]["step"] == step and event["subject"] == subject for event in found)

        self._host.until(is_there, f"{step} of {subject}; there was {found}")
        event = next(event for event in found if event["fields"]["step"] == step and event["subject"] == subject)
        return {**event, "took_ms": event["boottime_ms"] - self.began, "all": found}


def anomalies(host: RunningHost) -> dict[str, Any]:
    with ControlClient(host.config.run_dir) as client:
        return client.ask("anomalies")


TOOK: list[int] = []


def test_a_forged_frame_of_a_client_ends_its_session(host: RunningHost) -> None:
    with open_session(host, "guest") as peer:
        watch = Watch(host)
        frame = parse_frame_untrusted(request(peer, VICTIM, "value", 1, request_body()))
        peer.send(pack_frame(frame.header, frame.token, frame.body, bytes(16)))
        TOOK.append(watch.step("revoke", "client/guest")["took_ms"])
        while peer.payload():  # a refusal, perhaps, and the goodbye
            continue
    with open_session(host, "guest"):
        pass  # another one is to be had


def test_a_scan_of_methods_ends_a_session_and_the_same_call_again_and_again_does_not(host: RunningHost) -> None:
    with open_session(host, "guest") as peer:
        watch = Watch(host)
        peer.send(*(request(peer, VICTIM, "add", seq, request_body(1)) for seq in range(1, 50)))
        peer.send(request(peer, VICTIM, "value", 50, request_body()))
        while header_of(peer.frame()).kind != FrameKind.REPLY:
            continue  # refusals
        scan = [request(peer, VICTIM, f"m{seq}", seq, request_body()) for seq in range(60, 70)]
        peer.send(*scan)
        taken = watch.step("revoke", "client/guest")["all"]
        steps = [one["fields"]["step"] for one in taken if one["fields"]["detector"] in ("policy", "guessing")]
        assert steps == ["limit", "revoke"]  # what follows from the session before may be told meanwhile


def test_a_stolen_session_shuts_its_thief_out_and_the_victim_has_no_points(host: RunningHost) -> None:
    """The guest presents the admin's session and token on a connection of its own: the framing attack."""
    with open_session(host, "admin") as victim, open_session(host, "guest") as thief:
        watch = Watch(host)
        stolen = seal(
            victim.header(VICTIM, "value", 1), request_body(), token=victim.content.token,
            body_key=victim.right(VICTIM).key, proof_key=victim.content.proof_key,
        )  # fmt: skip
        thief.send(stolen)
        TOOK.append(watch.step("quarantine", "client/guest")["took_ms"])
        victim.send(request(victim, VICTIM, "value", 1, request_body()))
        assert victim.frame(), "who was robbed is served"
        document = anomalies(host)
        names = {one["value"] for one in document["scores"]} | {one["subject"] for one in document["scores"]}
        assert "client/guest" in names, "an operator sees whose session it was, though it has ended"
        assert "client/admin" not in names and victim.content.session.hex() not in names
    with TlsPeer(host, "guest") as peer:
        data, signature = peer.opening.answer_untrusted(*peer.challenge())
        peer.send(encode_control("open", data, signature))
        assert peer.control().name == "refused"


def points(host: RunningHost, kind: str, value: str) -> float:
    return float(sum(one["score"] for one in anomalies(host)["scores"] if (one["kind"], one["value"]) == (kind, value)))


def test_whoever_kills_the_authority_is_not_clean_and_it_is_still_known_why_he_is_shut_out(host: RunningHost) -> None:
    before, seen = points(host, "channel", "client/guest"), len(host.console)
    assert before > 10, "for the session that was ended at first"
    host.kill("authority")
    host.wait_for("^authority +active", after=seen)
    assert points(host, "channel", "client/guest") > before / 2, "what has faded"
    quarantined = host.until(lambda document: document["quarantined"] != [], "who is in quarantine")["quarantined"]
    assert "client/guest" in quarantined
    assert re.search(r"quarantine +client/guest +foreign_token", host.cli("quarantine", "list").stdout)
    with TlsPeer(host, "guest") as peer:
        data, signature = peer.opening.answer_untrusted(*peer.challenge())
        peer.send(encode_control("open", data, signature))
        assert peer.control().name == "refused"


def test_an_operator_sees_who_is_in_quarantine_and_may_release_him(host: RunningHost) -> None:
    assert re.search(r"quarantine +client/guest +foreign_token", host.cli("quarantine", "list").stdout)
    assert "client/guest" in host.status()["quarantined"]
    assert host.cli("quarantine", "release", "guest").stdout == "released client/guest\n"
    with open_session(host, "guest"):
        pass


def test_a_loop_that_forges_has_other_keys_and_one_with_anothers_token_another_process(host: RunningHost) -> None:
    arena = Arena(host)
    before = arena.third.session()
    watch = Watch(host)
    frame = parse_frame_untrusted(arena.third.genuine())
    arena.third.send(pack_frame(frame.header, frame.token, frame.body, bytes(16)))
    TOOK.append(watch.step("revoke", "third")["took_ms"])
    host.until(lambda document: _newest(arena) != before["session"], "another session of the thief")
    arena.third.learn()
    watch, incarnation = Watch(host), host.loop("third")["incarnation"]
    foreign = arena.external.genuine(VICTIM, "value")
    with suppress(CallError):  # the loop may be gone before it has answered
        arena.third.send(foreign)
    TOOK.append(watch.step("respawn", "third")["took_ms"])
    host.until(lambda document: host.loop("third")["incarnation"] > incarnation, "another third")
    host.until(lambda document: host.loop("third")["state"] == "active", "an active third")
    assert host.loop("third")["last_death"]["cause"] == "anomaly"
    assert host.status()["lock"] is None, "one source is not two"
    shown = host.cli("anomalies").stdout
    assert re.search(r"^foreign_token +1 +1 +100 ", shown, re.M), shown  # counted since the authority came again
    assert host.loop("secondary")["restarts"] == 0 and host.loop("external")["restarts"] == 0


def _newest(arena: Arena) -> bytes:
    arena.third.learn()
    session: bytes = arena.third.session()["session"]
    return session


def say(attacker: Attacker, *rows: list[Any]) -> None:
    """Let a captured loop tell the authority what it refused, whether it did or not."""
    attacker.do("say_to_authority", "recipient_reports", [list(rows)])


def spoilt(attacker: Attacker, target: str, method: str, *, with_proof: bool) -> bytes:
    """Return a frame of a captured loop whose body nobody can open; without a proof no gate lets it through."""
    frame = parse_frame_untrusted(attacker.genuine(target, method, 1))
    if with_proof:
        return attacker.forge(attacker.header(target, method), body_key=bytes(32))
    return pack_frame(frame.header, frame.token, frame.body[:-1] + bytes([frame.body[-1] ^ 1]), frame.proof)


def test_a_sender_whose_frames_two_recipients_refuse_has_other_keys_and_for_one_nothing_follows(
    host: RunningHost,
) -> None:
    """The gate cannot read a body, so it lets such a frame through."""
    arena = Arena(host)
    third, before = arena.third, arena.third.session()
    watch = Watch(host)
    third.send(spoilt(third, VICTIM, "value", with_proof=True))
    host.until(lambda document: watch.found("detected", "recipient") != [], "one recipient's word")
    assert third.session() == before and not watch.found("response")
    third.send(spoilt(third, FOREIGN, "poke", with_proof=True))
    watch.step("revoke", THIEF)
    assert watch.found("response")[0]["fields"]["detector"] == "recipients"
    host.until(lambda document: _newest(arena) != before["session"], "another session of the thief")


def test_a_captured_loop_accuses_neither_primary_nor_its_victims(host: RunningHost) -> None:
    arena = Arena(host)
    others = [arena.external.session(each)["session"] for each in (FOREIGN, FOREIGN_CONSOLE)]
    watch = Watch(host)
    say(arena.third, *([session, "body_forged", 1000] for session in others))
    arena.third.send(spoilt(arena.third, VICTIM, "value", with_proof=True))
    host.until(lambda document: len(watch.found("detected", "recipient")) >= 3, "three words")
    assert not watch.found("response") and host.status()["lock"] is None
    charged = {one["value"] for one in anomalies(host)["scores"]}
    assert not charged & {"primary", FOREIGN, FOREIGN_CONSOLE, *(session.hex() for session in others)}


def make_noise(host: RunningHost, data: bytes) -> bytes:
    """Connect from the stranger's address, say something, and return what is answered before the end."""
    heard = b""
    address = ("127.0.0.1", host.port)
    with suppress(ConnectionError), socket.create_connection(address, 10.0, source_address=(STRANGER, 0)) as noise:
        noise.sendall(data)
        while piece := noise.recv(4096):
            heard += piece
    return heard


def test_an_address_that_only_makes_noise_is_blocked_and_who_is_here_stays(host: RunningHost) -> None:
    with open_session(host, "admin") as peer:
        watch = Watch(host)
        for _ in range(30):
            make_noise(host, b"GET / HTTP/1.0\r\n\r\n")
        watch.step("block", STRANGER)
        assert make_noise(host, b"") == b"", "not even an alert"
        peer.send(request(peer, VICTIM, "value", 1, request_body()))
        assert peer.frame()
    with ControlClient(host.config.run_dir) as client:
        assert [one["subject"] for one in client.ask("release", name=STRANGER)["subjects"]] == [STRANGER]
    assert make_noise(host, b"GET / HTTP/1.0\r\n\r\n") != b""


def test_the_first_step_comes_within_200_ms(host: RunningHost) -> None:
    assert len(TOOK) == 4 and sorted(TOOK)[1] < STEP_MS, TOOK  # a busy machine may delay one or two


def test_a_captured_primary_does_not_lock_the_host_by_its_word(host: RunningHost) -> None:
    """It says of two loops, of the authority and of the supervisor what it likes."""
    arena = Arena(host)
    watch = Watch(host)
    arena.client.call(IN_PRIMARY, "say_to_authority", "canary", ["token 1", "secondary", b"", ""])
    rows = [["channel", name, "wrong_session", 1, ""] for name in ("external", "authority", "supervisor")]
    arena.client.call(IN_PRIMARY, "say_to_authority", "offences", [rows])
    loops = ("secondary", "external")  # not third, which another test may have had respawned just now
    for loop in loops:
        watch.step("respawn", loop)
    host.until(lambda _: {host.loop(loop)["state"] for loop in loops} == {"active"}, "active loops")
    assert host.status()["lock"] is None
    assert not [event for event in watch.found("response") if event["fields"]["step"] == "lock"]


def test_a_primary_that_spoils_what_passes_locks_the_host(host: RunningHost) -> None:
    """Past the gate it puts frames of two loops, changed, on the wires of others. The last test: nobody has keys."""
    arena = Arena(host)
    spoilt_frames = [
        ("secondary", spoilt(arena.third, VICTIM, "value", with_proof=False)),
        ("secondary", spoilt(arena.external, VICTIM, "value", with_proof=False)),
        ("external", spoilt(arena.third, FOREIGN, "poke", with_proof=False)),
    ]
    watch = Watch(host)
    assert host.status()["lock"] is None
    for loop, frame in spoilt_frames:
        with suppress(CallError):  # the answer may meet the lock
            arena.client.call(IN_PRIMARY, "deliver", loop, [frame])
    host.until(lambda document: document["lock"] is not None, "the lock")
    assert host.status()["lock"]["reason"].startswith("gate at primary: body_forged at ")
    host.until(lambda document: watch.found("detected", "gate") != [], "the event")
    (event,) = watch.found("detected", "gate")
    assert event["subject"] == "primary"
