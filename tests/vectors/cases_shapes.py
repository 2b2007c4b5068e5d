"""Vectors of everything that has a shape only: frames, headers, batches, the stream, control messages, bodies."""

from __future__ import annotations

from typing import Any

import msgpack
from vectors.runner import named
from vectors.writer import VectorFile

from tlsrt.channels.frames.frame import FrameKind, Header, correlation, pack_frame, pack_header
from tlsrt.channels.tls.message_stream import OPENING_MAX, PAYLOAD_MAX, wrap

SESSION = bytes([0xAA]) * 16
HEADER = Header(
    1, FrameKind.REQUEST, SESSION, 1, 0, "client/admin", "secondary/store", 2, 1, "get", 7, 1_010_000, b"", 0
)  # fmt: skip
REPLY = HEADER._replace(
    kind=FrameKind.REPLY, correlation=correlation(SESSION, 1), src="secondary/store", dst="client/admin"
)
TRACE = b"t" * 16 + b"s" * 8 + b"\x01"
_PARTS = ("header", "token", "body", "proof")


def frames() -> VectorFile:
    file = VectorFile("frame", "The outer shape of a frame: an array of four bins.")
    good = (pack_header(HEADER), b"token", b"b" * 20, b"p" * 16)
    data = pack_frame(*good)
    file.passes(
        "a frame", "four bins: header, token, body, proof",
        {name: part.hex() for name, part in zip(_PARTS, good, strict=True)}, frame=data.hex(),
    )  # fmt: skip
    file.passes(
        "four empty bins", "their contents are checked later", dict.fromkeys(_PARTS, ""), frame="94c400c400c400c400"
    )
    file.fails("nothing", "no bytes are no frame", "not_msgpack", frame="")
    file.fails("a reserved byte", "0xc1 is never used", "not_msgpack", frame="c1")
    file.fails("cut short", "the last byte is missing", "not_msgpack", frame=data[:-1].hex())
    file.fails("one byte more", "nothing may follow", "not_msgpack", frame=(data + b"\0").hex())
    file.fails("five parts", "there are four", "not_a_frame", frame="95c400c400c400c400c400")
    file.fails("three parts", "there are four", "not_a_frame", frame="93c400c400c400")
    file.fails("a text instead of a bin", "str and bin are different types", "not_a_frame", frame="94c400a0c400c400")
    file.fails("nil as the proof", "it may be empty, not missing", "not_a_frame", frame="94c400c400c400c0")
    file.fails("a map", "no maps anywhere in a frame", "not_msgpack", frame="81c400c400")
    file.fails("an extension", "no extension types", "not_msgpack", frame="94c70105ffc400c400c400")
    file.fails("an array of 4 G elements", "the claim alone must cost nothing", "not_msgpack", frame="ddffffffff")
    file.fails("a bin of 4 G bytes", "the claim alone must cost nothing", "not_msgpack", frame="94c6ffffffff")
    deep = [{"repeat": "91", "times": 2000}, "c0"]
    file.fails("2000 arrays in each other", "nesting must not exhaust a stack", "not_msgpack", frame=deep)
    large = ["94c50201", {"repeat": "00", "times": 513}, "c400c400c400"]
    file.fails("a header of 513 bytes", "at most 512", "oversize", frame=large)
    large = ["94c400c54001", {"repeat": "00", "times": 16385}, "c400c400"]
    file.fails("a token of 16385 bytes", "at most 16384", "oversize", frame=large)
    large = ["94c400c400c600040011", {"repeat": "00", "times": 262161}, "c400"]
    file.fails("a body of 262145 bytes", "at most 262144 and a tag", "oversize", frame=large)
    file.fails("a frame of 279105 bytes", "at most 279104", "oversize", frame={"repeat": "00", "times": 279105})
    return file


