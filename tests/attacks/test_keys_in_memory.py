"""Attacked sentence: no process holds a key that is not its own, so it cannot mint, read or forge for others.

The memory of every process is read from outside. Which key is whose is told by an attacker in every loop; who may
hold it is told by the table of keys. An AES key that was set up lies in memory too: its schedule begins with it.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from attackers.arena import (
    ATTACKER,
    COMPONENTS,
    IN_PRIMARY,
    POLICY,
    STAGE,
    THIEF,
    VICTIM,
    Arena,
    Attacker,
    request_body,
)
from attackers.tls_peer import open_session, request
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hosts.primary_core import component_in, hosted_in_primary
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in

from tlsrt.channels.session.enrolment import JoinCode, parse_code
from tlsrt.config import key_schedule
from tlsrt.config.defaults import PROCESSES
from tlsrt.supervisor.control.client import ControlClient
from tlsrt.supervisor.messages.sealed_code import open_code
from tlsrt.supervisor.process.boot_nonce import NAME, NONCE_BYTES

LOOPS = PROCESSES
OPERATORS_SECRET = b"7d1c6f-secret-of-a-shell"
SPIES = {loop: component_in(loop, "spy") for loop in LOOPS}


@pytest.fixture(scope="module")
def spied(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    """A host with an attacker in every loop, after some traffic."""
    components = {**COMPONENTS, **dict.fromkeys(SPIES.values(), ATTACKER)}
    policy = {**POLICY, **{f"client/admin -> {spy}": "*" for spy in SPIES.values()}}
    prelude = hosted_in_primary(IN_PRIMARY, SPIES["primary"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPERATORS_SECRET", OPERATORS_SECRET.decode())
        options = {**STAGE, "components": components, "policy": policy, "prelude": prelude}
        for host in running(request, **options, execute=True):  # a fork has what was asked for in its memory
            arena = Arena(host)
            arena.third.send(arena.third.genuine())
            arena.external.send(arena.external.genuine(VICTIM, "value"))
            yield host


@pytest.fixture(scope="module")
def loot(spied: RunningHost) -> dict[str, dict[str, Any]]:
    client = spied.client()
    found = {loop: Attacker(client, spy, spy).loot for loop, spy in SPIES.items()}
    client.close()
    return found


def masters(host: RunningHost) -> dict[str, bytes]:
    """Return the keys above all others, raw and as text."""
    master = (host.folder / "master.key").read_bytes()
    prk = key_schedule.extract(host.config.install_id, master)
    raw = {
        "master key": master, "root key": prk, "issuer seed": key_schedule.issuer_seed(prk, 1),
        "boot key": key_schedule.boot_mac_key(prk),
    }  # fmt: skip
    texts = {f"{name}, base64": base64.b64encode(value)[:40] for name, value in raw.items()}
    return raw | texts | {f"{name}, hex": value.hex().encode() for name, value in raw.items()}


def enrolling(host: RunningHost) -> dict[str, bytes]:
    """Return what clients are enrolled with: the CA's key, as file and OpenSSL have it, and the key of join codes."""
    pem = (host.folder / "ca.key").read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes(32, "big")
    return {
        "CA key": number, "CA key in OpenSSL": number[::-1], "CA key, PEM": pem.splitlines()[1],
        "join key": key_schedule.join_key(masters(host)["issuer seed"]),
    }  # fmt: skip


def everything(host: RunningHost) -> dict[str, bytes]:
    """Return what nobody but its holder may say anywhere: master keys, the boot token, and the operator's own."""
    texts = {
        "boot token": (host.folder / "boot.token").read_bytes().split()[-1][:64],
        "key of the CA": (host.folder / "ca.key").read_bytes().splitlines()[1],
        "environment of the operator": OPERATORS_SECRET,
    }
    return masters(host) | texts


