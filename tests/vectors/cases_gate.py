"""Vectors of the gate: whole frames against a whole state."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes.memory_host import MemoryHost
from vectors.cases_keys import verifier, wrap
from vectors.cases_shapes import TRACE
from vectors.writer import VectorFile

from tlsrt.channels.frames.frame import (
    FLAG_FINAL,
    FLAG_STREAM,
    Frame,
    FrameKind,
    Header,
    correlation,
    pack_frame,
    parse_frame_untrusted,
)
from tlsrt.channels.session.token import encode_claims

STORE, CONSOLE, ADMIN, KERNEL = "secondary/store", "third/console", "client/admin", "primary/kernel"


def given(world: MemoryHost) -> dict[str, Any]:
    """What the gate knows, and the sockets there are."""
    origins: dict[str, Any] = {loop: {"loop": loop} for loop in world.incarnations}
    confirmation = world.confirmation.hex()
    origins["client"] = {"connection": 1, "session": world.session(ADMIN).hex(), "confirmation": confirmation}
    origins["client with another certificate"] = {**origins["client"], "connection": 2, "confirmation": bytes(32).hex()}
    origins["client with another session"] = {**origins["client"], "connection": 3, "session": bytes(16).hex()}
    return {
        **verifier(world), "now": world.now, "feed_heard": world.now, "revoked": [],
        "gate_incarnation": world.incarnations["primary"],
        "gate_roots": [[world.epoch, world.gate_root(world.epoch).hex()]],
        "members": [[loop, incarnation, world.epoch] for loop, incarnation in world.incarnations.items()],
        "calls_per_session": 2, "origins": origins, "origin": "third", "before": [],
    }  # fmt: skip


class _Maker:
    """Seals frames in a world; keeps nothing between two frames but the sequence that it is told."""

    def __init__(self) -> None:
        self.world = MemoryHost(b"vectors")

    def header(self, **changes: Any) -> Header:
        return self.world.plain_header(**changes)

    def frame(self, subject: str = CONSOLE, token: bytes | None = None, proof_key: bytes | None = None,
              **changes: Any) -> bytes:  # fmt: skip
        """Return a frame from `subject` to the store with real keys, but for what is given."""
        target = changes.pop("target", STORE)
        header = self.world.plain_header(subject, target, **changes)
        return self.world.forge(subject, header, b"body", token=token, proof_key=proof_key, request_key=bytes(32))

    def reply(self, subject: str = STORE, **changes: Any) -> bytes:
        """Return a reply to the console's request with seq 1."""
        fields = {
            "kind": FrameKind.REPLY, "mailbox": self.world.incarnations[subject.partition("/")[0]],
            "correlation": self.world.session(CONSOLE) + (1).to_bytes(8, "big"), "dst": CONSOLE, **changes,
        }  # fmt: skip
        return self.frame(subject, **fields)


def gate() -> VectorFile:
    make = _Maker()
    world = make.world
    file = VectorFile(
        "gate",
        "Whole frames at the gate. `origin` names the socket in `origins`; `before` are [origin, frame] that "
        "pass first. Expected is where the frame goes, or the reason for the log and the word of the answer, if any.",
        **given(world),
    )  # fmt: skip
    first = make.frame()
    asked = [["third", first.hex()]]
    _passing(file, make, first, asked)
    _identity(file, make, first)
    _tokens(file, make, first)
    _ways(file, make, first, asked)
    return file