def headers() -> VectorFile:
    file = VectorFile("header", "The header: a positional array of 14 fields.")

    def shown(header: Header) -> dict[str, Any]:
        return named(header, Header._fields)

    file.passes("a request", "all integers in their shortest form", shown(HEADER), header=pack_header(HEADER).hex())
    file.passes("a reply", "it names the request that it answers", shown(REPLY), header=pack_header(REPLY).hex())
    longest = HEADER._replace(src="s" * 80, dst="d" * 80, method="m" * 80, seq=1 << 32, deadline=2**63, flags=7)
    file.passes("the longest", "names of 80 characters", shown(longest), header=pack_header(longest).hex())
    two = HEADER._replace(src="é" * 80)
    file.passes("80 characters of two bytes", "characters count, not bytes", shown(two), header=pack_header(two).hex())
    long_form = b"\x9e\xcc\x01" + pack_header(HEADER)[2:]
    file.passes(
        "a version in long form", "any valid encoding is read; the bytes as received are what is authenticated",
        shown(HEADER), header=long_form.hex(), is_long_form=True,
    )  # fmt: skip
    many = HEADER._replace(kind=FrameKind.REQUESTS, src="third/console", seq=32, part=32)
    file.passes("a bundle of 32 requests", "between loops", shown(many), header=pack_header(many).hex())
    answers = REPLY._replace(
        kind=FrameKind.REPLIES, dst="third/console", part=2, correlation=correlation(SESSION, 1) + bytes(7) + b"\x02"
    )
    file.passes("a bundle of 2 replies", "one session, two numbers", shown(answers), header=pack_header(answers).hex())
    traced = HEADER._replace(correlation=TRACE)
    file.passes("a traced request", "a trace of 25 bytes", shown(traced), header=pack_header(traced).hex())
    most = HEADER._replace(correlation=TRACE + b"a=" + b"b" * 126)
    file.passes("the longest trace", "153 bytes", shown(most), header=pack_header(most).hex())
    fields = list(HEADER)
    bad: list[tuple[str, str, str, object]] = [
        ("13 fields", "there are 14", "not_a_header", fields[:-1]),
        ("15 fields", "there are 14; a new field needs a new version", "not_a_header", [*fields, 0]),
        ("nothing in it", "an empty array", "not_a_header", []),
        ("a map", "no maps", "not_msgpack", {"version": 1}),
        ("version 2", "only version 1 is spoken", "unknown_version", [2, *fields[1:]]),
        ("version true", "a bool is no integer", "unknown_version", [True, *fields[1:]]),
        ("version 1.0", "a float is no integer", "unknown_version", [1.0, *fields[1:]]),
        ("kind 0", "kinds are 1 to 9", "unknown_kind", [1, 0, *fields[2:]]),
        ("kind 10", "kinds are 1 to 9", "unknown_kind", [1, 10, *fields[2:]]),
        ("a session id of 15 bytes", "it has 16", "not_a_header", [1, 1, bytes(15), *fields[3:]]),
        ("a session id as text", "str and bin are different", "not_a_header", [1, 1, "a" * 16, *fields[3:]]),
        ("seq -1", "integers are unsigned", "out_of_range", [*fields[:3], -1, *fields[4:]]),
        ("seq 2^32 + 1", "the session has to close before", "out_of_range", [*fields[:3], 2**32 + 1, *fields[4:]]),
        ("seq true", "a bool is no integer", "not_a_header", [*fields[:3], True, *fields[4:]]),
        ("a source of 81 characters", "at most 80", "name_too_long", [*fields[:5], "s" * 81, *fields[6:]]),
        ("a method as bin", "names are str", "not_a_header", [*fields[:9], b"get", *fields[10:]]),
        ("a deadline of -1", "integers are unsigned", "out_of_range", [*fields[:11], -1, *fields[12:]]),
        ("no deadline", "it is mandatory", "not_a_header", [*fields[:11], None, *fields[12:]]),
        ("a correlation of 23 bytes", "0 or 24", "not_a_header", [*fields[:12], bytes(23), 0]),
        ("a trace of 154 bytes", "at most 153", "not_a_header", [*fields[:12], TRACE + b"a" * 129, 0]),
        ("a traced reply", "only a REQUEST has a trace", "not_a_header", list(REPLY._replace(correlation=TRACE))),
        ("a traced bundle", "only a REQUEST has a trace", "not_a_header", list(many._replace(correlation=TRACE))),
        ("kind 18", "bundles are 16 and 17", "unknown_kind", [1, 18, *fields[2:]]),
        ("a bundle of 1", "what is alone is no bundle", "out_of_range", list(many._replace(part=1))),
        ("a bundle of 33", "at most 32", "out_of_range", list(many._replace(part=33, seq=33))),
        ("a bundle of negative numbers", "the first one is 1 or more", "out_of_range", list(many._replace(seq=31))),
        (
            "requests that answer",
            "their correlation is empty",
            "not_a_header",
            list(many._replace(correlation=bytes(24))),
        ),
        (
            "2 replies with 3 numbers",
            "as many as part says",
            "not_a_header",
            list(answers._replace(correlation=bytes(40))),
        ),
        ("flag 8", "three flags are defined", "out_of_range", [*fields[:13], 8]),
    ]
    for name, why, reason, value in bad:
        file.fails(name, why, reason, header=msgpack.packb(value).hex())
    broken = pack_header(HEADER._replace(method="gzz")).replace(b"gzz", b"g\xff\xff")
    file.fails("a method that is no UTF-8", "str is UTF-8", "not_msgpack", header=broken.hex())
    file.fails("one byte more", "nothing may follow", "not_msgpack", header=(pack_header(HEADER) + b"\0").hex())
    return file


