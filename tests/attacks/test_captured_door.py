"""Attacked sentence: a captured door holds the key of TLS and no other, and speaks for no client, loop or Primary.

The door has a process of its own here. The attacker is in it: it sees each frame that passes, and does what the method
of a call tells it to, which stands in the clear in a header.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from attackers.arena import IN_PRIMARY, STAGE, THIEF, VICTIM, Attacker
from attackers.tls_peer import open_session
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hosts.primary_core import hosted_in_primary
from hosts.running_host import RunningHost, running
from probes.process_memory import found_in

from tlsrt import Client
from tlsrt.errors import CallError

DOOR = "primary.door"
OWN = {"door": {"process": "own"}}
CAPTURE = """
import logging, os, random, re, socket
from tlsrt.errors import Busy, MisuseError
from tlsrt.loops.doorway import loop, remote_gate
from tlsrt.loops.doorway.door_messages import DOOR, DOOR_LINK, pack

log = logging.getLogger("captured")
held = []
make = loop.DoorLoop.__init__

def init(self, process):
    make(self, process)
    held.append(self)

loop.DoorLoop.__init__ = init

def tried(deed):
    try:
        return f"done {deed()!r}"
    except Exception as error:
        return f"failed {type(error).__name__}"

def keys(connection, frame):
    verifier = held[0]._process.verifier
    return f"epochs {len(verifier.epochs)} hosts {len(held[0]._process.hosts)}"

def raw(connection, frame):
    held[0].channel.send(frame)

def gates(connection, frame):
    held[0].channel.send(pack("granted", connection, 1, b"", b"", "client/admin"))

def others(connection, frame):
    *_, other = (one for one in held[0]._served.door._clients if one != connection)
    held[0].channel.send(pack("frame", other, frame))

def strange(connection, frame):
    held[0].channel.send(pack("frame", connection + 1000, frame))

def forge(connection, frame):
    held[0].channel.send(pack("frame", connection, frame.replace(b"attack_forge", b"attack_other")))

def again(connection, frame):
    for _ in range(2):
        held[0].channel.send(pack("frame", connection, frame))

def hello(connection, frame):
    held[0].channel.send(pack("hello", held[0]._process.incarnation + 1))

def token(connection, frame):
    held[0].channel.send(pack("open", connection, os.urandom(64), os.urandom(64)))

def primary(connection, frame):
    held[0]._process.trust.send("came_from", bytes(16), "127.0.0.1")

def reach(connection, frame):
    def connect(path):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
    places = ("/channel/../third/primary.sock", "/channel/../../channel/third/primary.sock")
    found = [tried(lambda: connect(path)) for path in places]
    found += [tried(lambda: os.open(path, os.O_RDONLY)) for path in ("/state", "/etc/shadow", "/sys", "/proc/2/mem")]
    found += [tried(lambda: os.open("/channel/new", os.O_RDWR | os.O_CREAT)), tried(os.fork)]
    return " ".join(found)

VALUES = {
    int: [0, 1, -1, 2**31, 2**63 - 1, 2**64 - 1], bytes: [b"", bytes(16), b"\\xc1" * 32, bytes(40000), os.urandom(300)],
    str: ["", "x" * 3000, "client/admin", "127.0.0.1", "256.1.1.1", "\\u202e\\x00\\n", "::ffff:1.2.3.4%lo"],
}

def storm(connection, frame):
    chosen, sent = random.Random(7), 0
    for message in [one for one in DOOR_LINK.messages if DOOR in one.who] * 60:
        fields = [chosen.choice([*VALUES[kind], *([connection] if kind is int else [])]) for kind in message.types]
        try:
            held[0].channel.send(pack(message.name, *fields))
            sent += 1
        except (Busy, MisuseError):
            pass
    return sent

pass_on = remote_gate.RemoteGate.frame

def frame(self, connection, data):
    asked = re.search(rb"attack_([a-z]+)", data)
    if asked is not None and asked[1].decode() in globals():
        name = asked[1].decode()
        try:
            said = globals()[name](connection, data)
        except Exception as error:
            said = f"raised {error!r}"
        log.error("captured %s: %s", name, said)
    return pass_on(self, connection, data)