def _passing(file: VectorFile, make: _Maker, first: bytes, asked: list[list[str]]) -> None:
    to_store, to_console = {"loop": "secondary"}, {"loop": "third"}
    file.passes("a request", "from a loop", to_store, frame=first.hex())
    client = make.frame(ADMIN)
    file.passes("a client's request", "its session, its certificate", to_store, frame=client.hex(), origin="client")
    file.passes("any method of a target with *", "the caps say *", to_store, origin="client",
                frame=make.frame(ADMIN, method="anything").hex())  # fmt: skip
    file.passes("describe", "allowed wherever anything is", to_store, frame=make.frame(method="describe").hex())
    file.passes("a higher sequence", "gaps are no offence", to_store, before=asked, frame=make.frame(seq=9).hex())
    file.passes("a reply", "it answers an open call", to_console, before=asked, origin="secondary",
                frame=make.reply().hex())  # fmt: skip
    own = make.frame(ADMIN, seq=4)
    answer = make.reply(dst=ADMIN, correlation=correlation(make.world.session(ADMIN), 4))
    file.passes("a reply to a client", "it goes to the connection that asked", {"connection": 1}, origin="secondary",
                before=[["client", own.hex()]], frame=answer.hex())  # fmt: skip
    item = make.reply(kind=FrameKind.ITEM)
    file.passes("the second item of a stream", "a stream stays open until FINAL", to_console, origin="secondary",
                before=[*asked, ["secondary", item.hex()]],
                frame=make.reply(kind=FrameKind.ITEM, seq=2, part=1, flags=FLAG_FINAL).hex())  # fmt: skip
    about = correlation(make.world.session(CONSOLE), 1)
    file.passes("credit", "it belongs to an open call of the sender", to_store, before=asked,
                frame=make.frame(kind=FrameKind.CREDIT, seq=2, correlation=about).hex())  # fmt: skip
    file.passes("a traced request", "its trace is no concern of the policy", to_store, origin="client",
                frame=make.frame(ADMIN, correlation=TRACE + b"a=1,b=2").hex())  # fmt: skip
    file.passes("the longest trace", "one entry of 128 bytes", to_store, origin="client",
                frame=make.frame(ADMIN, correlation=TRACE + b"a=" + b"b" * 126).hex())  # fmt: skip
    file.passes("cancel", "the same", to_store, before=asked,
                frame=make.frame(kind=FrameKind.CANCEL, seq=2, correlation=about).hex())  # fmt: skip
    file.passes("a stream request", "flags are the recipient's concern", to_store,
                frame=make.frame(flags=FLAG_STREAM).hex())  # fmt: skip
    far = make.frame(ADMIN, deadline=make.world.now + 305_000)
    two = make.frame(kind=FrameKind.REQUESTS, seq=2, part=2)
    file.passes("a bundle of requests", "two calls, two numbers", to_store, frame=two.hex())
    both = correlation(make.world.session(CONSOLE), 1) + (2).to_bytes(8, "big")
    file.passes("a bundle of replies", "both are open", to_console, before=[["third", two.hex()]], origin="secondary",
                frame=make.reply(kind=FrameKind.REPLIES, part=2, correlation=both).hex())  # fmt: skip
    file.passes("a reply to one of a bundle", "each is a call of its own", to_console, before=[["third", two.hex()]],
                origin="secondary", frame=make.reply().hex())  # fmt: skip
    file.passes("a bundle of replies of which one is open", "the other has ended, its asker drops it", to_console,
                before=[["third", two.hex()], ["secondary", make.reply().hex()]], origin="secondary",
                frame=make.reply(kind=FrameKind.REPLIES, seq=2, part=2, correlation=both).hex())  # fmt: skip
    file.passes("a client's deadline", "5 s more than a loop's, for a clock known only to a round trip", to_store,
                origin="client", frame=far.hex())  # fmt: skip


