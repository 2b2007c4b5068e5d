"""A sealed host on disk with a real authority process, and this test in the place of supervisor and loops.

The authority is forked without a sandbox. Waits end on descriptors, never on sleep.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgpack
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.x509 import load_pem_x509_certificate

from tlsrt.channels.control.authority_channel import AUTHORITY_CHANNEL
from tlsrt.channels.control.seqpacket import ControlChannel, MessageTable, control_pair
from tlsrt.channels.control.trust import TRUST
from tlsrt.channels.session.grant import GrantContent, Open, encode_open, open_digest, open_grant_untrusted, sign_open
from tlsrt.config import key_schedule, pki
from tlsrt.config.access import ClientConfig, PolicyRule
from tlsrt.config.boot_token import make_boot_token
from tlsrt.config.components import ComponentConfig, LoopConfig
from tlsrt.config.door import DoorConfig
from tlsrt.config.schema import Config, KeySource, LimitsConfig
from tlsrt.supervisor.authority import provisioning
from tlsrt.supervisor.authority.main import authority_main
from tlsrt.supervisor.process.memfd import sealed_memory

INSTALL = bytes(range(16))
MASTER = bytes(range(100, 132))
NONCE = b"n" * 32
RUN = key_schedule.run_key(key_schedule.extract(INSTALL, MASTER), NONCE)
LOOPS = ("primary", "secondary", "third")
MEASURED = {"tlsrt/loops/gate/gate.py": b"g" * 32, "config": b"c" * 32}
NOW = datetime.now(UTC)
PATIENCE_S = 20.0
FEED_MS = 50  # a tenth of what it is: most tests wait for the next one
COMPONENTS = ("primary/kernel", "secondary/store", "third/console")
POLICY = (
    PolicyRule("third/console", "secondary/store", ("get", "put")),
    PolicyRule("third/*", "primary/kernel", ("uname",)),
    PolicyRule("client/admin", "*/*", ("*",)),
)
CA = pki.make_ca(INSTALL, NOW)
SERVER = pki.issue_server(CA, INSTALL, "127.0.0.1", NOW)
ADMIN = pki.issue_client(CA, INSTALL, "admin", NOW)


MANY_SESSIONS: dict[str, Any] = {"sessions_per_client": 1024, "openings_per_s": 1000, "openings_burst": 10000}


def make_config(folder: Path, *, measure: Any = "strict", epoch_s: float = 900.0) -> Config:
    """Write the files of a host below `folder` and return its configuration."""
    state = folder / "state"
    state.mkdir(mode=0o700)
    key = key_schedule.boot_mac_key(key_schedule.extract(INSTALL, MASTER))
    files = {
        "master.key": MASTER,
        "boot.token": make_boot_token(key, 3, MEASURED).encode(),
        "door.crt": SERVER.certificate_pem,
        "door.key": SERVER.key_pem,
        "client-ca.crt": CA.certificate_pem,
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    names = tuple(component.split("/") for component in COMPONENTS)
    return Config(
        path=folder / "tlsrt.yaml",
        install_id=INSTALL,
        master_key=KeySource("file", folder / "master.key"),
        boot_token=folder / "boot.token",
        measure=measure,
        state_dir=state,
        run_dir=folder / "run",
        log_dir=folder / "log",
        door=DoorConfig("127.0.0.1", 0, folder / "door.crt", folder / "door.key", folder / "client-ca.crt"),
        loops=tuple(LoopConfig(loop) for loop, _ in names),
        components=tuple(ComponentConfig(loop, name, "nothing:Nothing") for loop, name in names),
        policy=POLICY,
        clients=(ClientConfig("admin", pki.fingerprint(ADMIN.certificate_pem)),),
        limits=replace(LimitsConfig(), epoch_s=epoch_s, **MANY_SESSIONS),
    )


class Peer:
    """One end of a control channel in the hand of a test; it remembers what it has heard."""

    def __init__(self, descriptor: int, table: MessageTable, sender: str) -> None:
        self.channel = ControlChannel(descriptor, table)
        self._sender = sender
        self._state = "new"  # of the office; until the authority is sealed
        self.heard: list[tuple[str, list[Any], list[int]]] = []

    def send(self, name: str, *fields: object, descriptors: tuple[int, ...] = ()) -> None:
        self.channel.send(name, *fields, descriptors=descriptors)

    def next(self, patience_s: float = PATIENCE_S) -> tuple[str, list[Any], list[int]]:
        """Return the next message; fail the test when none comes."""
        message = self.poll(patience_s)
        assert message is not None, f"nothing came; heard {[name for name, *_ in self.heard]}"
        return message

    def poll(self, patience_s: float) -> tuple[str, list[Any], list[int]] | None:
        """Return the next message, or None when nothing comes for so long."""
        waiting = select.poll()
        waiting.register(self.channel.fileno(), select.POLLIN)
        if not waiting.poll(patience_s * 1000):
            return None
        received = self.channel.receive(self._sender, self._state, descriptors=True)
        assert received is not None
        message = received[0], list(received[1]), received[2]
        if message[0] == "sealed":
            self._state = "booted"
        self.heard.append(message)
        return message

    def wait(self, name: str, where: Callable[[list[Any]], bool] = lambda fields: True) -> list[Any]:
        """Return the fields of the next message of that name; what comes before is remembered only."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found, fields, _ = self.next()
            if found == name and where(fields):
                return fields
        raise AssertionError(f"no {name} came; heard {[name for name, *_ in self.heard]}")

    def all(self, name: str) -> list[list[Any]]:
        """Return the fields of everything heard of that name."""
        return [fields for found, fields, _ in self.heard if found == name]

    def close(self) -> None:
        for _, _, descriptors in self.heard:
            while descriptors:
                os.close(descriptors.pop())
        self.channel.close()