def batches() -> VectorFile:
    file = VectorFile("batch", "ZeroMQ messages between loops: one frame, or `[1, frame, ...]`.")
    one, two = pack_frame(b"h", b"t", b"b", b"p"), pack_frame(b"hh", b"tt", b"bb", b"pp")
    both = msgpack.packb([1, one, two])
    file.passes("one frame", "it travels as it is", {"frames": [one.hex()]}, message=one.hex())
    file.passes("two frames", "in order", {"frames": [one.hex(), two.hex()]}, message=both.hex())
    three = msgpack.packb([1, one, two, one])
    file.passes(
        "three frames", "an array of four too, told from a frame by its second byte",
        {"frames": [one.hex(), two.hex(), one.hex()]}, message=three.hex(),
    )  # fmt: skip
    file.passes("joining one", "a single frame gets no wrapper", {"messages": [one.hex()]}, frames=[one.hex()])
    file.passes("joining two", "small neighbours share", {"messages": [both.hex()]}, frames=[one.hex(), two.hex()])
    file.passes(
        "not a frame, but passed on", "four elements that do not start with 1 are a frame's concern",
        {"frames": ["94c0c0c0c0"]}, message="94c0c0c0c0",
    )  # fmt: skip
    file.fails("nothing", "an empty message", "not_msgpack", message="")
    file.fails("an empty batch", "at least one frame", "not_a_message", message="9101")
    file.fails("a batch of version 2", "only 1 is spoken", "not_a_message", message="9202c400")
    file.fails("version true", "a bool is no integer", "not_a_message", message="92c3c400")
    file.fails("a frame as text", "frames are bins", "not_a_message", message="9201a161")
    file.fails("a frame not wrapped", "frames are bins", "not_a_message", message="9201" + one.hex())
    file.fails("a map", "no maps", "not_msgpack", message="8101c400")
    many = ["dc0102", "01", {"repeat": "c400", "times": 257}]
    file.fails("257 frames", "at most 256", "not_msgpack", message=many)
    file.fails(
        "a message of 558209 bytes", "at most 558208", "oversize", message=["92", {"repeat": "00", "times": 558208}]
    )
    return file


def streams() -> VectorFile:
    file = VectorFile(
        "stream", "TLS plaintext into payloads: u32 BE length | payload. `cap` is the largest length now allowed.",
        cap=PAYLOAD_MAX,
    )  # fmt: skip
    both = wrap(b"one") + wrap(b"two")
    whole = {"payloads": [b"one".hex(), b"two".hex()]}
    file.passes("two payloads in one piece", "TLS keeps no boundaries", whole, chunks=[both.hex()])
    file.passes("byte by byte", "the same", whole, chunks=[bytes((byte,)).hex() for byte in both])
    file.passes("not whole yet", "wait for the rest", {"payloads": []}, chunks=["0000000461"])
    file.fails("a length of 0", "no payload is empty", "bad_length", chunks=["00000000"])
    file.fails("279105 bytes announced", "refused before a byte of it is kept", "bad_length", chunks=["00044241"])
    file.fails("4 G bytes announced", "the same", "bad_length", chunks=["ffffffff"])
    file.fails(
        "8561 bytes before the grant", "who has no session may send one open and no more", "bad_length",
        cap=OPENING_MAX, chunks=["00002171"],
    )  # fmt: skip
    file.fails(
        "a bad length after a good payload", "the stream ends there", "bad_length", chunks=["000000016100000000"]
    )
    return file