def _identity(file: VectorFile, make: _Maker, first: bytes) -> None:
    client = make.frame(ADMIN)
    file.fails("no msgpack", "garbage", "not_msgpack", answer=None, frame="c1")
    file.fails("no header", "an empty header", "not_msgpack", answer=None, frame="94c400c400c400c400")
    file.fails("too large", "the cap comes first", "oversize", answer=None, frame={"repeat": "00", "times": 279105})
    file.fails("version 2", "and no answer: its fields are unknown", "unknown_version", answer=None,
               frame=make.frame(version=2).hex())  # fmt: skip
    file.fails("a client's session on another connection", "a connection carries the session it was granted",
               "session_not_granted", answer="rejected", origin="client with another session",
               frame=client.hex())  # fmt: skip
    file.fails("a client's bundle", "bundles are the loops' own", "unknown_kind", answer="rejected", origin="client",
               frame=make.frame(ADMIN, kind=FrameKind.REQUESTS, seq=2, part=2).hex())  # fmt: skip
    file.fails("a stolen token", "another certificate", "wrong_certificate", answer="rejected",
               origin="client with another certificate", frame=client.hex())  # fmt: skip
    file.fails("a client's frame from a loop", "a loop has no certificate", "wrong_certificate", answer="rejected",
               frame=client.hex())  # fmt: skip
    file.fails("another loop's session", "the socket says who speaks", "foreign_session", answer="rejected",
               origin="external", frame=first.hex())  # fmt: skip
    file.fails("a session on two sockets", "it was seen on another socket before", "session_elsewhere",
               answer="rejected", origin="external", before=[["third", first.hex()]],
               frame=make.frame(seq=2).hex())  # fmt: skip
    file.fails("a silent feed", "3 s without the authority's feed", "unsynchronised", answer="unavailable",
               feed_heard=make.world.now - 3_000, frame=first.hex())  # fmt: skip
    for attested, why in ((0, "its sandbox has not been looked at"), (6, "it was looked at before this epoch")):
        members = [[loop, number, attested] for loop, number in make.world.incarnations.items()]
        file.fails(
            f"a loop attested for {attested}",
            why,
            "not_attested",
            answer="rejected",
            members=members,
            frame=first.hex(),
        )
    world = make.world
    for kind, value in (("session", world.session(CONSOLE)), ("token", world.claims(CONSOLE).token_id),
                        ("subject", CONSOLE.encode())):  # fmt: skip
        file.fails(f"a revoked {kind}", "the rest is genuine", "revoked", answer="rejected",
                   revoked=[[kind, value.hex()]], frame=first.hex())  # fmt: skip


def _tokens(file: VectorFile, make: _Maker, first: bytes) -> None:
    world = make.world
    expires = world.claims(CONSOLE).expires
    late = make.frame(deadline=expires + 1000)
    for name, why, reason, frame, options in (
        ("an expired token", "now is its `expires`", "token_expired", late, {"now": expires, "feed_heard": expires}),
        (
            "a token of later",
            "not before",
            "token_not_yet",
            make.frame(token=world.token(CONSOLE, not_before=world.now + 1)),
            {},
        ),
        (
            "a token of another boot",
            "signed by the same key",
            "token_boot",
            make.frame(token=world.token(CONSOLE, boot=bytes(16))),
            {},
        ),
        (
            "a token of another install",
            "signed by the same key",
            "token_install",
            make.frame(token=world.token(CONSOLE, install=bytes(16))),
            {},
        ),
        ("another subject's token", "subject and src differ", "wrong_source", make.frame(src="third/other"), {}),
        (
            "another session's token",
            "token and header differ",
            "wrong_session",
            make.frame(token=world.token("external/network")),
            {},
        ),
        (
            "a token made without the token key",
            "unwrapping fails",
            "token_forged",
            make.frame(token=world.token(CONSOLE, token_key=bytes(32))),
            {},
        ),
        (
            "a token that nobody signed",
            "the loops hold the token key, not the issuer's",
            "token_signature",
            _unsigned(make),
            {},
        ),
        ("no token", "an empty one", "token_size", make.frame(token=b""), {}),
        (
            "signed nonsense",
            "claims are parsed after their signature only",
            "bad_claims",
            make.frame(token=wrap(world, b"\xc0")),
            {},
        ),
    ):
        file.fails(name, why, reason, answer="rejected", frame=frame.hex(), **options)
    known = [*verifier(world)["token_keys"], [8, bytes(32).hex()]]
    file.fails("header and token of two epochs", "both are known", "wrong_epoch", answer="rejected",
               token_keys=known, frame=make.frame(epoch=8, token=world.token(CONSOLE)).hex())  # fmt: skip
    file.fails("an epoch that has ended", "stale is no offence", "stale_epoch", answer="stale",
               frame=make.frame(epoch=6).hex())  # fmt: skip
    file.fails("an epoch without K_gate", "its root has not come", "stale_epoch", answer="stale",
               gate_roots=[[8, bytes(32).hex()]], frame=first.hex())  # fmt: skip


