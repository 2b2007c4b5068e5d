"""The gate: what passes, and every attack on the way is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fakes.memory_host import POLICY, MemoryHost, parts

from tlsrt.channels.frames.frame import (
    FLAG_FINAL,
    FRAME_MAX,
    FrameKind,
    correlation,
    nonce,
    pack_frame,
    parse_header_untrusted,
    proof_data,
)
from tlsrt.channels.session.token import mint_token
from tlsrt.config import key_schedule
from tlsrt.errors import PeerError
from tlsrt.loops.gate import open_calls
from tlsrt.loops.gate.gate import Gate, refusal_word
from tlsrt.loops.gate.state import Origin

STORE, CONSOLE, ADMIN = "secondary/store", "third/console", "client/admin"


def refuse(world: MemoryHost, data: bytes, origin: Origin | None = None, *, now: int | None = None) -> str:
    verdict = world.gate.check_untrusted(data, origin or world.origin(CONSOLE), now or world.now)
    assert not verdict.passed
    return verdict.reason


def test_a_request_and_its_reply_pass() -> None:
    world = MemoryHost()
    data = world.request()
    assert world.gate.check_untrusted(data, world.origin(CONSOLE), world.now).loop == "secondary"
    header = world.header(data)
    reply = world.endpoints[STORE].seal_reply(
        FrameKind.REPLY, header, b"answer", world.now + 1000, correlation=correlation(header.session, header.seq)
    )
    assert world.gate.check_untrusted(reply, world.origin(STORE), world.now).loop == "third"
    assert world.endpoints[CONSOLE].open_untrusted(parts(reply), world.header(reply), world.now).body == b"answer"


def test_an_external_client_passes_with_its_own_session_and_certificate() -> None:
    world = MemoryHost()
    data = world.request(ADMIN)
    assert world.gate.check_untrusted(data, world.origins["client"], world.now).loop == "secondary"


@pytest.mark.parametrize(
    ("origin", "wanted"),
    [
        (Origin("", 2, bytes(16), bytes(32)), "session_not_granted"),
        (Origin("", 2, MemoryHost().session(ADMIN), bytes(32)), "wrong_certificate"),
        (Origin("third"), "wrong_certificate"),
    ],
)
def test_a_stolen_client_token_on_another_socket(origin: Origin, wanted: str) -> None:
    world = MemoryHost()
    assert refuse(world, world.request(ADMIN), origin) == wanted


def test_another_loops_session() -> None:
    world = MemoryHost()
    assert refuse(world, world.request(CONSOLE), world.origin("external/network")) == "foreign_session"
    world.gate.check_untrusted(world.request(CONSOLE), world.origin(CONSOLE), world.now)
    assert refuse(world, world.request(CONSOLE), world.origin("external/network")) == "session_elsewhere"


def test_replay_and_anything_not_higher() -> None:
    world = MemoryHost()
    first, second = world.request(), world.request()
    assert world.gate.check_untrusted(second, world.origin(CONSOLE), world.now).passed
    assert refuse(world, second) == "replay"
    assert refuse(world, first) == "replay"


def test_a_forged_frame_does_not_move_the_sequence() -> None:
    world = MemoryHost()
    header = world.plain_header(seq=1000)
    assert refuse(world, world.forge(CONSOLE, header, b"", proof_key=bytes(32))) == "proof_forged"
    assert world.gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed


def test_a_stolen_token_without_the_sessions_key() -> None:
    world = MemoryHost()
    thief = key_schedule.proof_key(world.gate_root(world.epoch), world.session("external/network"))
    assert refuse(world, world.forge(CONSOLE, world.plain_header(), b"", proof_key=thief)) == "proof_forged"


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"epoch": 6}, "stale_epoch"),
        ({"epoch": 8}, "stale_epoch"),
        ({"session": bytes(16)}, "wrong_session"),
        ({"src": STORE}, "wrong_source"),
        ({"gate": 9}, "stale_gate"),
        ({"deadline": 1_000_000}, "deadline"),
        ({"deadline": 1_000_000 + 300_001}, "deadline_too_far"),
        ({"mailbox": 9}, "stale_mailbox"),
        ({"dst": "forth/power", "mailbox": 4}, "not_allowed"),
        ({"method": "delete"}, "not_allowed"),
        ({"method": "subscribe"}, "not_allowed"),
        ({"dst": "nowhere/x"}, "not_allowed"),
        ({"correlation": bytes(24)}, "correlated_request"),
        ({"kind": FrameKind.REPLY}, "no_open_call"),
        ({"kind": FrameKind.REPLY, "correlation": bytes(24)}, "no_open_call"),
        ({"kind": FrameKind.CREDIT, "correlation": bytes(24)}, "no_open_call"),
        ({"kind": FrameKind.REFUSAL, "correlation": bytes(24)}, "no_open_call"),
    ],
)
def test_a_captured_loop_with_its_own_keys(changes: dict[str, Any], wanted: str) -> None:
    world = MemoryHost()
    header = world.plain_header(**changes)
    proof = key_schedule.proof_key(world.gate_root(header.epoch), header.session)
    assert refuse(world, world.forge(CONSOLE, header, b"", request_key=bytes(32), proof_key=proof)) == wanted


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"expires": MemoryHost().now}, "token_expired"),
        ({"not_before": MemoryHost().now + 1}, "token_not_yet"),
        ({"boot": bytes(16)}, "token_boot"),
        ({"install": bytes(16)}, "token_install"),
        ({"caps": ()}, "not_allowed"),
    ],
)
def test_tokens_that_are_genuine_but_not_good(changes: dict[str, Any], wanted: str) -> None:
    world = MemoryHost()
    token = world.token(CONSOLE, **changes)
    assert refuse(world, world.forge(CONSOLE, world.plain_header(), b"", token=token)) == wanted


def test_spliced_token_header_and_body() -> None:
    world = MemoryHost()
    console, network = parts(world.request()), parts(world.request("external/network"))
    from tlsrt.channels.frames.frame import pack_frame

    spliced = [
        (console.header, network.token, console.body, console.proof),
        (console.header, console.token, network.body, console.proof),
        (console.header, console.token, console.body, network.proof),
        (network.header, console.token, console.body, console.proof),
    ]
    for pieces in spliced:
        refuse(world, pack_frame(*pieces))
    assert world.gate.refused == len(spliced)


def test_an_unasked_reply_reaches_nobody() -> None:
    world = MemoryHost()
    data = world.request()
    header = world.header(data)
    store, origin = world.endpoints[STORE], world.origin(STORE)
    name = correlation(header.session, header.seq)
    early = store.seal_reply(FrameKind.REPLY, header, b"", world.now + 1000, correlation=name)
    assert refuse(world, early, origin) == "no_open_call"
    world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    assert world.gate.check_untrusted(
        store.seal_reply(FrameKind.REPLY, header, b"", world.now + 1000, correlation=name), origin, world.now
    ).passed
    again = store.seal_reply(FrameKind.REPLY, header, b"", world.now + 1000, correlation=name)
    assert refuse(world, again, origin) == "no_open_call"


def test_a_third_party_cannot_answer_somebody_elses_call() -> None:
    world = MemoryHost()
    data = world.request()
    header = world.header(data)
    world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    forged = world.plain_header(
        "external/network", CONSOLE, kind=FrameKind.REPLY, correlation=correlation(header.session, header.seq)
    )
    assert (
        refuse(world, world.forge("external/network", forged, b""), world.origin("external/network")) == "no_open_call"
    )


def test_reflection() -> None:
    world = MemoryHost()
    data = world.request()
    world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    assert refuse(world, data, world.origin(STORE)) == "session_elsewhere"
    with pytest.raises(PeerError, match="not_mine"):
        world.endpoints[CONSOLE].open_untrusted(parts(data), world.header(data), world.now)


def test_streams_stay_open_until_final_and_are_renewed_by_credit() -> None:
    world = MemoryHost()
    data = world.request()
    header = world.header(data)
    name = correlation(header.session, header.seq)
    world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    world.verifier.snapshot(1, 0, 1, 0, world.now + 9_000, [], world.now + 9_000)
    world.now += 9_000
    credit = world.request(body=b"\x01", correlation=name)
    credit = world.endpoints[CONSOLE].seal_request(
        FrameKind.CREDIT, STORE, "get", b"\x01", world.now + 20_000, correlation=name
    )[1]
    assert world.gate.check_untrusted(credit, world.origin(CONSOLE), world.now).passed
    world.gate.sweep(world.now + 10_000)
    store, origin = world.endpoints[STORE], world.origin(STORE)
    for part, flags in ((0, 0), (1, FLAG_FINAL)):
        item = store.seal_reply(FrameKind.ITEM, header, b"", world.now + 1000, correlation=name, part=part, flags=flags)
        assert world.gate.check_untrusted(item, origin, world.now).passed
    item = store.seal_reply(FrameKind.ITEM, header, b"", world.now + 1000, correlation=name, part=2)
    assert refuse(world, item, origin) == "no_open_call"
    for about, is_answered in ((name, True), (bytes(16) + name[16:], False)):  # the second is another session's
        late = world.endpoints[CONSOLE].seal_request(
            FrameKind.CREDIT, STORE, "get", b"\x01", world.now + 20_000, correlation=about
        )[1]
        verdict = world.gate.check_untrusted(late, world.origin(CONSOLE), world.now)
        assert (verdict.passed, verdict.reason) == (False, "no_open_call")
        assert bool(verdict.answer) is is_answered
        if is_answered:
            said = world.header(verdict.answer)
            assert (said.kind, said.dst, said.correlation) == (FrameKind.REFUSAL, CONSOLE, name)


def test_calls_past_their_deadline_are_forgotten_and_no_longer_answered() -> None:
    world = MemoryHost()
    data = world.request()
    world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    world.gate.sweep(world.now + 10_000)
    header = world.header(data)
    reply = world.endpoints[STORE].seal_reply(
        FrameKind.REPLY, header, b"", world.now + 1000, correlation=correlation(header.session, header.seq)
    )
    assert refuse(world, reply, world.origin(STORE)) == "no_open_call"


def test_quota_of_open_calls_and_its_way_back() -> None:
    world = MemoryHost()
    requests = [world.request() for _ in range(65)]
    verdicts = [world.gate.check_untrusted(data, world.origin(CONSOLE), world.now) for data in requests]
    assert [verdict.reason for verdict in verdicts] == [""] * 64 + ["busy"]
    answer = parts(verdicts[-1].answer)
    assert answer.body == b"busy"
    assert parse_header_untrusted(answer.header).kind == FrameKind.REFUSAL
    world.gate.sweep(world.now + 10_000)
    assert world.gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed


def test_a_respawned_recipient_makes_old_frames_stale_and_ends_calls_to_it() -> None:
    world = MemoryHost()
    data = world.request()
    world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    world.gate.set_loop("secondary", 0, 0)
    assert refuse(world, world.request()) == "unavailable"
    world.gate.set_loop("secondary", 6, world.epoch)
    assert refuse(world, world.request()) == "stale_mailbox"


def test_an_unattested_loop_says_nothing() -> None:
    world = MemoryHost()
    for attested in (0, world.epoch - 1):  # never, or only for an epoch that has passed
        world.gate.set_loop("third", 3, attested)
        assert refuse(world, world.request()) == "not_attested"
    world.gate.set_loop("third", 0, 0)
    assert refuse(world, world.request()) == "not_attested"


def test_revocation_and_silence_of_the_feed() -> None:
    world = MemoryHost()
    world.verifier.revoke(1, "session", world.session(CONSOLE), world.now)
    assert refuse(world, world.request()) == "revoked"
    world = MemoryHost()
    world.verifier.revoke(1, "subject", ADMIN.encode(), world.now)
    assert refuse(world, world.request(ADMIN), world.origins["client"]) == "revoked"
    world = MemoryHost()
    assert refuse(world, world.request(), now=world.now + 3_000) == "unsynchronised"
    world = MemoryHost()
    world.verifier.revoke(1, "a kind of the future", b"", world.now)
    assert refuse(world, world.request()) == "unsynchronised"


def test_nobody_speaks_to_a_revoked_subject() -> None:
    world = MemoryHost()
    world.verifier.revoke(1, "subject", STORE.encode(), world.now)
    assert refuse(world, world.request()) == "unavailable"
    world.verifier.restore(2, STORE.encode())
    assert world.gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed


@pytest.mark.parametrize("data", [b"", b"\x94", b"x" * (FRAME_MAX + 1), b"\x91" * 100_000])
def test_garbage_is_refused_without_an_answer(data: bytes) -> None:
    world = MemoryHost()
    verdict = world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    assert not verdict.passed
    assert verdict.answer == b""


def test_every_flipped_byte_of_a_frame_is_refused_by_the_gate_or_by_the_recipient() -> None:
    """The gate authenticates all but the body's ciphertext, of which it knows the tag; the recipient does the rest."""
    world = MemoryHost()
    data = world.request(body=b"body")
    world.gate.check_untrusted(data, world.origin(CONSOLE), world.now)
    past_the_gate = []
    for index in range(len(data)):
        bad = bytearray(data)
        bad[index] ^= 0x10
        fresh = MemoryHost()
        if fresh.gate.check_untrusted(bytes(bad), fresh.origin(CONSOLE), fresh.now).passed:
            past_the_gate.append(index)
        assert _proof_only(bytes(bad), data) or _refused_by_the_store(fresh, bytes(bad)), index
    assert len(past_the_gate) == len(b"body")