remote_gate.RemoteGate.frame = frame
"""


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    policy = {"client/admin -> third/io": "*", "client/guest -> third/io": "*"}
    yield from running(
        request, policy=policy, clients=["guest", "web"], http=["web"], extra=OWN, prelude=CAPTURE,
        detection={"mode": "observe"},
    )  # fmt: skip


def attack(host: RunningHost, client: Client, name: str) -> str:
    """Have the captured door do something; return what it says of it."""
    word = f"captured {name}: "
    before = host.log(DOOR).count(word)
    with suppress(CallError):
        client.call("third/io", f"attack_{name}", timeout_s=5)
    host.until(lambda _: host.log(DOOR).count(word) > before, f"the captured door did {name}")
    return host.log(DOOR).rpartition(word)[2].splitlines()[0]


def refused(host: RunningHost, word: str, name: str = "primary") -> None:
    """Wait until a log says why something was refused."""
    host.until(lambda _: word in host.log(name), f"{name} refuses for {word}")


def next_beat(host: RunningHost) -> None:
    """Wait for a beat of Primary, whose log takes five refusals for each."""
    began = time.monotonic()
    host.until(lambda _: host.loop("primary")["beat_age_s"] < time.monotonic() - began, "a beat of Primary")


def test_it_has_no_keys_of_an_epoch_and_no_component(host: RunningHost) -> None:
    assert attack(host, host.client(), "keys") == "epochs 0 hosts 0"


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("raw", "not_a_door_message"),  # a frame, as a loop sends it
        ("gates", "wrong_direction"),  # what only Primary says
        ("strange", "frame_without_connection"),
        ("forge", "proof_forged"),
        ("again", "replay"),
    ],
)
def test_what_it_may_not_say_is_refused_and_nothing_is_done(host: RunningHost, name: str, word: str) -> None:
    client = host.client()
    next_beat(host)
    assert attack(host, client, name) == "None"
    refused(host, word)
    assert host.client().call("third/io", "list") == []


def test_a_frame_of_one_client_passes_as_no_other_clients(host: RunningHost) -> None:
    guest = host.client("guest")
    guest.call("third/io", "list")
    next_beat(host)
    attack(host, host.client(), "others")
    host.until(
        lambda _: any(word in host.log("primary") for word in ("session_elsewhere", "session_not_granted")),
        "Primary refuses it for its session",
    )
    assert guest.call("third/io", "list") == []


def test_an_open_that_no_client_has_signed_gives_no_session(host: RunningHost) -> None:
    before = host.status()["loops"][0]["sessions"]
    attack(host, host.client(), "token")
    refused(host, "was refused", "authority")
    assert host.status()["loops"][0]["sessions"] <= before + 1


def test_it_cannot_be_another_process_of_the_door(host: RunningHost) -> None:
    attack(host, host.client(), "hello")
    refused(host, "unknown_door")
    assert host.client().call("third/io", "list", idempotent=True, timeout_s=20) == []


def test_what_is_well_formed_and_makes_no_sense_harms_no_process_but_its_own(host: RunningHost) -> None:
    before = host.pids()
    assert int(attack(host, host.client(), "storm")) > 500
    host.respawn(DOOR)  # it may have used up its places
    assert host.client().call("third/io", "list", idempotent=True, timeout_s=20) == []
    assert {name for name, pid in host.pids().items() if before[name] != pid} == {DOOR}
    assert all("Traceback" not in host.log(name) for name in ("primary", "authority", DOOR))


def test_it_reaches_no_other_loop_and_no_file(host: RunningHost) -> None:
    said = attack(host, host.client(), "reach")
    assert said.startswith("failed") and "done" not in said, said
    host.until(lambda _: host.loop(DOOR)["state"] == "active", "the door serves")


def test_what_only_primary_may_say_to_the_authority_ends_it(host: RunningHost) -> None:
    client, before = host.client(), host.pids()
    client.call("third/io", "list")
    with suppress(CallError):
        client.call("third/io", "attack_primary", timeout_s=5)
    host.until(
        lambda document: any(
            one["name"] == DOOR and one["state"] == "active" and one["pid"] != before[DOOR] for one in document["loops"]
        ),
        "another door",
    )
    assert "offence of primary.door: not_primary" in host.log("authority")
    assert host.client().call("third/io", "list", idempotent=True, timeout_s=20) == []
    assert {name for name, pid in host.pids().items() if before[name] != pid} == {DOOR}


# -- memory ----------------------------------------------------------------------------------------------------

if os.geteuid() == 0:

    @pytest.fixture(scope="module")
    def spied(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
        stage: dict[str, Any] = {**STAGE, "prelude": hosted_in_primary(IN_PRIMARY)}
        yield from running(request, **stage, extra=OWN, execute=True)

    def key_of_door(host: RunningHost) -> dict[str, bytes]:
        """Return the key of TLS as OpenSSL has it."""
        key = load_pem_private_key((host.folder / "server.key").read_bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        return {"TLS key": key.private_numbers().private_value.to_bytes(32, "big")[::-1]}

    def test_the_key_of_the_door_is_in_its_process_and_not_in_primary(spied: RunningHost) -> None:
        spied.client().call(VICTIM, "value")
        pids = spied.pids()
        for name in ("primary", DOOR, "third", "external"):
            assert found_in(pids[name], key_of_door(spied)) == ({"TLS key"} if name == DOOR else set()), name

    def test_no_key_of_gate_tokens_mailboxes_and_sessions_is_in_the_door(spied: RunningHost) -> None:
        client = spied.client()
        stolen = {name: Attacker(client, name, name).loot for name in (IN_PRIMARY, THIEF)}
        keys = {f"gate {epoch}": key for epoch, key in stolen[IN_PRIMARY]["gate_roots"].items()}
        keys |= {f"token {epoch}": key for epoch, key in stolen[THIEF]["token_keys"].items()}
        keys |= {f"mailbox {name}": held[-1]["mailbox_root"] for name, held in stolen[THIEF]["sessions"].items()}
        keys |= {f"proof {name}": held[-1]["proof_key"] for name, held in stolen[THIEF]["sessions"].items()}
        with open_session(spied, "admin") as peer:
            keys |= {f"right {right.target}": right.key for right in peer.content.rights}
            assert len(keys) > 8
            of_primary = {name for name in keys if name.startswith(("gate", "token"))}
            assert found_in(spied.pids()["primary"], keys) >= of_primary
            assert found_in(spied.pids()[DOOR], keys) == set()