def _unsigned(make: _Maker) -> bytes:
    foreign = Ed25519PrivateKey.from_private_bytes(bytes(32))
    return make.frame(token=wrap(make.world, encode_claims(make.world.claims(CONSOLE)), foreign))


def _swap(data: bytes, **parts: bytes) -> bytes:
    return pack_frame(*parse_frame_untrusted(data)._replace(**parts))


def _ways(file: VectorFile, make: _Maker, first: bytes, asked: list[list[str]]) -> None:
    world = make.world
    now = world.now
    part: Frame = parse_frame_untrusted(first)
    about = correlation(world.session(CONSOLE), 1)
    other = parse_frame_untrusted(make.frame(method="put"))
    for name, why, reason, frame in (
        ("the deadline has passed", "now is the deadline", "deadline", make.frame(deadline=now)),
        ("a deadline too far ahead", "300 s and 1 ms", "deadline_too_far", make.frame(deadline=now + 300_001)),
        (
            "a proof of another key",
            "whoever holds the token holds no key",
            "proof_forged",
            make.frame(proof_key=bytes(32)),
        ),
        (
            "a changed proof",
            "one bit",
            "proof_forged",
            _swap(first, proof=bytes((part.proof[0] ^ 1,)) + part.proof[1:]),
        ),
        ("an empty proof", "no tag", "proof_forged", _swap(first, proof=b"")),
        (
            "a changed tag of the body",
            "the proof covers it",
            "proof_forged",
            _swap(first, body=part.body[:-1] + bytes((part.body[-1] ^ 1,))),
        ),
        ("another header", "the proof covers it", "proof_forged", _swap(first, header=other.header)),
        (
            "another good token of the same session",
            "the proof covers it",
            "proof_forged",
            _swap(first, token=world.token(CONSOLE, token_id=bytes(16))),
        ),
        (
            "a request about a request",
            "a request has no correlation",
            "correlated_request",
            make.frame(correlation=about),
        ),
        ("a trace of zeros", "its id is not zero", "correlated_request", make.frame(correlation=bytes(24) + b"\x01")),
        (
            "a span of zeros",
            "its id is not zero",
            "correlated_request",
            make.frame(correlation=b"t" * 16 + bytes(8) + b"\x01"),
        ),
        ("a trace with flag 2", "0 or 1", "correlated_request", make.frame(correlation=TRACE[:24] + b"\x02")),
        (
            "a trace with another state",
            "entries are key=value",
            "correlated_request",
            make.frame(correlation=TRACE + b"a=1,\n"),
        ),
        ("a method not allowed", "not in the caps", "not_allowed", make.frame(method="delete")),
        ("a target not allowed", "not in the caps", "not_allowed", make.frame(target="external/network")),
        ("the key's name is no method name", "* is a right, not a method", "not_allowed", make.frame(method="*")),
    ):
        file.fails(name, why, reason, answer="rejected", frame=frame.hex())
    file.fails("another gate", "the proof key belongs to an earlier Primary", "stale_gate", answer="stale",
               frame=make.frame(gate=2).hex())  # fmt: skip
    file.fails("another mailbox", "the recipient was restarted", "stale_mailbox", answer="stale",
               frame=make.frame(mailbox=1).hex())  # fmt: skip
    gone = [[loop, number, world.epoch] for loop, number in world.incarnations.items() if loop != "secondary"]
    file.fails("a recipient that is gone", "not delivered", "unavailable", answer="unavailable", members=gone,
               frame=first.hex())  # fmt: skip
    file.fails("a client's deadline too far ahead", "305 s and 1 ms", "deadline_too_far", answer="rejected",
               origin="client", frame=make.frame(ADMIN, deadline=now + 305_001).hex())  # fmt: skip
    file.fails("the same frame again", "its sequence is not higher", "replay", answer="rejected", before=asked,
               frame=first.hex())  # fmt: skip
    file.fails("an older frame later", "order is kept", "replay", answer="rejected",
               before=[["third", make.frame(seq=5).hex()]], frame=make.frame(seq=4).hex())  # fmt: skip
    bundle = make.frame(kind=FrameKind.REQUESTS, seq=2, part=2)
    file.fails("a bundle that begins with a number of before", "each of its numbers counts", "replay",
               answer="rejected", before=asked, frame=bundle.hex())  # fmt: skip
    file.fails("a bundle of too many open calls", "2 here, so none of the 3 is opened", "busy", answer="busy",
               frame=make.frame(kind=FrameKind.REQUESTS, seq=3, part=3).hex())  # fmt: skip
    file.fails("a request out of a bundle again", "its number was taken", "replay", answer="rejected",
               before=[["third", bundle.hex()]], frame=make.frame(seq=1).hex())  # fmt: skip
    two = [*asked, ["third", make.frame(seq=2).hex()]]
    file.fails("too many open calls", "2 here", "busy", answer="busy", before=two, frame=make.frame(seq=3).hex())
    _answers(file, make, asked, about)


