"""One complete session, every byte of it: from the master key to the body of a reply."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from vectors.cases_keys import BOOT_NONCE, INSTALL, MASTER
from vectors.cases_opening import CHALLENGE, EPHEMERAL, certificate, client_key, seal, signed, wish
from vectors.writer import Stored

from tlsrt.channels.frames.body import encode_request, encode_value
from tlsrt.channels.frames.frame import Frame, FrameKind, correlation, parse_frame_untrusted, parse_header_untrusted
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.grant import (
    GRANT_DOMAIN,
    GrantContent,
    Right,
    encode_grant,
    encode_open,
    open_digest,
)
from tlsrt.channels.session.token import Claims, mint_token
from tlsrt.channels.session.verifier import Verifier
from tlsrt.channels.tls.message_stream import encode_control, wrap
from tlsrt.config import key_schedule
from tlsrt.loops.gate.gate import Gate
from tlsrt.loops.gate.state import Origin

NOW, EPOCH, GATE, MAILBOX, NUMBER = 1_000_000, 7, 1, 2, (3 << 40) + 1
SESSION, REPLIER = bytes([0xAA]) * 16, bytes([0xBB]) * 16
STORE, ADMIN = "secondary/store", "client/admin"


class _Story:
    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def tell(self, name: str, how: str, value: bytes) -> bytes:
        self.steps.append({"name": name, "how": how, "value": value.hex()})
        return value


def session(stored: Stored) -> str:
    """Return the text of session.json. Every value was used by the code: gate, component and client agree."""
    story = _Story()
    tell = story.tell
    boot = key_schedule.boot_id(BOOT_NONCE)
    prk = tell("prk", "HMAC-SHA256(key = install, data = master_key)", key_schedule.extract(INSTALL, MASTER))
    issuer = Ed25519PrivateKey.from_private_bytes(
        tell("issuer_seed", "Expand(prk, 'issuer', 1)", key_schedule.issuer_seed(prk, 1))
    )
    public = tell(
        "issuer_public",
        "Ed25519 public key of issuer_seed; it is in the bundle",
        issuer.public_key().public_bytes_raw(),
    )
    tell("boot", "SHA-256('tlsrt/boot-id/v1' | 00 | boot_nonce)[:16]", boot)
    run = tell("run_key", "Expand(prk, 'run', boot_nonce)", key_schedule.run_key(prk, BOOT_NONCE))
    token_key = tell("token_key", "Expand(run_key, 'token', 7)", key_schedule.token_key(run, EPOCH))
    root = tell(
        "mailbox_root",
        "Expand(run_key, 'mailbox', 'secondary/store', 7, 2)",
        key_schedule.mailbox_root(run, STORE, EPOCH, MAILBOX),
    )
    gate_root = tell("gate_root", "Expand(run_key, 'gate', 7, 1)", key_schedule.gate_root(run, EPOCH, GATE))
    request_key = tell("request_key", "Expand(mailbox_root, 'pair', session)", key_schedule.request_key(root, SESSION))
    tell("reply_key", "Expand(request_key, 'reply', replier_session)", key_schedule.reply_key(request_key, REPLIER))
    proof_key = tell("proof_key", "Expand(gate_root, 'proof', session)", key_schedule.proof_key(gate_root, SESSION))

    key = client_key(stored)
    certified = certificate(stored, "P-256", key)
    challenge = encode_control("challenge", INSTALL, boot, CHALLENGE, NOW)
    tell(
        "challenge_sent", "u32 length | ['challenge', install, boot, challenge, now], server to client", wrap(challenge)
    )
    opened = tell(
        "open", "[1, install, boot, challenge, client_certificate, ephemeral_public]", encode_open(wish(certified))
    )
    signature = tell(
        "open_signature", "ECDSA P-256 with SHA-256 over 'tlsrt/open/v1' | 00 | open (random: made once)",
        signed(stored, "open", key, opened),
    )  # fmt: skip
    tell("open_sent", "u32 length | ['open', open, open_signature], client to server",
         wrap(encode_control("open", opened, signature)))  # fmt: skip
    digest = tell("open_digest", "SHA-256(open)", open_digest(opened))

    confirmation = hashlib.sha256(certified).digest()
    token = tell(
        "token", "token of the client's session; opaque to the client",
        _token(ADMIN, SESSION, confirmation, ((STORE, ("get", "put")),), boot, issuer, token_key, b"c"),
    )  # fmt: skip
    content = GrantContent(
        NOW, INSTALL, boot, EPOCH, 5000, SESSION, ADMIN, token, NOW + 300_000, NOW + 28_800_000, GATE, proof_key,
        (Right(STORE, MAILBOX, request_key, ("get", "put")),),
    )  # fmt: skip
    plaintext = tell("grant_plaintext", "the 14 fields of a grant", encode_grant(content))
    ciphertext = tell(
        "grant_ciphertext", "enc | ciphertext of HPKE, info = 'tlsrt/grant/v1' | 00 | open_digest (random: made once)",
        seal(stored, "session", plaintext, GRANT_DOMAIN + digest),
    )  # fmt: skip
    grant_signature = tell(
        "grant_signature", "Ed25519 over 'tlsrt/grant/v1' | 00 | open_digest | number u64 | grant_ciphertext",
        issuer.sign(GRANT_DOMAIN + digest + NUMBER.to_bytes(8, "big") + ciphertext),
    )  # fmt: skip
    tell("granted_sent", "u32 length | ['granted', number, grant_ciphertext, grant_signature], server to client",
         wrap(encode_control("granted", NUMBER, ciphertext, grant_signature)))  # fmt: skip

    client, store, gate, connection = _parties(content, root, gate_root, token_key, public, boot, issuer, confirmation)
    body = tell("request_body", "[['a'], {}, nil]", encode_request(["a"], {}, None))
    seq, request = client.seal_request(FrameKind.REQUEST, STORE, "get", body, NOW + 30_000)
    _frame(story, "request", request)
    assert gate.check_untrusted(request, connection, NOW).loop == "secondary"
    asked = store.open_untrusted(*_split(request), NOW)
    assert asked.body == body
    answer = tell("reply_body", "'value of a'", encode_value("value of a"))
    reply = store.seal_reply(FrameKind.REPLY, asked.header, answer, NOW + 30_000, correlation=correlation(SESSION, seq))
    _frame(story, "reply", reply)
    assert gate.check_untrusted(reply, Origin("secondary"), NOW).connection == 1
    assert client.open_untrusted(*_split(reply), NOW).body == answer
    given = {
        "master_key": MASTER.hex(), "install": INSTALL.hex(), "key_version": 1, "boot_nonce": BOOT_NONCE.hex(),
        "epoch": EPOCH, "gate_incarnation": GATE, "mailbox_incarnation": MAILBOX, "now": NOW,
        "session": SESSION.hex(), "replier_session": REPLIER.hex(), "challenge": CHALLENGE.hex(),
        "client_certificate": certified.hex(),
        "client_private_key": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()).hex(),
        "ephemeral_private": EPHEMERAL.private_bytes_raw().hex(), "number": NUMBER, "target": STORE, "method": "get",
        "deadline": NOW + 30_000,
    }  # fmt: skip
    about = "client/admin opens a session and calls secondary/store get('a'). PROTOCOL.md, section 14, explains it."
    return json.dumps({"about": about, "given": given, "steps": story.steps}, indent=1) + "\n"


def _token(
    subject: str, session: bytes, confirmation: bytes, caps: tuple[tuple[str, tuple[str, ...]], ...], boot: bytes,
    issuer: Ed25519PrivateKey, token_key: bytes, letter: bytes,
) -> bytes:  # fmt: skip
    claims = Claims(
        letter * 16, "authority", subject, INSTALL, session, boot, EPOCH, NOW, NOW, NOW + 300_000, confirmation, caps
    )
    return mint_token(claims, issuer.sign, token_key, letter * 12, 1)


def _parties(
    content: GrantContent, root: bytes, gate_root: bytes, token_key: bytes, public: bytes, boot: bytes,
    issuer: Ed25519PrivateKey, confirmation: bytes,
) -> tuple[Endpoint, Endpoint, Gate, Origin]:  # fmt: skip
    verifier = Verifier()
    verifier.welcome(INSTALL, boot, public, 1)
    verifier.add_epoch(EPOCH, token_key)
    verifier.snapshot(1, 0, 1, 0, NOW, [], NOW)
    client, store, gate = Endpoint(""), Endpoint(STORE, verifier), Gate(verifier)
    client.apply_grant(content, NOW)
    token = _token(STORE, REPLIER, b"", (), boot, issuer, token_key, b"s")
    proof = key_schedule.proof_key(gate_root, REPLIER)
    store.apply_session(EPOCH, REPLIER, MAILBOX, root, GATE, proof, token, NOW + 60_000, NOW + 28_800_000)
    gate.set_root(EPOCH, GATE, gate_root)
    gate.set_loop("secondary", MAILBOX, EPOCH)
    return client, store, gate, Origin("", 1, SESSION, confirmation)


def _split(data: bytes) -> tuple[Frame, Any]:
    frame = parse_frame_untrusted(data)
    return frame, parse_header_untrusted(frame.header)


def _frame(story: _Story, name: str, data: bytes) -> None:
    frame = parse_frame_untrusted(data)
    story.tell(f"{name}_header", "the 14 fields", frame.header)
    key = "request_key" if name == "request" else "reply_key"
    story.tell(
        f"{name}_sealed",
        f"AES-256-GCM({key}, nonce = 00000000 | seq u64, {name}_body, aad = {name}_header)",
        frame.body,
    )
    story.tell(
        f"{name}_proof", "the tag of AES-256-GCM under the sender's proof key, PROTOCOL.md, section 8", frame.proof
    )
    story.tell(f"{name}_frame", f"[{name}_header, token, {name}_sealed, {name}_proof]", data)
