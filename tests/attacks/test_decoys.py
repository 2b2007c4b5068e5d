"""Attacked sentence: whoever looks around, with keys of a component or of a client, touches a decoy and does not know.

Each decoy is touched once, with hand-made frames and with our own library, and must be an event in 200 ms; what the
one who touches is told is what he would be told of anything else that he may not have.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from attackers.arena import FOREIGN, THIEF, VICTIM, Arena, header_of, request_body, seal
from attackers.tls_peer import TlsPeer, open_session
from hosts.decoy_events import events, watching
from hosts.running_host import RunningHost

from tlsrt.channels.clock import boottime_ms
from tlsrt.channels.frames.frame import parse_frame_untrusted
from tlsrt.config.deception import COMPONENTS, METHODS
from tlsrt.errors import CallError, Denied

NOTHING = "secondary/cellar"  # is no decoy, and does not exist either
RARE = ("secondary/vault", "read")


def ask_by_hand(peer: TlsPeer, target: str, method: str, seq: int) -> bytes:
    """Ask for something that the session has no right to; return the frame that comes back."""
    header = peer.header(VICTIM, method, seq)._replace(dst=target, mailbox=2)
    content = peer.content
    peer.send(seal(header, request_body(), token=content.token, body_key=bytes(32), proof_key=content.proof_key))
    return peer.frame()


def test_a_start_proves_that_a_touch_would_be_heard(host: RunningHost) -> None:
    with watching(host, since=0) as watch:
        assert watch.next("decoys_proved", "decoys_blind")["name"] == "decoys_proved"
    host.wait_for("^decoys +proved", after=0)
    assert not [warning for warning in host.status()["warnings"] if "decoy" in warning]


def test_each_decoy_component_by_a_client_with_frames_of_its_own_making(host: RunningHost) -> None:
    with watching(host) as watch, open_session(host, "admin") as peer:
        for seq, target in enumerate(COMPONENTS, 1):
            since = boottime_ms()
            assert parse_frame_untrusted(ask_by_hand(peer, target, "get", seq)).body == b"rejected"
            event = watch.touched(since)
            assert event["subject"] == "client/admin" and event["severity"] == "alarm"
            assert event["fields"] == {"decoy": target, "method": "get", "session": peer.content.session[:4].hex()}
        assert watch.in_time()


def test_each_decoy_method_by_a_client_that_may_call_everything(host: RunningHost) -> None:
    """It passes the gate as any other does, and the component says that it has no such method."""
    with watching(host) as watch, host.client() as client:
        for target, method in METHODS:
            since = boottime_ms()
            with pytest.raises(CallError) as told:
                client.call(target, method)
            fields = watch.touched(since)["fields"]
            assert (fields["decoy"], fields["method"]) == (target, method)
            with pytest.raises(CallError) as told_of_nothing:
                client.call(target, "zz" + method)
            assert told.value.code == told_of_nothing.value.code
            words = [error.value.message.partition(",")[0] for error in (told, told_of_nothing)]  # then comes a guess
            assert words[0] == words[1].replace("zz" + method, method)
        assert watch.in_time()


def test_the_answer_is_that_to_anything_else_that_is_not_allowed(host: RunningHost) -> None:
    with watching(host) as watch, open_session(host, "admin") as peer:
        answers = [
            ask_by_hand(peer, name, "read", seq) for seq, name in enumerate((NOTHING, "secondary/vault", NOTHING), 1)
        ]
        watch.next("decoy_touched")
    parts = [parse_frame_untrusted(frame) for frame in answers]
    assert len({len(frame) for frame in answers}) == 1
    assert {(part.body, part.token, part.proof) for part in parts} == {(b"rejected", b"", b"")}
    headers = [header_of(frame)._replace(correlation=b"", deadline=0) for frame in answers]
    assert headers[0] == headers[1] == headers[2]


def test_nobody_escapes_by_leaving_at_once(host: RunningHost) -> None:
    with watching(host) as watch:
        with open_session(host, "admin") as peer:
            ask_by_hand(peer, *RARE, 1)
        assert watch.next("decoy_touched")["subject"] == "client/admin"


def test_a_thief_of_a_bundle_with_our_own_library_and_command(host: RunningHost) -> None:
    with watching(host) as watch, host.client() as client:
        since = boottime_ms()
        with pytest.raises(Denied) as told:
            client.call("secondary/archive", "list")
        assert watch.touched(since)["fields"]["decoy"] == "secondary/archive"
        with pytest.raises(Denied) as told_of_nothing:
            client.call("secondary/cellars", "list")
        assert str(told.value).replace("archive", "cellars") == str(told_of_nothing.value)
        command = [sys.executable, "-m", "tlsrt.channels.cli.main", "--bundle", str(host.folder / "admin.tlsrt")]
        subprocess.run([*command, "call", "third/shell", "run"], capture_output=True, timeout=60, check=False)
        assert watch.next("decoy_touched")["fields"]["decoy"] == "third/shell"


def test_ordinary_use_touches_nothing_and_shows_no_decoy(host: RunningHost) -> None:
    before = [event["seq"] for event in events(host) if event["name"] == "decoy_touched"]
    with host.client() as client:
        shown = str(client.describe()) + str(client.rights)
        client.call(VICTIM, "value")
        for target in client.rights:
            with pytest.raises(CallError):
                client.call(target, "no_such_method")
    assert not [name for name in COMPONENTS if name in shown] and not [name for _, name in METHODS if name in shown]
    with watching(host) as watch, open_session(host, "admin"):
        watch.next("session_opened")  # what was told before has been told by now
    assert [event["seq"] for event in events(host) if event["name"] == "decoy_touched"] == before


def test_a_captured_primary_charges_nobody_for_sessions_that_there_are_not(host: RunningHost, arena: Arena) -> None:
    with watching(host) as watch:
        arena.client.call("primary/captured", "say_to_authority", "decoy_accessed", [bytes(16), *RARE])
        assert watch.next("decoy_touched")["subject"] == "unknown"


def test_a_captured_loop_with_its_own_keys(host: RunningHost, arena: Arena) -> None:
    with watching(host) as watch:
        since = boottime_ms()
        arena.third.send(arena.third.forge(arena.third.header(dst=RARE[0], method=RARE[1]), request_body()))
        event = watch.touched(since)
        assert event["subject"] == THIEF and event["fields"]["decoy"] == RARE[0]
        with pytest.raises(CallError):
            arena.external.do("seal", FOREIGN, *RARE, b"")  # our own library, which sends a probe
        assert watch.next("decoy_touched")["subject"] == FOREIGN
