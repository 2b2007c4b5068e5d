"""A real authority process: what it gives, to whom, and what it refuses."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hosts.authority_host import (
    ADMIN,
    CA,
    INSTALL,
    MASTER,
    MEASURED,
    NONCE,
    NOW,
    AuthorityHost,
    Client,
    make_config,
)

from tlsrt.channels.session.token import TokenVerifier
from tlsrt.config import key_schedule, pki
from tlsrt.config.boot_token import make_boot_token
from tlsrt.supervisor.authority.model.state import STATE_NAME, decode_state

RUN = key_schedule.run_key(key_schedule.extract(INSTALL, MASTER), NONCE)
LOOPS = ("primary", "secondary", "third")


Factory = Callable[..., AuthorityHost]


@pytest.fixture
def make_host(tmp_path: Path) -> Iterator[Factory]:
    hosts: list[AuthorityHost] = []

    def make(**options: Any) -> AuthorityHost:
        hosts.append(AuthorityHost(make_config(tmp_path, **options)))
        return hosts[-1]

    yield make
    for host in hosts:
        host.close()


@pytest.fixture
def host(make_host: Factory) -> AuthorityHost:
    return make_host()


def expect_silence(host: AuthorityHost, loop: str) -> None:
    """Prove that a loop was told nothing in answer to all that was said so far."""
    host.settle()
    assert host.loops[loop].poll(0) is None


def open_session(host: AuthorityHost, client: Client, connection: int = 1) -> list[Any]:
    primary = host.loops["primary"]
    primary.send("challenge", connection)
    challenge = primary.wait("challenged", lambda fields: fields[0] == connection)[1]
    data, signature = client.open(challenge)
    primary.send("open", connection, data, signature)
    return primary.wait("granted")


def issuer_of(host: AuthorityHost) -> bytes:
    issuer: bytes = host.loops["primary"].all("welcome")[0][2]
    return issuer


# Joining


def test_no_key_before_attestation(host: AuthorityHost) -> None:
    host.start()
    host.loops["third"].send("join")
    expect_silence(host, "third")
    host.office.send("attested", "third", host.incarnations["third"], host.epoch)
    names: list[str] = []
    while not names or names[-1] != "feed":
        names.append(host.loops["third"].next()[0])
    assert names == ["welcome", "secret_key", "epoch", "session", "rights", "snapshot", "prepare", "commit", "feed"]
    [(_, _, entries)] = host.loops["third"].all("rights")
    assert {(mailbox, key) for _, mailbox, key, _ in entries} == {(0, bytes(32))}, "nobody else has joined"
    assert host.office.wait("joined") == ["third", host.incarnations["third"]]


def test_attestation_alone_gives_nothing(host: AuthorityHost) -> None:
    host.start()
    host.attest("third")
    expect_silence(host, "third")


def test_attestation_of_an_earlier_incarnation_gives_nothing(host: AuthorityHost) -> None:
    host.start()
    host.respawn("third", 9)
    host.loops["third"].send("join")
    host.office.send("attested", "third", 3, host.epoch)
    expect_silence(host, "third")
    host.attest("third")
    host.loops["third"].wait("session", lambda fields: fields[3] == 9)


def test_keys_are_those_of_the_schedule(host: AuthorityHost) -> None:
    epoch = host.start()
    host.join(*LOOPS)
    console = host.loops["third"].all("session")[-1]
    host.loops["third"].wait("feed")
    assert console[4] == key_schedule.mailbox_root(RUN, "third/console", epoch, 3)
    assert console[5] == 1
    assert console[6] == key_schedule.proof_key(key_schedule.gate_root(RUN, epoch, 1), console[2])
    rights = {entry[0]: entry[1:] for page in host.loops["third"].all("rights") for entry in page[2]}
    store = key_schedule.mailbox_root(RUN, "secondary/store", epoch, 2)
    assert rights["secondary/store"] == [2, key_schedule.request_key(store, console[2]), ["describe", "get", "put"]]
    assert rights.keys() == {"secondary/store", "primary/kernel"}
    assert host.loops["secondary"].all("rights") == []  # it may call nobody, and has a session all the same
    assert host.loops["secondary"].all("session")[0][1] == "secondary/store"


def test_only_primary_has_the_gate_root(host: AuthorityHost) -> None:
    epoch = host.start()
    host.join(*LOOPS)
    assert host.loops["primary"].all("epoch")[0] == [
        epoch,
        key_schedule.token_key(RUN, epoch),
        1,
        key_schedule.gate_root(RUN, epoch, 1),
        1,
    ]
    assert {fields[3] for loop in ("secondary", "third") for fields in host.loops[loop].all("epoch")} == {b""}


def test_the_token_verifies_and_says_the_policy(host: AuthorityHost) -> None:
    epoch = host.start()
    host.join(*LOOPS)
    session = host.loops["third"].all("session")[0]
    verifier = TokenVerifier()
    verifier.set_issuer(1, issuer_of(host))
    verifier.set_key(epoch, key_schedule.token_key(RUN, epoch))
    claims = verifier.verify_untrusted(session[7])
    assert (claims.subject, claims.session, claims.boot) == ("third/console", session[2], key_schedule.boot_id(NONCE))
    assert claims.expires - claims.issued == 60_000
    assert claims.allows("secondary/store", "put")
    assert not claims.allows("secondary/store", "drop")
    assert not claims.allows("third/console", "get")


def test_join_is_idempotent(host: AuthorityHost) -> None:
    host.start()
    host.join(*LOOPS)
    before = host.loops["third"].all("session")[-1]
    for _ in range(2):
        host.loops["third"].send("join")
        assert host.loops["third"].wait("session") == before
    host.office.wait("beat")
    assert host.office.all("beat")[-1][2] == {"primary": 1, "secondary": 1, "third": 1}


def test_primary_learns_members_and_gets_a_sealed_door(host: AuthorityHost) -> None:
    host.start()
    host.join("third", "primary")
    primary = host.loops["primary"]
    door = next((item for item in primary.heard if item[0] == "door"), None) or primary.next()
    while door[0] != "door":
        door = primary.next()
    assert os.pread(door[2][2], 1 << 16, 0) == CA.certificate_pem
    for descriptor in door[2]:
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
    assert ["third", 3, host.epoch, ["third/console"]] in primary.all("member")
    host.join("secondary")
    primary.wait("member", lambda fields: fields[:3] == ["secondary", 2, host.epoch])
    host.office.send("gone", "secondary", 2)
    primary.wait("member", lambda fields: fields[:3] == ["secondary", 0, 0])


# Boot


def test_a_changed_file_is_named_and_refused(host: AuthorityHost) -> None:
    host.measured["tlsrt/loops/gate/gate.py"] = b"x" * 32
    host.fork()
    host.boot()
    sentences = host.office.wait("refused")[0]
    assert "tlsrt/loops/gate/gate.py" in sentences[0]
    assert host.exit_code() == 78
    assert not (host.config.state_dir / STATE_NAME).exists()


def test_a_changed_file_is_a_warning_where_the_operator_said_so(make_host: Factory) -> None:
    host = make_host(measure="warn")
    host.measured["tlsrt/loops/gate/gate.py"] = b"x" * 32
    host.fork()
    host.boot()
    assert "tlsrt/loops/gate/gate.py" in host.office.wait("booted")[1][0]


@pytest.mark.parametrize("measure", ["strict", "warn"])
def test_another_master_key_is_refused_in_every_mode(tmp_path: Path, make_host: Factory, measure: str) -> None:
    host = make_host(measure=measure)
    (tmp_path / "master.key").write_bytes(bytes(reversed(MASTER)))
    host.fork()
    host.boot()
    assert "master_key" in host.office.wait("refused")[0][0]
    assert host.exit_code() == 78


@pytest.mark.parametrize(
    ("name", "data", "word"),
    [
        ("master.key", b"short", "fewer than 32"),
        ("master.key", b"", "fewer than 32"),
        ("master.key", bytes(64), "one byte repeated"),
        ("master.key", random.Random(1).randbytes(5000), "more than 4096"),
        ("boot.token", b"", "boot token is damaged"),
        ("door.key", ADMIN.key_pem, "does not belong"),
        ("door.key", b"nothing", "not a PEM private key"),
        ("door.crt", b"nothing", "certificate is not a PEM"),
        ("client-ca.crt", b"", "client CA is not a PEM"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, make_host: Factory, name: str, data: bytes, word: str
) -> None:
    host = make_host()
    (tmp_path / name).write_bytes(data)
    host.fork()
    host.boot()
    assert word in host.office.wait("refused")[0][0]
    assert host.exit_code() == 78


def test_a_rolled_back_seal_is_refused_even_when_measuring_warns(tmp_path: Path, make_host: Factory) -> None:
    from tlsrt.config.boot_token import make_boot_token

    host = make_host(measure="warn")
    host.start()
    host.kill()
    key = key_schedule.boot_mac_key(key_schedule.extract(INSTALL, MASTER))
    (tmp_path / "boot.token").write_bytes(make_boot_token(key, 2, host.measured).encode())
    host.fork()
    host.boot()
    assert "roll-back" in host.office.wait("refused")[0][0]
    assert host.exit_code() == 78


def test_a_torn_state_is_refused_and_kept(host: AuthorityHost) -> None:
    host.start()
    host.kill()
    path = host.config.state_dir / STATE_NAME
    torn = path.read_bytes()[:-5]
    path.write_bytes(torn)
    host.fork()
    host.boot()
    assert "damaged" in host.office.wait("refused")[0][0]
    assert host.exit_code() == 78
    assert path.read_bytes() == torn


def test_stop_before_and_after_boot(host: AuthorityHost) -> None:
    host.fork()
    host.office.send("stop")
    assert host.exit_code() == 0
    host.start()
    host.office.send("stop")
    assert host.exit_code() == 0


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


# External sessions


def test_a_client_gets_a_grant_that_only_it_can_read(host: AuthorityHost) -> None:
    epoch = host.start()
    host.join(*LOOPS)
    client = Client(ADMIN)
    granted = open_session(host, client)
    content = client.read(issuer_of(host), granted)
    assert (content.subject, content.session, content.epoch) == ("client/admin", granted[4], epoch)
    assert granted[5:] == ["client/admin", content.token]
    assert {right.target for right in content.rights} == {"primary/kernel", "secondary/store", "third/console"}
    store = next(right for right in content.rights if right.target == "secondary/store")
    assert store.key == key_schedule.request_key(
        key_schedule.mailbox_root(RUN, "secondary/store", epoch, 2), content.session
    )
    assert content.proof_key == key_schedule.proof_key(key_schedule.gate_root(RUN, epoch, 1), content.session)
    for secret in (content.proof_key, store.key):
        assert all(secret not in part for part in granted if isinstance(part, bytes))
    host.office.wait("beat")
    assert host.office.all("beat")[-1][2]["client"] == 1


def test_a_respawned_recipient_is_pushed_to_clients(host: AuthorityHost) -> None:
    host.start()
    host.join(*LOOPS)
    client = Client(ADMIN)
    first = client.read(issuer_of(host), open_session(host, client))
    host.respawn("secondary", 40)
    host.join("secondary")
    second = client.read(issuer_of(host), host.loops["primary"].wait("granted"))  # read() wants a higher number
    assert second.session == first.session
    assert {right.mailbox for right in second.rights if right.target == "secondary/store"} == {40}


def test_a_new_epoch_is_pushed_to_clients_after_commit(make_host: Factory) -> None:
    host = make_host(epoch_s=1.0)
    epoch = host.start()
    host.join("primary")
    client = Client(ADMIN)
    client.read(issuer_of(host), open_session(host, client))
    host.loops["primary"].wait("prepare", lambda fields: fields[0] == epoch + 1)
    host.loops["primary"].send("prepared", epoch + 1)
    host.attest("primary", epoch + 1)
    content = client.read(issuer_of(host), host.loops["primary"].wait("granted"))
    assert (content.epoch, content.grace_ms) == (epoch + 1, 5000)
    assert host.loops["primary"].all("commit")[-1][0] == epoch + 1


def test_when_primary_dies_all_client_sessions_end(host: AuthorityHost) -> None:
    host.start()
    host.join(*LOOPS)
    open_session(host, Client(ADMIN))
    host.respawn("primary", 50)
    host.join("primary")
    host.office.wait("beat")
    assert "client" not in host.office.wait("beat")[2]


def test_close_ends_a_session(host: AuthorityHost) -> None:
    host.start()
    host.join(*LOOPS)
    granted = open_session(host, Client(ADMIN))
    host.loops["primary"].send("close", granted[4])
    host.loops["primary"].send("close", granted[4])  # twice is no offence
    host.office.wait("beat", lambda fields: "client" not in fields[2])
    assert host.office.all("event") == []


OTHER_CA = pki.make_ca(INSTALL, NOW)


def attempt(host: AuthorityHost, client: Client, **changes: Any) -> list[Any]:
    primary = host.loops["primary"]
    primary.send("challenge", 7)
    challenge = primary.wait("challenged")[1]
    changes.setdefault("challenge", challenge)
    data, signature = client.open(**changes)
    primary.send("open", 7, data, signature)
    return primary.wait("refused")


@pytest.mark.parametrize(
    ("issued", "changes"),
    [
        (pki.issue_client(OTHER_CA, INSTALL, "admin", NOW), {}),  # another CA of the same name
        (pki.issue_client(CA, INSTALL, "admin", NOW), {}),  # our CA, but not the registered certificate
        (pki.issue_client(CA, INSTALL, "mallory", NOW), {}),
        (pki.issue_server(CA, INSTALL, "127.0.0.1", NOW), {}),  # no client usage
        (CA, {}),
        (ADMIN, {"boot": b"x" * 16}),
        (ADMIN, {"install": b"x" * 16}),
        (ADMIN, {"challenge": b"x" * 32}),
    ],
)
def test_an_open_that_does_not_fit_is_refused_with_one_word(
    host: AuthorityHost, issued: pki.Issued, changes: dict[str, Any]
) -> None:
    host.start()
    host.join("primary")
    assert attempt(host, Client(issued), **changes) == [7, "rejected"]
    host.settle()
    assert host.office.all("event") == []
    assert "client" not in host.office.wait("beat")[2]


def test_an_open_signed_by_another_key_is_refused(host: AuthorityHost) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    host.start()
    host.join("primary")
    assert attempt(host, Client(ADMIN), signer=Ed25519PrivateKey.generate()) == [7, "rejected"]


def test_a_challenge_works_once_and_for_its_connection_only(host: AuthorityHost) -> None:
    host.start()
    host.join("primary")
    primary, client = host.loops["primary"], Client(ADMIN)
    primary.send("challenge", 1)
    data, signature = client.open(primary.wait("challenged")[1])
    primary.send("open", 2, data, signature)
    assert primary.wait("refused") == [2, "rejected"]
    primary.send("open", 1, data, signature)
    client.read(issuer_of(host), primary.wait("granted"))
    primary.send("open", 1, data, signature)
    assert primary.wait("refused") == [1, "rejected"]


def test_garbage_as_an_open_is_the_clients_fault(host: AuthorityHost) -> None:
    host.start()
    host.join("primary")
    for data in (b"", b"\x00", os.urandom(500), b"\x91" * 8000):
        host.loops["primary"].send("open", 3, data, b"s")
        assert host.loops["primary"].wait("refused") == [3, "rejected"]
    assert host.office.all("event") == []


def test_the_supervisor_that_goes_away_ends_the_authority(host: AuthorityHost) -> None:
    host.start()
    host.office.channel.close()
    assert host.exit_code() == 70  # by itself, not by a signal


def test_the_first_open_is_remembered(host: AuthorityHost) -> None:
    host.start()
    host.join("primary")
    open_session(host, Client(ADMIN))
    path, end = host.config.state_dir / STATE_NAME, time.monotonic() + 20
    while not (found := decode_state(path.read_bytes()).first_opens) and time.monotonic() < end:
        host.settle()  # it is written without waiting for it
    assert list(found) == ["client/admin"]
