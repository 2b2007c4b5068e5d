"""A host without processes: an issuer, a key schedule, a policy, a gate, and endpoints with real keys.

It plays the authority exactly as config/key_schedule.py says, so that frames made here are the frames of a running
host. Randomness and time are arguments: two worlds with the same seed make the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.channels.frames.frame import (
    Frame,
    FrameKind,
    Header,
    nonce,
    pack_frame,
    pack_header,
    parse_frame_untrusted,
    parse_header_untrusted,
    proof_data,
)
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.token import Claims, mint_token
from tlsrt.channels.session.verifier import Verifier
from tlsrt.config import key_schedule
from tlsrt.loops.gate.gate import Gate
from tlsrt.loops.gate.state import Origin

Policy = Mapping[str, Mapping[str, tuple[str, ...]]]

POLICY: Policy = {
    "secondary/store": {},
    "third/console": {"secondary/store": ("get", "put"), "primary/kernel": ("uname",)},
    "external/network": {"secondary/store": ("get",)},
    "primary/kernel": {"secondary/store": ("get",)},
    "client/admin": {"secondary/store": ("*",)},
}
INCARNATIONS = {"primary": 1, "secondary": 2, "third": 3, "forth": 4, "external": 5}


class MemoryHost:
    """One host at one moment. `now` is BOOTTIME in ms."""

    def __init__(
        self, seed: bytes = b"world", *, now: int = 1_000_000, epoch: int = 7, policy: Policy = POLICY,
        ending: bytes = b"", sessions: int = 2048,
    ) -> None:  # fmt: skip
        self.seed = seed
        self.now = now
        self.epoch = epoch
        self.policy = policy
        self.ending = ending  # of all session ids
        self.sessions = sessions  # that a verifier remembers
        self.install = self.random("install", 16)
        self.prk = key_schedule.extract(self.install, self.random("master", 32))
        self.boot_nonce = self.random("boot", 32)
        self.boot = key_schedule.boot_id(self.boot_nonce)
        self.run = key_schedule.run_key(self.prk, self.boot_nonce)
        self.issuer = Ed25519PrivateKey.from_private_bytes(key_schedule.issuer_seed(self.prk, 1))
        self.incarnations = dict(INCARNATIONS)
        self.confirmation = self.random("certificate", 32)
        self.verifier = self.make_verifier()
        self.gate = self.make_gate()
        self.origins = {loop: Origin(loop) for loop in self.incarnations}
        self.endpoints = {subject: self.make_endpoint(subject) for subject in policy}
        self.origins["client"] = Origin("", 1, self.session("client/admin"), self.confirmation)

    def random(self, name: str, size: int) -> bytes:
        """Return bytes that look random and depend on the seed and the name only."""
        return hashlib.shake_256(self.seed + b"\0" + name.encode()).digest(size)

    def session(self, subject: str) -> bytes:
        session = self.random(f"session {subject} {self.incarnations.get(subject.partition('/')[0], 0)}", 16)
        return session[: 16 - len(self.ending)] + self.ending

    def make_verifier(self) -> Verifier:
        verifier = Verifier(self.sessions)
        verifier.welcome(self.install, self.boot, self.issuer.public_key().public_bytes_raw(), 1)
        verifier.add_epoch(self.epoch, key_schedule.token_key(self.run, self.epoch))
        verifier.snapshot(1, 0, 1, 0, self.now, [], self.now)
        return verifier

    def make_gate(self) -> Gate:
        gate = Gate(self.verifier, calls_per_session=64)
        gate.set_root(self.epoch, self.incarnations["primary"], self.gate_root(self.epoch))
        for loop, incarnation in self.incarnations.items():
            gate.set_loop(loop, incarnation, self.epoch)
        return gate

    def gate_root(self, epoch: int) -> bytes:
        return key_schedule.gate_root(self.run, epoch, self.incarnations["primary"])

    def mailbox(self, component: str, epoch: int | None = None) -> bytes:
        incarnation = self.incarnations.get(component.partition("/")[0], 0)
        return key_schedule.mailbox_root(self.run, component, self.epoch if epoch is None else epoch, incarnation)

    def claims(self, subject: str, **changes: object) -> Claims:
        """Return the claims that the authority would sign for a subject, with changes for attacks."""
        fields: dict[str, object] = {
            "token_id": self.random(f"token {subject}", 16),
            "issuer": "authority",
            "subject": subject,
            "install": self.install,
            "session": self.session(subject),
            "boot": self.boot,
            "epoch": self.epoch,
            "issued": self.now,
            "not_before": self.now,
            "expires": self.now + 60_000,
            "confirmation": self.confirmation if subject.startswith("client/") else b"",
            "caps": tuple(sorted(self.policy.get(subject, {}).items())),
        }
        fields.update(changes)
        return Claims(**fields)  # type: ignore[arg-type]

    def token(self, subject: str, *, token_key: bytes | None = None, **changes: object) -> bytes:
        claims = self.claims(subject, **changes)
        wrap = token_key if token_key is not None else key_schedule.token_key(self.run, claims.epoch)
        return mint_token(claims, self.issuer.sign, wrap, self.random(f"nonce {subject} {changes}", 12), 1)

    def make_endpoint(self, subject: str) -> Endpoint:
        """Return an endpoint with the keys the policy gives it; clients have no verifier and no mailbox."""
        endpoint = Endpoint(subject, None if subject.startswith("client/") else self.verifier)
        self.equip(endpoint)
        return endpoint

    def equip(self, endpoint: Endpoint) -> None:
        """Give an endpoint the keys of its subject."""
        subject = endpoint.subject
        client = subject.startswith("client/")
        session = self.session(subject)
        endpoint.apply_session(
            self.epoch, session, self.incarnations.get(subject.partition("/")[0], 0),
            b"" if client else self.mailbox(subject), self.incarnations["primary"],
            key_schedule.proof_key(self.gate_root(self.epoch), session), self.token(subject), self.now + 60_000,
            self.now + 8 * 3_600_000,
        )  # fmt: skip
        for target, methods in self.policy[subject].items():
            incarnation = self.incarnations[target.partition("/")[0]]
            key = key_schedule.request_key(self.mailbox(target), session)
            endpoint.apply_right(self.epoch, target, incarnation, key, methods)

    def request(
        self, subject: str = "third/console", target: str = "secondary/store", method: str = "get", body: bytes = b"x",
        **options: object,
    ) -> bytes:  # fmt: skip
        """Return a sealed request frame of a subject."""
        deadline = self.now + 10_000
        return self.endpoints[subject].seal_request(FrameKind.REQUEST, target, method, body, deadline, **options)[1]  # type: ignore[arg-type]

    def origin(self, subject: str) -> Origin:
        return self.origins[subject.partition("/")[0]]

    def header(self, data: bytes) -> Header:
        return parse_header_untrusted(parse_frame_untrusted(data).header)

    def forge(self, subject: str, header: Header, body: bytes, *, token: bytes | None = None,
              request_key: bytes | None = None, proof_key: bytes | None = None) -> bytes:  # fmt: skip
        """Return a frame sealed by hand: what an attacker who holds these keys would send."""
        packed = pack_header(header)
        key = (
            request_key
            if request_key is not None
            else key_schedule.request_key(self.mailbox(header.dst), header.session)
        )
        proof = (
            proof_key if proof_key is not None else key_schedule.proof_key(self.gate_root(header.epoch), header.session)
        )
        number = nonce(header.seq)
        sealed = AESGCM(key).encrypt(number, body, packed)
        carried = self.token(subject) if token is None else token
        return pack_frame(
            packed, carried, sealed, AESGCM(proof).encrypt(number, b"", proof_data(packed, carried, sealed))
        )

    def odd_request(self, variant: int, mark: int) -> bytes:
        """Return a genuine request of the console whose header is not the shortest, with this byte as its number."""
        packed = pack_header(self.plain_header())
        begin = (
            b"\x9e\xcc" + packed[1:21], b"\x9e\x01\xcc" + packed[2:21], packed[:3] + b"\xc5\0" + packed[4:21],
        )[variant % 3]  # fmt: skip
        header, number, token = begin + bytes((mark,)) + packed[22:], nonce(mark), self.token("third/console")
        session = self.session("third/console")
        sealed = AESGCM(key_schedule.request_key(self.mailbox("secondary/store"), session)).encrypt(
            number, b"x", header
        )
        proof = AESGCM(key_schedule.proof_key(self.gate_root(self.epoch), session)).encrypt(
            number, b"", proof_data(header, token, sealed)
        )
        return pack_frame(header, token, sealed, proof)

    def plain_header(self, subject: str = "third/console", target: str = "secondary/store", **changes: Any) -> Header:
        """Return the header of an ordinary request, with changes for attacks."""
        header = Header(
            1, FrameKind.REQUEST, self.session(subject), 1, 0, subject, target,
            self.incarnations[target.partition("/")[0]], self.incarnations["primary"], "get", self.epoch,
            self.now + 10_000, b"", 0,
        )  # fmt: skip
        return header._replace(**changes)


def parts(data: bytes) -> Frame:
    return parse_frame_untrusted(data)