def _answers(file: VectorFile, make: _Maker, asked: list[list[str]], about: bytes) -> None:
    replied = [*asked, ["secondary", make.reply().hex()]]
    other_call = correlation(make.world.session(CONSOLE), 2)
    for name, why, origin, before, frame in (
        ("a reply that nobody asked for", "no open call", "secondary", [], make.reply()),
        ("a reply to another request", "seq 2 was never asked", "secondary", asked, make.reply(correlation=other_call)),
        (
            "a bundle of replies to nobody",
            "none of its calls is open",
            "secondary",
            replied,
            make.reply(kind=FrameKind.REPLIES, seq=2, part=2, correlation=about + (2).to_bytes(8, "big")),
        ),
        (
            "a bundle of replies from a third",
            "the call is to the store",
            "primary",
            asked,
            make.reply(KERNEL, kind=FrameKind.REPLIES, part=2, correlation=about + (2).to_bytes(8, "big")),
        ),
        ("a reply from a third", "the call is to the store", "primary", asked, make.reply(KERNEL)),
        ("a reply to a third", "the call is the console's", "secondary", asked, make.reply(dst=KERNEL)),
        ("a second reply", "the first one ended the call", "secondary", replied, make.reply(seq=2)),
        (
            "credit after the end",
            "the call has ended, and who still reads it is told",
            "third",
            replied,
            make.frame(kind=FrameKind.CREDIT, seq=2, correlation=about),
        ),
        (
            "credit for another's call",
            "its correlation names the console's",
            "external",
            asked,
            make.frame("external/network", kind=FrameKind.CREDIT, correlation=about),
        ),
        (
            "a cancel for another target",
            "the call is to the store",
            "third",
            asked,
            make.frame(kind=FrameKind.CANCEL, seq=2, target=KERNEL, correlation=about),
        ),
        ("a part without a request", "no correlation", "third", asked, make.frame(kind=FrameKind.PART, seq=2)),
        ("a refusal by a loop", "only the gate refuses", "secondary", asked, make.reply(kind=FrameKind.REFUSAL)),
    ):
        answer = "stale" if name == "credit after the end" else None
        file.fails(name, why, "no_open_call", answer=answer, origin=origin, before=before, frame=frame.hex())
