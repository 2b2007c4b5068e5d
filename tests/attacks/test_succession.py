"""Attacked sentence: nobody but the pinned issuer key makes a client trust another one; who carries the bytes can only
withhold what it says.

The attacker sits in Primary, which tells clients which issuer key follows which: it says chains of its own making, says
old ones again, and says none. The clients are real ones, with a bundle each.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from attackers.arena import IN_PRIMARY, VICTIM
from attackers.tls_peer import TlsPeer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hosts.running_host import RunningHost
from probes.process_memory import found_in

from tlsrt import Client
from tlsrt.channels.tls.message_stream import encode_control
from tlsrt.config import key_schedule
from tlsrt.config.boot_token import parse_boot_token_untrusted
from tlsrt.config.bundle import read_bundle
from tlsrt.config.issuer_chain import PinnedIssuer, Statement, encode_chain, state_successor
from tlsrt.config.key_providers import key_path
from tlsrt.errors import ConfigError, OutcomeUnknown

pytestmark = pytest.mark.shared_door
IMPOSTOR = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
THEIRS = PinnedIssuer(2, IMPOSTOR.public_key().public_bytes_raw())


@pytest.fixture
def attacker(host: RunningHost) -> Iterator[Client]:
    """Whoever tells the captured Primary what to do: a client like any other."""
    with Client(host.admin) as client:
        yield client


def bundle_of(host: RunningHost, name: str) -> Path:
    """Return a copy of the bundle of admin, as it is now."""
    target = host.base / f"{name}.tlsrt"
    shutil.copy(host.folder / "admin.tlsrt", target)
    return target


def true_chain(host: RunningHost) -> tuple[Statement, ...]:
    return parse_boot_token_untrusted(host.config.boot_token.read_bytes()).succession


def issuer_of(host: RunningHost, key: bytes, version: int) -> Ed25519PrivateKey:
    """Return the issuer key of a master_key, as whoever has stolen it makes it."""
    prk = key_schedule.extract(host.config.install_id, key)
    return Ed25519PrivateKey.from_private_bytes(key_schedule.issuer_seed(prk, version))


def forgeries(host: RunningHost) -> dict[str, bytes]:
    """Return what is no word of the pinned key about its successor."""
    install = host.config.install_id
    return {
        "by an impostor": encode_chain([state_successor(install, 1, THEIRS, IMPOSTOR.sign)]),
        "of another install": encode_chain([state_successor(bytes(16), 1, THEIRS, IMPOSTOR.sign)]),
        "garbage": bytes(104),
    }


@pytest.mark.parametrize("what", ["by an impostor", "of another install", "garbage"])
def test_a_forged_successor_ends_the_connection_and_changes_nothing(
    host: RunningHost, attacker: Client, what: str
) -> None:
    path = bundle_of(host, "forged")
    before = path.read_bytes()
    with Client(path) as client:
        session = client.session_info["session"]
        with pytest.raises(OutcomeUnknown):  # the client that says this is told the same, and drops its connection too
            attacker.call(IN_PRIMARY, "announce", forgeries(host)[what])
        assert client.call(VICTIM, "value", timeout_s=20, idempotent=True) == 0
        assert client.session_info["session"] != session, "it has dropped the connection, and come again"
    assert path.read_bytes() == before


def test_a_client_that_comes_trusts_no_forged_successor(host: RunningHost, attacker: Client) -> None:
    path = bundle_of(host, "coming")
    before = path.read_bytes()
    attacker.call(IN_PRIMARY, "announce_always", forgeries(host)["by an impostor"])
    with pytest.raises(ConfigError, match="it names another issuer, and the one in the bundle did not sign that"):
        Client(path)
    assert path.read_bytes() == before
    host.respawn("primary")  # another Primary says what the authority says
    with Client(path) as client:
        assert client.call(VICTIM, "value", timeout_s=20, idempotent=True) == 0
    assert path.read_bytes() == before


def test_an_old_succession_leads_nobody_back_and_a_withheld_one_only_denies(
    host: RunningHost, attacker: Client
) -> None:
    stolen = key_path(host.config.master_key, 1).read_bytes()
    old, live = bundle_of(host, "old"), bundle_of(host, "live")
    with Client(live) as client:
        done = host.cli("rotate", "--master")
        assert done.returncode == 0, done.stderr
        assert client.call(VICTIM, "value", timeout_s=20) == 0
        assert read_bundle(live).issuer_version == 2
        session = client.session_info["session"]
        # Said again, and said by whoever has the old master_key: nothing moves.
        by_old = state_successor(host.config.install_id, 1, THEIRS, issuer_of(host, stolen, 1).sign)
        for chain in (true_chain(host), (by_old,)):
            attacker.call(IN_PRIMARY, "announce", encode_chain(chain))
            assert client.call(VICTIM, "value", timeout_s=20) == 0
        assert client.session_info["session"] == session
        assert read_bundle(live).issuer_version == 2
        attacker.call(IN_PRIMARY, "withhold")
        for _ in range(2):
            with pytest.raises(ConfigError, match="not signed by the issuer in the bundle, nor by one that follows it"):
                Client(old)
        assert client.call(VICTIM, "value", timeout_s=20) == 0, "who has followed is not touched"
    assert read_bundle(old).issuer_version == 1
    host.respawn("primary")
    with Client(old) as client:
        assert client.call(VICTIM, "value", timeout_s=20, idempotent=True) == 0
    assert read_bundle(old) == read_bundle(live)


if os.geteuid() == 0:

    def test_the_authority_holds_nothing_of_a_key_that_was_replaced(host: RunningHost) -> None:
        """What it signs with is found; of the version before neither that nor anything above it."""
        if host.status()["keys"]["previous_verifies_s"]:
            assert host.cli("rotate").returncode == 0
        host.until(lambda document: not document["keys"]["previous_verifies_s"], "one version", timeout_s=30)
        before = host.status()["keys"]["key_version"]
        secrets: dict[str, bytes] = {}
        for version in (before, before + 1):
            key = key_path(host.config.master_key, version).read_bytes()
            prk = key_schedule.extract(host.config.install_id, key)
            raw = {
                "master": key, "root": prk, "issuer": key_schedule.issuer_seed(prk, version),
                "boot": key_schedule.boot_mac_key(prk),
            }  # fmt: skip
            secrets |= {f"{name} {version - before}": value for name, value in raw.items()}
            if version == before:
                assert found_in(host.pids()["authority"], secrets) <= {"issuer 0", "boot 0"}
                assert host.cli("rotate", "--master").returncode == 0
        held = found_in(host.pids()["authority"], secrets)
        assert "issuer 1" in held
        assert held <= {"issuer 1", "boot 1"}
        for process in ("supervisor", "primary", "third"):
            assert found_in(host.pids()[process], secrets) == set()


def test_a_client_says_no_succession(host: RunningHost) -> None:
    """The message is the server's: a client that sends it is dismissed like any other that breaks the protocol."""
    with TlsPeer(host) as peer:
        peer.challenge()
        peer.send(encode_control("succession", forgeries(host)["by an impostor"]))
        while (control := peer.control()).name == "succession":
            continue
        assert control.name == "goodbye"
        assert control.fields == ("rejected",)