def join_codes(clients: list[ControlClient]) -> list[JoinCode]:
    """Ask as `client add` does, all at once."""
    key = X25519PrivateKey.generate()
    fields: dict[str, Any] = {"rules": [["secondary/store", ["get"]]], "ttl_ms": 3_600_000, "http": False}
    for number, client in enumerate(clients):
        code_key = key.public_key().public_bytes_raw().hex()
        client._request("client_add", 60.0, {**fields, "name": f"joins{number}", "code_key": code_key})
    sealed = [json.loads(client._line() or b"")["rows"][0][1] for client in clients]
    return [parse_code(open_code(bytes.fromhex(text), f"joins{number}", key)) for number, text in enumerate(sealed)]


def opened_by(pid: int) -> list[tuple[Path, str]]:
    """Return the descriptors of a process and what they are of; some may be closed while we look."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append((link, os.readlink(link)))
    return found


def others_with(pids: dict[str, int], secrets: dict[str, bytes]) -> dict[str, set[str]]:
    """Return which of these are in the memory of a process other than the authority."""
    others = {name: pid for name, pid in pids.items() if name != "authority"}
    return {name: found for name, pid in others.items() if (found := found_in(pid, secrets))}


def newest(loot: dict[str, Any], subject: str) -> dict[str, Any]:
    session: dict[str, Any] = loot["sessions"][subject][-1]
    return session


def test_no_file_that_a_host_writes_tells_a_secret(spied: RunningHost) -> None:
    """Logs, state and sockets' folders, and the console; the audit of what was refused is full of errors by now."""
    folders = (spied.config.log_dir, spied.config.state_dir, spied.config.run_dir)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 6
    said = {str(path): path.read_bytes() for path in files} | {"console": "\n".join(spied.console).encode()}
    found = [
        (where, name) for where, text in said.items() for name, secret in everything(spied).items() if secret in text
    ]
    assert found == []