def controls() -> VectorFile:
    file = VectorFile("control", "Control messages on the stream. `sender` is who sent it.", sender="server")
    challenge: list[Any] = ["challenge", bytes(16), bytes(16), bytes(32), 1_000_000]
    granted: list[Any] = ["granted", 5, b"ciphertext", bytes(64)]

    def passes(name: str, why: str, message: list[Any], sender: str = "server") -> None:
        fields = [{"bin": item.hex()} if isinstance(item, bytes) else item for item in message[1:]]
        file.passes(
            name, why, {"name": message[0], "fields": fields}, payload=msgpack.packb(message).hex(), sender=sender
        )

    passes("challenge", "install id, boot id, challenge, the host's now", challenge)
    passes("open", "the open and its signature", ["open", b"open", b"signature"], "client")
    passes("renew", "signing request and signature", ["renew", b"request", b"signature"], "client")
    passes("renewed", "certificate and signature", ["renewed", b"certificate", bytes(64)])
    passes("not renewed", "one word", ["not_renewed", "rejected"])
    passes("granted", "number, ciphertext, signature", granted)
    passes("refused", "one word", ["refused", "rejected"])
    passes("goodbye", "one word", ["goodbye", "idle"])
    bad: list[tuple[str, str, str, Any]] = [
        ("an unknown message", "nothing is ignored", "unknown_message", ["hello"]),
        ("open from the server", "each message has one direction", "wrong_direction", ["open", b"o", b"s"]),
        ("no certificate", "at least 1 byte", "bad_fields", ["renewed", b"", bytes(64)]),
        ("a signing request of 2049 bytes", "at most 2048", "wrong_direction", ["renew", bytes(2049), b"s"]),
        ("a challenge of 31 bytes", "32", "bad_fields", [*challenge[:3], bytes(31), 1]),
        ("an install id as text", "bin", "bad_fields", ["challenge", "a" * 16, *challenge[2:]]),
        ("a field too few", "the number of fields is fixed", "bad_fields", challenge[:-1]),
        ("a field too many", "the number of fields is fixed", "bad_fields", [*challenge, 0]),
        ("a negative now", "unsigned", "bad_fields", [*challenge[:4], -1]),
        ("a grant signature of 63 bytes", "64", "bad_fields", [*granted[:3], bytes(63)]),
        ("an empty ciphertext", "at least 1 byte", "bad_fields", ["granted", 5, b"", bytes(64)]),
        ("a grant number true", "a bool is no integer", "bad_fields", ["granted", True, *granted[2:]]),
        ("a word of 33 characters", "at most 32", "bad_fields", ["goodbye", "w" * 33]),
        ("an empty word", "at least 1", "bad_fields", ["refused", ""]),
        ("a map", "no maps", "not_msgpack", {"goodbye": "idle"}),
        ("a number first", "the name comes first", "not_a_message", [1, "goodbye"]),
        ("a name as bin", "it is str", "not_a_message", [b"goodbye", "idle"]),
        ("an empty array", "no name", "not_a_message", []),
    ]
    for name, why, reason, message in bad:
        file.fails(name, why, reason, payload=msgpack.packb(message).hex())
    file.fails("granted from a client", "each message has one direction", "wrong_direction", sender="client",
               payload=msgpack.packb(granted).hex())  # fmt: skip
    file.fails("45 KiB and one byte more", "at most 46080 bytes", "oversize", payload={"repeat": "00", "times": 46081})
    return file