class TrustPeer(Peer):
    """A loop's end of its trust channel."""

    def send_patiently(self, name: str, *fields: object) -> None:
        """Send when there is room, without reading anything."""
        waiting = select.poll()
        waiting.register(self.channel.fileno(), select.POLLOUT)
        assert waiting.poll(PATIENCE_S * 1000)
        self.channel.send(name, *fields)

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, TRUST, "authority")

    def poll(self, patience_s: float) -> tuple[str, list[Any], list[int]] | None:
        waiting = select.poll()
        waiting.register(self.channel.fileno(), select.POLLIN)
        if not waiting.poll(patience_s * 1000):
            return None
        received = self.channel.receive("authority", "new", descriptors=True)
        assert received is not None
        message = received[0], list(received[1]), received[2]
        self.heard.append(message)
        return message


class AuthorityHost:
    """One authority process with its supervisor and loops played by the test."""

    office: Peer

    def __init__(self, config: Config, nonce: bytes = NONCE) -> None:
        self.config = config
        self.nonce = nonce
        self.measured = dict(MEASURED)
        self.loops: dict[str, TrustPeer] = {}
        self.ends: dict[str, int] = {}  # the authority's ends, kept open as the supervisor does
        self.incarnations: dict[str, int] = {}
        self.pid = 0
        self.epoch = 0
        for number, loop in enumerate(config.loops, start=1):
            self._make_pair(loop.name, number)

    def _make_pair(self, loop: str, incarnation: int) -> None:
        ours, theirs = control_pair()
        self.loops[loop] = TrustPeer(ours)
        self.ends[loop] = theirs
        self.incarnations[loop] = incarnation

    def fork(self) -> None:
        """Fork an authority that inherits the kept ends."""
        ours, theirs = control_pair()
        self.pid = os.fork()
        if self.pid == 0:
            code = 99
            try:
                os.close(ours)
                for peer in self.loops.values():
                    os.close(peer.channel.fileno())
                provisioning.FEED_MS = FEED_MS
                trust = {loop: os.dup(end) for loop, end in self.ends.items()}
                code = authority_main(self.config, theirs, trust, self.config.state_dir)
            finally:
                os._exit(code)
        os.close(theirs)
        if hasattr(self, "office"):
            self.office.close()
        self.office = Peer(ours, AUTHORITY_CHANNEL, "authority")

    def boot(self) -> None:
        """Send `boot` with the files of the configuration."""
        door = self.config.door
        assert self.config.master_key.path is not None
        own = [self.config.master_key.path, self.config.boot_token]
        paths: list[str | Path] = [*own, door.certificate, door.key, door.client_ca, os.devnull]
        paths.append(door.client_ca_key or os.devnull)
        master, token, *rest = [os.open(path, os.O_RDONLY) for path in paths]
        measurement = os.memfd_create("measurement")
        os.write(measurement, msgpack.packb(self.measured))
        folder = os.open(self.config.state_dir, os.O_RDONLY)
        nonce = sealed_memory(self.nonce)
        descriptors = (master, token, measurement, folder, *rest, nonce)
        self.office.send("boot", key_schedule.boot_id(self.nonce), descriptors=descriptors)
        for descriptor in descriptors:
            os.close(descriptor)

    def start(self) -> int:
        """Fork and boot; return the epoch."""
        self.fork()
        self.boot()
        self.epoch = int(self.office.wait("booted")[0])
        return self.epoch

    def settle(self) -> None:
        """Return when all that was said so far has been handled.

        The first answer may overtake what else waits in the same wake-up of the authority; the second cannot.
        """
        for _ in range(2):
            self.boot()
            self.office.wait("booted")

    def attest(self, loop: str, epoch: int | None = None) -> None:
        self.office.send("attested", loop, self.incarnations[loop], self.epoch if epoch is None else epoch)

    def join(self, *loops: str) -> None:
        """Let loops join and read all that they are told."""
        for loop in loops:
            self.loops[loop].send("join")
            self.attest(loop)
            self.loops[loop].wait("feed")
            self.office.wait("joined", lambda fields, loop=loop: fields[0] == loop)  # type: ignore[misc]

    def respawn(self, loop: str, incarnation: int) -> None:
        """Let a loop die and come again, its new end handed over."""
        self.office.send("gone", loop, self.incarnations[loop])
        self.loops[loop].close()
        os.close(self.ends[loop])
        self._make_pair(loop, incarnation)
        self.office.send("spawned", loop, incarnation, descriptors=(self.ends[loop],))

    def kill(self) -> None:
        """End the authority as hard as possible."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.pid = 0
        self.office.close()

    def exit_code(self) -> int:
        """Wait for the authority to end by itself."""
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self.pid:
            self.kill()
        if hasattr(self, "office"):
            self.office.close()
        for peer in self.loops.values():
            peer.close()
        for end in self.ends.values():
            os.close(end)


@dataclass
class Client:
    """An external client with its certificate; `open` makes what Primary would carry."""

    issued: pki.Issued

    def __post_init__(self) -> None:
        self.ephemeral = X25519PrivateKey.generate()
        self.number = 0
        self.digest = b""

    def open(
        self, challenge: bytes, *, install: bytes = INSTALL, boot: bytes | None = None, signer: object = None
    ) -> tuple[bytes, bytes]:
        """Return (open, signature)."""
        certificate = load_pem_x509_certificate(self.issued.certificate_pem)
        wish = Open(
            install,
            key_schedule.boot_id(NONCE) if boot is None else boot,
            challenge,
            certificate.public_bytes(serialization.Encoding.DER),
            self.ephemeral.public_key().public_bytes_raw(),
        )
        data = encode_open(wish)
        self.digest = open_digest(data)
        key = signer or serialization.load_pem_private_key(self.issued.key_pem, None)
        return data, sign_open(key, data)

    def read(self, issuer: bytes, granted: list[Any]) -> GrantContent:
        """Return the content of a `granted` message as only this client can."""
        _, number, ciphertext, signature, *_ = granted
        content = open_grant_untrusted(self.ephemeral, self.digest, issuer, self.number, number, ciphertext, signature)
        self.number = number
        return content


Factory = Callable[..., AuthorityHost]


def open_session(host: AuthorityHost, client: Client, connection: int = 1) -> list[Any]:
    """Open a session as a client does, through Primary; return what the authority grants."""
    primary = host.loops["primary"]
    primary.send("challenge", connection)
    challenge = primary.wait("challenged", lambda fields: fields[0] == connection)[1]
    data, signature = client.open(challenge)
    primary.send("open", connection, data, signature)
    return primary.wait("granted")


def issuer_of(host: AuthorityHost) -> bytes:
    """Return the public key of the issuer, as Primary was told it."""
    issuer: bytes = host.loops["primary"].all("welcome")[0][2]
    return issuer