def _proof_only(bad: bytes, good: bytes) -> bool:
    """Whether only the proof differs, which is the gate's to check."""
    try:
        return parts(bad)[:3] == parts(good)[:3]
    except PeerError:
        return False


def _refused_by_the_store(world: MemoryHost, data: bytes) -> bool:
    try:
        frame = parts(data)
        world.endpoints[STORE].open_untrusted(frame, parse_header_untrusted(frame.header), world.now)
    except PeerError:
        return True
    return False


def test_signatures_are_charged_to_the_socket_that_causes_them() -> None:
    """A captured loop holds the token key: it can wrap garbage that costs a verification each."""
    world = MemoryHost()
    world.gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now)
    reasons = []
    for number in range(400):
        forged = mint_token(
            world.claims(CONSOLE), lambda data: bytes(64), key_schedule.token_key(world.run, world.epoch),
            number.to_bytes(12, "big"), 1,
        )  # fmt: skip
        reasons.append(refuse(world, world.forge(CONSOLE, world.plain_header(seq=9), b"", token=forged)))
    assert reasons.count("token_signature") == 255
    assert reasons[-1] == "too_many_signatures"
    assert world.gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed
    assert world.gate.check_untrusted(world.request("external/network"), world.origin("external/network"), world.now)
    later = world.now + 1_000
    assert (
        refuse(world, world.forge(CONSOLE, world.plain_header(seq=9), b"", token=forged), now=later)
        == "token_signature"
    )


