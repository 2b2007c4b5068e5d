"""Lives of a real authority process and of loops beside it: deaths, keys, epochs, and loops that offend."""

from __future__ import annotations

import os
import random
import signal

import pytest
from hosts.authority_host import INSTALL, LOOPS, MEASURED, NONCE, RUN, AuthorityHost, Factory

from tlsrt.config import key_schedule
from tlsrt.config.boot_token import make_boot_token
from tlsrt.supervisor.authority.model.state import STATE_NAME, decode_state

# Life and death


def test_a_respawned_loop_is_introduced_and_its_old_session_revoked(host: AuthorityHost) -> None:
    epoch = host.start()
    host.join(*LOOPS)
    old = host.loops["secondary"].all("session")[0][2]
    caller = host.loops["third"].all("session")[0][2]
    host.respawn("secondary", 12)
    host.loops["third"].wait("revoked", lambda fields: fields[1:] == ["session", old])
    number = host.loops["third"].wait("feed")[0]
    assert number == host.loops["third"].all("revoked")[-1][0]
    host.join("secondary")
    page = host.loops["third"].wait("rights", lambda fields: fields[2][0][1] == 12)
    key = key_schedule.request_key(key_schedule.mailbox_root(RUN, "secondary/store", epoch, 12), caller)
    assert page == [epoch, "third/console", [["secondary/store", 12, key, ["describe", "get", "put"]]]]
    assert host.loops["secondary"].all("session")[0][2] != old
    snapshot = host.loops["secondary"].all("snapshot")[-1]
    assert ["session", old] in snapshot[5]  # the newcomer hears of it, too


def test_a_respawned_primary_is_a_new_gate_for_all(host: AuthorityHost) -> None:
    epoch = host.start()
    host.join(*LOOPS)
    before = host.loops["third"].all("session")[-1]
    host.respawn("primary", 20)
    host.join("primary")
    assert host.loops["third"].wait("epoch")[2] == 20
    after = host.loops["third"].wait("session")
    assert after[2] == before[2]
    assert after[5:7] == [20, key_schedule.proof_key(key_schedule.gate_root(RUN, epoch, 20), before[2])]


def test_an_authority_that_comes_again_resumes_with_the_next_epoch(host: AuthorityHost) -> None:
    epoch = host.start()
    host.join(*LOOPS)
    old = host.loops["third"].all("session")[-1]
    host.kill()
    host.loops["third"].send("prepared", epoch)  # said to the dead one; no offence for the next
    assert host.start() == epoch + 1
    for loop in LOOPS:
        host.attest(loop)
    new = host.loops["third"].wait("session", lambda fields: fields[0] == epoch + 1)  # without any new join
    assert new[2] != old[2]
    for loop in LOOPS:
        host.loops[loop].wait("prepare")
        assert host.loops[loop].all("commit")[-1][0] == epoch
        host.loops[loop].send("prepared", epoch + 1)
    for loop in LOOPS:
        assert host.loops[loop].wait("commit") == [epoch + 1, 5000]
    assert host.office.all("event") == []


def test_another_nonce_is_another_boot(host: AuthorityHost) -> None:
    epoch = host.start()
    host.kill()
    host.nonce = b"m" * 32
    assert host.start() == epoch + 1
    host.join("third")
    assert host.loops["third"].all("welcome")[0][1] == key_schedule.boot_id(b"m" * 32)


def test_state_is_whole_after_every_kill(make_host: Factory) -> None:
    host = make_host(epoch_s=0.005)
    chance, last = random.Random(7), 0
    for number in range(12):
        host.nonce = bytes([number]) * 32
        host.fork()
        host.boot()
        booted = host.office.wait("booted")[0]
        assert booted > last  # an epoch that was announced is never announced again
        last = booted
        for _ in range(chance.randrange(12)):
            name, fields, _ = host.office.next()
            last = max(last, fields[1] if name == "beat" else 0)
        host.kill()
        state = decode_state((host.config.state_dir / STATE_NAME).read_bytes())
        assert state.epoch >= last


# Another master key


def rotated(host: AuthorityHost, version: int, seal: int) -> None:
    """Put another master key and its token in force on the disk, as a rotation does."""
    master = bytes([version]) + os.urandom(31)
    mac_key = key_schedule.boot_mac_key(key_schedule.extract(INSTALL, master))
    assert host.config.master_key.path is not None
    host.config.master_key.path.write_bytes(master)
    host.config.boot_token.write_bytes(make_boot_token(mac_key, seal, MEASURED, version).encode())


def test_a_boot_with_a_later_key_version_is_kept_and_an_older_one_is_a_roll_back(host: AuthorityHost) -> None:
    files = [host.config.master_key.path, host.config.boot_token]
    old = [path.read_bytes() for path in files if path is not None]
    epoch = host.start()
    host.join(*LOOPS)
    assert host.office.all("keys") == [[1, 0]]
    host.kill()
    rotated(host, 3, 9)
    assert host.start() == epoch + 1
    assert host.office.wait("keys") == [3, 0]
    [sentence] = host.office.all("booted")[0][1]
    assert "clients that pin an older one need a new bundle" in sentence  # this rotation left no statement
    state = decode_state((host.config.state_dir / STATE_NAME).read_bytes())
    assert (state.key_version, state.seal, state.succession) == (3, 9, ())
    for loop in LOOPS:  # the same boot: they are told the new issuer, and its epoch, without any new join
        host.attest(loop)
        welcome = host.loops[loop].wait("welcome", lambda fields: fields[3] == 3)
        assert welcome[1] == key_schedule.boot_id(NONCE)
        assert host.loops[loop].wait("epoch", lambda fields: fields[0] == epoch + 1)[4] == 3
    host.kill()
    for path, data in zip(files, old, strict=True):
        assert path is not None
        path.write_bytes(data)
    host.fork()
    host.boot()
    [[sentence]] = host.office.wait("refused")
    assert "belongs to master_key version 1, and this host has already run version 3" in sentence
    assert host.exit_code() == 78


