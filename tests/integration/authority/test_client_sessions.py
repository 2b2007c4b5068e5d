"""Sessions of clients with a real authority process: who gets one, and what is refused with one word."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest
from hosts.authority_host import (
    ADMIN,
    CA,
    INSTALL,
    LOOPS,
    NOW,
    RUN,
    AuthorityHost,
    Client,
    Factory,
    issuer_of,
    open_session,
)

from tlsrt.config import key_schedule, pki
from tlsrt.supervisor.authority.model.state import STATE_NAME, decode_state


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
    host.office.wait("beat", lambda fields: fields[2].get("client") == 1)  # the one after may have been made before


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