def test_peers_are_told_one_generic_word() -> None:
    words = {refusal_word(reason) for reason in ("proof_forged", "replay", "revoked", "not_allowed", "token_expired")}
    assert words == {"rejected"}
    assert refusal_word("stale_mailbox") == "stale"


def test_policy_of_the_world_is_deny_by_default() -> None:
    world = MemoryHost()
    for subject in POLICY:
        for target in ("secondary/store", "third/console", "primary/kernel", "external/network"):
            allowed = target in POLICY[subject]
            assert world.claims(subject).allows(target, "get") == (allowed and "uname" not in POLICY[subject][target])


def test_a_proof_with_something_in_it_is_no_proof() -> None:
    """One that its sender sealed around a byte is genuine to the cipher."""
    world = MemoryHost()
    frame = parts(world.request())
    header = world.plain_header()
    proof = AESGCM(key_schedule.proof_key(world.gate_root(7), header.session)).encrypt(
        nonce(header.seq), b"x", proof_data(frame.header, frame.token, frame.body)
    )
    assert refuse(world, pack_frame(frame.header, frame.token, frame.body, proof)) == "proof_forged"
    assert world.gate.check_untrusted(pack_frame(*frame), world.origin(CONSOLE), world.now).passed


def test_a_session_that_is_swept_and_comes_back_has_no_new_quota() -> None:
    """Calls outlive the token that made them; they count until they end, and once."""
    world = MemoryHost()
    endpoint, gate, now = world.endpoints[CONSOLE], world.gate, world.now
    passed = 0
    for renewal in range(4):
        world.verifier.snapshot(1, 0, 1, 0, now, [], now)
        endpoint._epochs[7].token = world.token(
            CONSOLE, token_id=bytes([renewal]) * 16, issued=now, not_before=now, expires=now + 1000
        )
        for _ in range(70):
            data = endpoint.seal_request(FrameKind.REQUEST, STORE, "get", b"", now + 250_000)[1]
            passed += gate.check_untrusted(data, world.origin(CONSOLE), now).passed
        assert gate.each_session[endpoint.session].open_calls == len(gate.calls.by_name) == passed == 64
        now += 1000
        gate.sweep(now)
    gate.sweep(now + 250_000)
    assert (gate.sessions, len(gate.calls.by_name)) == (0, 0)


