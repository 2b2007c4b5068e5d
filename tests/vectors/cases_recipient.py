"""Vectors of recipients: what a component and what a client accept from those who carry their frames."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from fakes.memory_host import MemoryHost
from vectors.cases_gate import ADMIN, CONSOLE, STORE
from vectors.cases_keys import verifier
from vectors.writer import VectorFile

from tlsrt.channels.frames.frame import (
    FrameKind,
    Header,
    correlation,
    nonce,
    pack_frame,
    pack_header,
    parse_frame_untrusted,
)
from tlsrt.config import key_schedule


def component(world: MemoryHost) -> dict[str, Any]:
    """The store: a recipient with a mailbox, which checks tokens itself."""
    held = {"epoch": world.epoch, "mailbox": 2, "mailbox_root": world.mailbox(STORE).hex(), "rights": []}
    return {
        **verifier(world), "now": world.now, "feed_heard": world.now, "revoked": [], "subject": STORE,
        "session": world.session(STORE).hex(), "epochs": [held], "before": [],
    }  # fmt: skip


def client(world: MemoryHost) -> dict[str, Any]:
    """The admin: no mailbox, and tokens are opaque to it."""
    key = key_schedule.request_key(world.mailbox(STORE), world.session(ADMIN))
    held = {"epoch": world.epoch, "mailbox": 0, "mailbox_root": "", "rights": [[STORE, 2, key.hex(), ["*"]]]}
    return {"now": world.now, "subject": ADMIN, "session": world.session(ADMIN).hex(), "epochs": [held], "before": []}


def recipients() -> tuple[VectorFile, VectorFile]:
    """A file for the component, and one for the client; the same operation."""
    return _component(), _client()


def _component() -> VectorFile:
    world = MemoryHost(b"vectors")
    file = VectorFile("recipient", "Frames as the component secondary/store checks and opens them.", **component(world))

    def frame(subject: str = CONSOLE, token: bytes | None = None, key: bytes | None = None, **changes: Any) -> str:
        header = world.plain_header(subject, STORE, **changes)
        if key is None:
            key = key_schedule.request_key(world.mailbox(STORE), header.session)
        return world.forge(subject, header, b"body", token=token, request_key=key).hex()

    good = frame()
    parts = parse_frame_untrusted(bytes.fromhex(good))
    told = {"kind": 1, "src": CONSOLE, "body": b"body".hex()}
    file.passes(
        "a request", "opened with the key derived from the mailbox root and the sender's session", told, frame=good
    )
    file.passes("a client's request", "to a recipient all are alike", {**told, "src": ADMIN}, frame=frame(ADMIN))
    file.passes("a bad proof", "the proof is the gate's to check", told,
                frame=pack_frame(*parts._replace(proof=b"")).hex())  # fmt: skip
    flipped = parts.body[:-1] + bytes((parts.body[-1] ^ 1,))
    later = parse_frame_untrusted(bytes.fromhex(frame(seq=2))).header
    for name, why, reason, data, options in (
        ("a changed body", "one bit of the tag", "body_forged", pack_frame(*parts._replace(body=flipped)).hex(), {}),
        (
            "another header",
            "the header's bytes are associated data",
            "body_forged",
            pack_frame(*parts._replace(header=later)).hex(),
            {},
        ),
        (
            "an empty body",
            "even an empty one has a tag",
            "body_forged",
            pack_frame(*parts._replace(body=b"")).hex(),
            {},
        ),
        ("another session's key", "request keys are per session", "body_forged", frame(key=bytes(32)), {}),
        ("for somebody else", "dst is not this component", "not_mine", frame(dst="secondary/other"), {}),
        ("another mailbox", "the key of an earlier incarnation", "stale_mailbox", frame(mailbox=1), {}),
        ("an epoch that has ended", "its keys are gone", "stale_epoch", frame(epoch=6), {}),
        ("a method not allowed", "the recipient reads the caps again", "not_allowed", frame(method="delete"), {}),
        (
            "no right at all",
            "the store's own token allows nothing, not even the store",
            "not_allowed",
            frame(STORE),
            {},
        ),
        ("the deadline has passed", "checked at both ends", "deadline", frame(deadline=world.now), {}),
        ("a deadline too far ahead", "305 s and 1 ms", "deadline_too_far", frame(deadline=world.now + 305_001), {}),
        ("another's token", "subject and src differ", "wrong_source", frame(src="third/other"), {}),
        ("revoked", "the recipient knows it too", "revoked", good, {"revoked": [["subject", CONSOLE.encode().hex()]]}),
        ("a silent feed", "3 s without the authority", "unsynchronised", good, {"feed_heard": world.now - 3000}),
        ("the same frame again", "its sequence is not higher", "replay", good, {"before": [good]}),
        ("an older frame later", "order is kept end to end", "replay", frame(seq=3), {"before": [frame(seq=4)]}),
        ("a reply that was not asked for", "no right to the console", "unasked_reply", frame(kind=FrameKind.REPLY), {}),
    ):
        file.fails(name, why, reason, frame=data, **options)
    return file


def _client() -> VectorFile:
    world = MemoryHost(b"vectors")
    given = client(world)
    file = VectorFile("recipient", "Frames as the external client client/admin checks and opens them.", **given)
    session, replier = world.session(ADMIN), world.session(STORE)
    about = correlation(session, 1)
    request = key_schedule.request_key(world.mailbox(STORE), session)
    token = world.token(STORE)

    def frame(key: bytes = key_schedule.reply_key(request, replier), **changes: Any) -> str:
        header = Header(
            1, FrameKind.REPLY, replier, 1, 0, STORE, ADMIN, 2, 1, "get", world.epoch, world.now + 30_000, about, 0
        )._replace(**changes)  # fmt: skip
        packed = pack_header(header)
        return pack_frame(packed, token, AESGCM(key).encrypt(nonce(header.seq), b"body", packed), bytes(16)).hex()

    def refusal(word: bytes, **changes: Any) -> str:
        header = Header(
            1, FrameKind.REFUSAL, bytes(16), 0, 0, "gate", ADMIN, 0, 0, "", world.epoch, world.now + 10_000, about, 0
        )._replace(**changes)  # fmt: skip
        return pack_frame(pack_header(header), b"", word, b"").hex()

    good = frame()
    told = {"kind": 2, "src": STORE, "body": b"body".hex()}
    file.passes("a reply", "opened with the reply key of the replier's session", told, frame=good)
    file.passes("an error", "the same key", {**told, "kind": 4}, frame=frame(kind=FrameKind.ERROR))
    file.passes("an item", "the same key", {**told, "kind": 3}, frame=frame(kind=FrameKind.ITEM))
    file.passes("a refusal", "unsealed; it proves nothing", {"kind": 8, "src": "gate", "body": b"stale".hex()},
                frame=refusal(b"stale"))  # fmt: skip
    for name, why, reason, data, options in (
        ("sealed with the request key", "replies have a key of their own", "body_forged", frame(request), {}),
        (
            "from another session of the replier",
            "the reply key depends on it",
            "body_forged",
            frame(session=bytes(16)),
            {},
        ),
        ("a changed method", "the header is associated data", "body_forged", _renamed(good), {}),
        (
            "from a component without a right",
            "the client could not have asked it",
            "unasked_reply",
            frame(src=CONSOLE),
            {},
        ),
        ("from another incarnation", "the right is for mailbox 2", "unasked_reply", frame(mailbox=3), {}),
        (
            "about another session's request",
            "correlation starts with our session id",
            "unasked_reply",
            frame(correlation=correlation(replier, 1)),
            {},
        ),
        ("about nothing", "a reply has a correlation", "unasked_reply", frame(correlation=b""), {}),
        ("for somebody else", "dst is not us", "not_mine", frame(dst="client/other"), {}),
        ("an epoch without keys", "never granted, or over", "stale_epoch", frame(epoch=6), {}),
        ("the deadline has passed", "nothing is accepted late", "deadline", frame(deadline=world.now), {}),
        ("a deadline too far ahead", "305 s and 1 ms", "deadline_too_far", frame(deadline=world.now + 305_001), {}),
        ("the same reply again", "its sequence is not higher", "replay", good, {"before": [good]}),
        (
            "an older reply later",
            "order is kept per session of a replier",
            "replay",
            frame(seq=3),
            {"before": [frame(seq=4)]},
        ),
        ("a request", "clients have no mailbox", "request_to_client", frame(kind=FrameKind.REQUEST), {}),
        (
            "a bundle of replies",
            "bundles are the loops' own",
            "unknown_kind",
            frame(kind=FrameKind.REPLIES, part=2, correlation=about + bytes(8)),
            {},
        ),
        (
            "a refusal about another session",
            "it can end our calls only",
            "bad_refusal",
            refusal(b"stale", correlation=correlation(replier, 1)),
            {},
        ),
        ("a refusal about nothing", "it must name a call", "bad_refusal", refusal(b"stale", correlation=b""), {}),
        ("a refusal for somebody else", "dst is not us", "bad_refusal", refusal(b"stale", dst="client/other"), {}),
        ("a refusal of 33 bytes", "one word, at most 32 bytes", "bad_refusal", refusal(b"x" * 33), {}),
    ):
        file.fails(name, why, reason, frame=data, **options)
    return file


def _renamed(data: str) -> str:
    frame = parse_frame_untrusted(bytes.fromhex(data))
    return pack_frame(*frame._replace(header=frame.header.replace(b"\xa3get", b"\xa3put"))).hex()
