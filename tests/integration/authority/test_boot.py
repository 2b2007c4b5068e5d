"""A real authority process: what it gives to whom, and with which files it does not begin."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hosts.authority_host import ADMIN, CA, INSTALL, LOOPS, MASTER, NONCE, RUN, AuthorityHost, Factory, issuer_of

from tlsrt.channels.session.token import TokenVerifier
from tlsrt.config import key_schedule
from tlsrt.config.boot_token import make_boot_token
from tlsrt.supervisor.authority.model.state import STATE_NAME


def expect_silence(host: AuthorityHost, loop: str) -> None:
    """Prove that a loop was told nothing in answer to all that was said so far."""
    host.settle()
    assert host.loops[loop].poll(0) is None


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