def test_a_call_that_ends_after_its_session_was_forgotten_counts_for_no_other() -> None:
    world = MemoryHost()
    gate, session = world.gate, world.session(CONSOLE)
    assert gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed
    forgotten = gate.each_session[session]
    gate._sessions.remove(session)
    gate._fast.end_flows()
    assert gate.check_untrusted(world.request(), world.origin(CONSOLE), world.now).passed
    gate.calls.end(next(iter(gate.calls.by_name)))
    assert (forgotten.open_calls, gate.each_session[session].open_calls) == (0, 1)


def test_open_calls_of_all_sessions_are_bounded_and_nobody_takes_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes late still finds some, however many sessions there are."""
    monkeypatch.setattr(open_calls, "CALLS_MAX", 1024)
    world = MemoryHost(
        policy={"secondary/store": {}, **{f"third/{n}": {"secondary/store": ("get",)} for n in range(40)}}
    )
    opened: list[int] = []
    for number in range(40):
        count = 0
        subject = f"third/{number}"
        while world.gate.check_untrusted(world.request(subject), world.origin(subject), world.now).passed:
            count += 1
        opened.append(count)
    assert opened[:7] == [64] * 7, "what each may have at a quiet gate"
    assert opened[-1] >= 1
    assert opened == sorted(opened, reverse=True)
    assert 900 < sum(opened) == len(world.gate.calls.by_name) < 1024


def test_a_component_apart_is_reached_in_its_process_and_speaks_from_no_other() -> None:
    world = MemoryHost()
    world.gate = Gate(world.verifier)
    world.gate.set_root(world.epoch, world.incarnations["primary"], world.gate_root(world.epoch))
    facts = Origin("primary.facts")
    for loop, incarnation in {**world.incarnations, facts.loop: world.incarnations["primary"]}.items():
        placed = ["primary/kernel"] if loop == facts.loop else []
        world.gate.set_loop(loop, incarnation, world.epoch, placed)
    asked = world.request(CONSOLE, "primary/kernel", "uname")
    assert world.gate.check_untrusted(asked, world.origin(CONSOLE), world.now).loop == facts.loop
    own = world.request("primary/kernel", STORE, "get")
    assert refuse(world, own, Origin("primary")) == "foreign_session"
    assert world.gate.check_untrusted(own, facts, world.now).loop == "secondary"
    assert refuse(world, world.request(CONSOLE), facts) == "session_elsewhere"
    world.gate.set_loop(facts.loop, 0, 0, ["primary/kernel"])
    assert not world.gate.calls.by_name.keys() & {correlation(world.header(asked).session, world.header(asked).seq)}
    assert refuse(world, world.request(CONSOLE, "primary/kernel", "uname")) == "unavailable"