# Epochs


def test_the_timed_epoch_has_two_phases(make_host: Factory) -> None:
    host = make_host(epoch_s=1.0)
    epoch = host.start()
    host.join("primary", "third")
    third, primary = host.loops["third"], host.loops["primary"]
    session = third.all("session")[-1][2]
    assert third.wait("session", lambda fields: fields[0] == epoch + 1)[2] == session
    third.wait("prepare", lambda fields: fields[0] == epoch + 1)
    primary.wait("prepare", lambda fields: fields[0] == epoch + 1)
    assert decode_state((host.config.state_dir / STATE_NAME).read_bytes()).epoch == epoch + 1
    host.office.wait("beat", lambda fields: fields[1] == epoch + 1)
    for loop in ("primary", "third"):
        host.loops[loop].send("prepared", epoch + 1)
    host.office.wait("beat")
    assert [fields[0] for fields in third.all("commit")] == [epoch]  # not before both were looked at again
    host.attest("primary", epoch + 1)
    host.attest("third", epoch + 1)
    assert third.wait("commit") == [epoch + 1, 5000]


def test_a_loop_that_does_not_prepare_holds_up_nobody(make_host: Factory) -> None:
    host = make_host(epoch_s=0.5)
    epoch = host.start()
    host.join("primary", "third")
    host.loops["third"].wait("prepare", lambda fields: fields[0] == epoch + 1)
    host.loops["third"].send("prepared", epoch + 1)
    host.attest("third", epoch + 1)
    host.attest("primary", epoch + 1)
    word, sentence = host.office.wait("event")
    assert word == "unprepared"
    assert sentence.startswith("primary: ")
    host.loops["third"].wait("commit", lambda fields: fields[0] == epoch + 1)


# Offences


@pytest.mark.parametrize(
    ("loop", "packet", "reason"),
    [
        ("third", b"\x91\xcc\xff", "unknown_message"),
        ("third", b"not msgpack", "not_msgpack"),
        ("third", b"\xdd\xff\xff\xff\xff", "not_msgpack"),
        ("third", b"\x91" * 60_000, "not_msgpack"),
        ("third", b"\x92\x03\x01", "not_primary"),
        ("third", b"\x94\x04\x01\xc4\x01x\xc4\x01y", "not_primary"),
        ("third", b"\x92\x05\xc4\x01x", "not_primary"),
        ("third", b"\x95\x10\xc4\x00\xc4\x00\xc4\x00\x01", "wrong_direction"),
        ("third", b"\x94\x17\x00\x01\x01", "wrong_direction"),  # a feed
        ("third", b"\x97\x1e\x01\x00\x01\x00\x01\x90", "wrong_direction"),  # a snapshot
    ],
)
def test_an_offence_ends_one_channel_only(host: AuthorityHost, loop: str, packet: bytes, reason: str) -> None:
    host.start()
    host.join(*LOOPS)
    os.write(host.loops[loop].channel.fileno(), packet)
    assert host.office.wait("event") == ["offence", f"{loop}: {reason}"]
    session = host.loops[loop].all("session")[0][2]
    host.loops["secondary"].wait("revoked", lambda fields: fields[2] == session)
    host.loops["secondary"].send("join")
    host.loops["secondary"].wait("welcome")
    host.respawn(loop, 30)
    host.join(loop)


def test_what_needs_keys_is_an_offence_before_joining(host: AuthorityHost) -> None:
    host.start()
    host.loops["primary"].send("challenge", 1)
    assert host.office.wait("event") == ["offence", "primary: wrong_state"]


def test_a_flood_from_one_loop_starves_nobody(host: AuthorityHost) -> None:
    host.start()
    host.join(*LOOPS)
    primary = host.loops["primary"]
    os.kill(host.pid, signal.SIGSTOP)
    for number in range(200):
        primary.send("challenge", number)
    os.write(host.loops["secondary"].channel.fileno(), b"garbage")  # what comes of it shows in Primary's stream
    os.kill(host.pid, signal.SIGCONT)
    primary.wait("revoked")
    assert len(primary.all("challenged")) <= 32
    primary.wait("challenged", lambda fields: fields[0] == 199)


def test_a_loop_that_does_not_read_is_hung_and_the_others_live(host: AuthorityHost) -> None:
    host.start()
    host.join(*LOOPS)
    for number in range(800):  # each is answered, and the answers are never read
        host.loops["primary"].send_patiently("challenge", number)
    host.loops["secondary"].send("join")
    assert host.loops["secondary"].wait("welcome")  # long before Primary counts as hung
    assert host.office.all("event") == []
    assert host.office.wait("event") == ["offence", "primary: hung"]
    host.loops["secondary"].send("join")
    assert host.loops["secondary"].wait("welcome")