def body_shapes() -> VectorFile:
    file = VectorFile(
        "body", "What is inside a sealed body. `shape` is request, value, error or count.", shape="request"
    )
    pack = msgpack.packb
    file.passes(
        "a request", "arguments, named arguments, no idempotency key",
        {"arguments": ["key"], "named": {"limit": 3}, "idempotency_key": None},
        body=pack([["key"], {"limit": 3}, None]).hex(),
    )  # fmt: skip
    file.passes(
        "a request to run once", "an idempotency key", {"arguments": [], "named": {}, "idempotency_key": "k1"},
        body=pack([[], {}, "k1"]).hex(),
    )  # fmt: skip
    file.passes(
        "a repetition", "the key, and the mailbox of the incarnation that may have run it",
        {"arguments": [], "named": {}, "idempotency_key": "k1", "may_have_run": 2},
        body=pack([[], {}, ["k1", 2]]).hex(),
    )  # fmt: skip
    file.passes(
        "a value", "any one msgpack value; text and bytes stay apart",
        {"value": {"text": "é", "bytes": {"bin": "ff"}, "half": 0.5, "nothing": None, "list": [True, -1]}},
        shape="value",
        body=pack({"text": "é", "bytes": b"\xff", "half": 0.5, "nothing": None, "list": [True, -1]}).hex(),
    )  # fmt: skip
    deep: Any = None
    for _ in range(32):
        deep = [deep]
    file.passes(
        "32 arrays in each other", "as deep as it may be", {"value": deep}, shape="value", body=pack(deep).hex()
    )
    error = pack(["not_found", "no key 'a'"])
    file.passes(
        "an error", "code and sentence", {"code": "not_found", "message": "no key 'a'"}, shape="error", body=error.hex()
    )
    file.passes("an unknown error code", "it stays what it is", {"code": "new_code", "message": "m"}, shape="error",
                body=pack(["new_code", "m"]).hex())  # fmt: skip
    file.passes("credit", "one number", {"count": 16}, shape="count", body="10")
    file.passes("credit 0", "a renewal only", {"count": 0}, shape="count", body="00")
    bad: list[tuple[str, str, str, Any]] = [
        ("two elements", "there are three", "request", [[], {}]),
        ("arguments as a map", "an array", "request", [{}, {}, None]),
        ("named arguments as an array", "a map", "request", [[], [], None]),
        ("a name as bin", "names are str", "request", [[], {b"a": 1}, None]),
        ("a name as a number", "names are str", "request", [[], {1: 1}, None]),
        ("an empty idempotency key", "1 to 128 characters", "request", [[], {}, ""]),
        ("an idempotency key of 129 characters", "1 to 128", "request", [[], {}, "k" * 129]),
        ("an idempotency key as bin", "str", "request", [[], {}, b"k"]),
        ("an incarnation without a key", "a repetition has one", "request", [[], {}, [None, 2]]),
        ("a negative incarnation", "0 or more", "request", [[], {}, ["k1", -1]]),
        ("an incarnation as text", "an integer", "request", [[], {}, ["k1", "2"]]),
        ("a repetition of three elements", "key and incarnation", "request", [[], {}, ["k1", 2, 3]]),
        ("an error without a sentence", "two elements", "error", ["failed"]),
        ("an error code as a number", "str", "error", [1, "m"]),
        ("credit -1", "0 to 65536", "count", -1),
        ("credit 65537", "0 to 65536", "count", 65537),
        ("credit true", "a bool is no integer", "count", True),
        ("credit as text", "an integer", "count", "1"),
    ]
    for name, why, shape, value in bad:
        file.fails(name, why, "bad_body", shape=shape, body=pack(value).hex())
    file.fails("nothing", "no bytes are no value", "bad_body", shape="value", body="")
    file.fails("two values", "exactly one", "bad_body", shape="value", body="0102")
    file.fails("an extension", "no extension types", "bad_body", shape="value", body="c70105ff")
    file.fails("a text that is no UTF-8", "str is UTF-8", "bad_body", shape="value", body="a1ff")
    file.fails("2000 arrays in each other", "nesting must not exhaust a stack", "bad_body", shape="value",
               body=[{"repeat": "91", "times": 2000}, "c0"])  # fmt: skip
    file.fails("33 arrays in each other", "at most 32, empty ones too", "bad_body", shape="value",
               body=[{"repeat": "91", "times": 32}, "90"])  # fmt: skip
    file.fails("33 maps in each other", "at most 32", "bad_body", shape="value",
               body=[{"repeat": "81a0", "times": 33}, "c0"])  # fmt: skip
    file.fails("an argument 31 deep", "counted from the body, which has two levels of its own", "bad_body",
               body=["9391", {"repeat": "91", "times": 30}, "9080c0"])  # fmt: skip
    file.fails("1000 arrays that claim 5000 elements each", "the claims alone must cost nothing", "bad_body",
               shape="value", body=[{"repeat": "dd00001388", "times": 1000}])  # fmt: skip
    file.fails("8193 arrays", "at most 8192", "bad_body", shape="value",
               body=["dd00002000", {"repeat": "90", "times": 8192}])  # fmt: skip
    file.fails("a map with a number as its key", "keys are str or bin", "bad_body", shape="value", body="810102")
    file.fails("a map with an array as its key", "keys are str or bin", "bad_body", shape="value", body="8192010204")
    file.fails("an empty extension", "no extension types", "bad_body", shape="value", body="c70005")
    return file