if os.geteuid() == 0:

    @pytest.mark.parametrize("process", ["launcher", "supervisor", *LOOPS])
    def test_no_process_but_the_authority_holds_a_key_to_mint_with(spied: RunningHost, process: str) -> None:
        assert found_in(spied.pids()[process], masters(spied) | enrolling(spied)) == set()

    def test_the_boot_nonce_is_in_the_memory_of_the_authority_alone(spied: RunningHost) -> None:
        """With it and a master_key that leaks later, all recorded traffic of this life could be read."""
        pids = spied.pids()
        links = [link for link, opened in opened_by(pids["supervisor"]) if NAME in opened]
        (nonce,) = (link.read_bytes() for link in links)
        assert len(nonce) == NONCE_BYTES and found_in(pids["authority"], {"nonce": nonce}) == {"nonce"}
        spied.respawn("external")  # forked from a supervisor that has booted an authority with it
        assert [name for name, pid in spied.pids().items() if found_in(pid, {"nonce": nonce})] == ["authority"]
        for name in LOOPS:
            opened = [link for _, link in opened_by(spied.pids()[name])]
            assert not any(NAME in link for link in opened), f"{name} keeps the descriptor"

    def test_no_process_but_the_authority_holds_a_join_code(spied: RunningHost) -> None:
        """Many at once, and while their connections are open: one alone is soon written over where it was freed."""
        pids = spied.pids()
        with ExitStack() as stack:
            with spied._as_operator():
                clients = [stack.enter_context(ControlClient(spied.config.run_dir)) for _ in range(16)]
            codes = join_codes(clients)
            texts = {f"{code}, text": code.text().split("-")[1].encode() for code in codes}
            secrets = texts | {f"{code}, raw": code.secret for code in codes}
            secrets |= {f"{name}, hex": text.hex().encode() for name, text in texts.items()}
            assert others_with(pids, secrets) == {}
        spied.respawn("external")
        assert others_with(spied.all_pids(), secrets) == {}

    def test_the_authority_enrols_with_the_key_alone(spied: RunningHost) -> None:
        """The check of the test before, and that the text of the file was wiped."""
        found = found_in(spied.pids()["authority"], enrolling(spied))
        assert {"CA key in OpenSSL", "join key"} <= found and "CA key, PEM" not in found

    @pytest.mark.parametrize("process", ["supervisor", "authority", *LOOPS])
    def test_no_process_holds_the_environment_of_its_operator(spied: RunningHost, process: str) -> None:
        assert found_in(spied.pids()[process], {"secret": OPERATORS_SECRET}) == set()

    @pytest.mark.parametrize("process", ["launcher", "supervisor", "authority", *LOOPS])
    def test_no_command_line_and_no_environment_tells_a_secret(spied: RunningHost, process: str) -> None:
        folder = Path(f"/proc/{spied.pids()[process]}")
        told = (folder / "cmdline").read_bytes()
        if process != "launcher":  # which the operator has started
            told += (folder / "environ").read_bytes()
        assert [name for name, secret in everything(spied).items() if secret in told] == []

    @pytest.mark.parametrize("process", ["authority", *LOOPS])
    def test_no_process_may_dump_core(spied: RunningHost, process: str) -> None:
        """Neither by its limit nor by its flag: what /proc shows of a process that is not dumpable is root's."""
        pid = spied.pids()[process]
        [line] = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core" in line]
        assert line.split()[4:6] == ["0", "0"]
        assert Path(f"/proc/{pid}/io").stat().st_uid == 0

    def test_the_master_key_and_its_root_are_gone_from_the_authority_too(spied: RunningHost) -> None:
        """It holds what it signs with; the key of the boot token was dropped, but freed memory may tell it still."""
        found = found_in(spied.pids()["authority"], masters(spied))
        assert "issuer seed" in found and found <= {"issuer seed", "boot key"}

    def test_each_loop_holds_its_own_mailbox_roots_and_nobody_elses(
        spied: RunningHost, loot: dict[str, dict[str, Any]]
    ) -> None:
        roots = {
            subject: newest(held, subject)["mailbox_root"] for held in loot.values() for subject in held["sessions"]
        }
        assert len(set(roots.values())) == len(roots) >= 10
        pids = spied.pids()
        for loop in LOOPS:
            own = set(loot[loop]["sessions"])
            assert found_in(pids[loop], roots) == own

    def test_request_and_reply_keys_are_held_by_the_two_ends_only(
        spied: RunningHost, loot: dict[str, dict[str, Any]]
    ) -> None:
        request = loot["third"]["rights"][THIEF][VICTIM]["key"]
        replier = newest(loot["secondary"], VICTIM)["session"]
        pair = {"request key": request, "reply key": key_schedule.reply_key(request, replier)}
        pids = spied.pids()
        for loop in LOOPS:
            assert found_in(pids[loop], pair) == (set(pair) if loop in ("secondary", "third") else set()), loop

    def test_the_gates_root_is_held_by_primary_only(spied: RunningHost, loot: dict[str, dict[str, Any]]) -> None:
        roots = loot["primary"]["gate_roots"]
        assert roots
        for loop in LOOPS:
            assert found_in(spied.pids()[loop], roots) == (set(roots) if loop == "primary" else set())

    def test_proof_keys_are_held_by_their_session_and_primary_only(
        spied: RunningHost, loot: dict[str, dict[str, Any]]
    ) -> None:
        proofs = {"third": newest(loot["third"], THIEF)["proof_key"]}
        for loop in LOOPS:
            wanted = set(proofs) if loop in ("third", "primary") else set[str]()
            assert found_in(spied.pids()[loop], proofs) == wanted, loop

    def test_a_clients_request_keys_are_not_in_primary(spied: RunningHost) -> None:
        with open_session(spied, "admin") as peer:
            peer.send(request(peer, VICTIM, "value", 1, request_body()))
            assert peer.frame()
            mine = {right.target: right.key for right in peer.content.rights}
            held = found_in(spied.pids()["primary"], mine)
            assert {target for target in held if target != "primary/events"} == set()
            assert found_in(spied.pids()["secondary"], mine) == {VICTIM}

else:

    @pytest.mark.parametrize("process", ["authority", *LOOPS])
    def test_the_memory_of_a_process_is_closed_to_its_own_user(spied: RunningHost, process: str) -> None:
        with pytest.raises(PermissionError):
            found_in(spied.pids()[process], {})
