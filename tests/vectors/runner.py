"""Reads test vectors and runs them against the code. PROTOCOL.md tells what the files contain.

Bytes are hex text; long runs are written as a list of pieces, each hex or `{"repeat": hex, "times": n}`. In values that
may be text too, bytes are `{"bin": hex}`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tlsrt.channels.frames import body as bodies
from tlsrt.channels.frames.frame import (
    Header,
    join_messages,
    pack_header,
    parse_frame_untrusted,
    parse_header_untrusted,
    split_message_untrusted,
)
from tlsrt.channels.session import certificate_renewal, enrolment, grant, job_proof, job_result, lock_statement
from tlsrt.channels.session.endpoint import Endpoint
from tlsrt.channels.session.opening import ClientIdentity, Opening
from tlsrt.channels.session.token import Claims, check_claims
from tlsrt.channels.session.verifier import Verifier
from tlsrt.channels.tls import message_stream
from tlsrt.config import key_schedule
from tlsrt.config.issuer_chain import PinnedIssuer, follow_untrusted, parse_chain_untrusted
from tlsrt.errors import PeerError
from tlsrt.loops.gate.gate import Gate
from tlsrt.loops.gate.state import Origin
from tlsrt.supervisor.audit.verify import verify

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
Values = dict[str, Any]


def unhex(value: Any) -> bytes:
    """Return bytes from their notation."""
    if isinstance(value, str):
        return bytes.fromhex(value)
    if isinstance(value, list):
        return b"".join(map(unhex, value))
    return bytes.fromhex(value["repeat"]) * int(value["times"])


def plain(value: Any) -> Any:
    """Return a value of the wire as JSON can hold it."""
    if isinstance(value, bytes):
        return {"bin": value.hex()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return int(value) if type(value) is not bool and isinstance(value, int) else value


def named(value: Any, names: tuple[str, ...]) -> Values:
    return {name: plain(getattr(value, name)) for name in names}


def load(name: str) -> Values:
    tree: Values = json.loads((FOLDER / f"{name}.json").read_text())
    return tree


def files() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json") if path.stem not in ("stored", "session"))


def cases(name: str) -> Iterator[tuple[bool, str, Values, Values]]:
    """Yield (must pass, operation, the case, its whole input) for every case of a file."""
    tree = load(name)
    for kind in ("must_pass", "must_fail"):
        for case in tree[kind]:
            yield kind == "must_pass", tree["operation"], case, {**tree["given"], **case["input"]}


def run(operation: str, given: Values) -> Values:
    """Return what the code says: values, or the reason of its refusal."""
    try:
        return OPERATIONS[operation](given)
    except PeerError as error:
        return {"reason": error.reason}


# -- keys and tokens ---------------------------------------------------------------------------------------------


def _key(given: Values) -> Values:
    arguments = [unhex(item) if isinstance(item, str) else item for item in given["arguments"]]
    if given["function"] == "mailbox_root":
        arguments[1] = arguments[1].decode()
    derive: Callable[..., bytes] = getattr(key_schedule, given["function"])
    return {"key": derive(*arguments).hex()}


_CLAIMS = (
    "token_id", "issuer", "subject", "install", "session", "boot", "epoch", "issued", "not_before", "expires",
    "confirmation", "caps",
)  # fmt: skip


def make_verifier(given: Mapping[str, Any]) -> Verifier:
    verifier = Verifier()
    verifier.install, verifier.boot = unhex(given["install"]), unhex(given["boot"])
    for version, public in given["issuers"]:
        verifier.tokens.set_issuer(version, unhex(public))
    for epoch, key, *version in given["token_keys"]:
        verifier.add_epoch(epoch, unhex(key), *version)
    heard = given.get("feed_heard", 0)
    verifier.snapshot(1, 0, 1, 0, heard, [], heard)
    for kind, value in given.get("revoked", ()):
        verifier.revoke(0, kind, unhex(value), heard)
    return verifier


def _token(given: Values) -> Values:
    verifier = make_verifier(given)
    claims: Claims = verifier.tokens.verify_untrusted(unhex(given["token"]))
    check_claims(claims, given["now"], verifier.install, verifier.boot)
    return {"claims": named(claims, _CLAIMS)}


# -- shapes ------------------------------------------------------------------------------------------------------


def _frame(given: Values) -> Values:
    frame = parse_frame_untrusted(unhex(given["frame"]))
    return {name: getattr(frame, name).hex() for name in frame._fields}


def _header(given: Values) -> Values:
    header = parse_header_untrusted(unhex(given["header"]))
    assert pack_header(header) == unhex(given["header"]) or given.get("is_long_form")
    return named(header, Header._fields)


def _stream(given: Values) -> Values:
    reader = message_stream.StreamReader(given["cap"])
    payloads = [payload.hex() for chunk in given["chunks"] for payload in reader.feed_untrusted(unhex(chunk))]
    return {"payloads": payloads}


def _control(given: Values) -> Values:
    payload = unhex(given["payload"])
    assert not message_stream.is_frame(payload)
    name, fields = message_stream.parse_control_untrusted(payload, given["sender"])
    return {"name": name, "fields": plain(fields)}


def _body(given: Values) -> Values:
    data = unhex(given["body"])
    if given["shape"] == "request":
        args, kwargs, key, tried = bodies.decode_request_untrusted(data)
        repeated = {} if tried is None else {"may_have_run": tried}
        return {"arguments": plain(args), "named": plain(kwargs), "idempotency_key": key, **repeated}
    if given["shape"] == "error":
        error = bodies.decode_error_untrusted(data)
        return {"code": error.code, "message": error.message}
    if given["shape"] == "count":
        return {"count": bodies.decode_count_untrusted(data)}
    return {"value": plain(bodies.decode_value_untrusted(data))}


def _batch(given: Values) -> Values:
    if "frames" in given:
        return {"messages": [message.hex() for message in join_messages(map(unhex, given["frames"]))]}
    return {"frames": [frame.hex() for frame in split_message_untrusted(unhex(given["message"]))]}


# -- sessions ----------------------------------------------------------------------------------------------------


def _open(given: Values) -> Values:
    data = unhex(given["open"])
    wish = grant.parse_open_untrusted(data)
    grant.verify_open(wish, data, unhex(given["signature"]))
    names = ("install", "boot", "challenge", "certificate", "ephemeral_public")
    return {**{name: getattr(wish, name).hex() for name in names}, "digest": grant.open_digest(data).hex()}


def _job(given: Values) -> Values:
    texts = {name: given[name] for name in ("target", "method", "when", "missed")}
    data = job_proof.job_data(
        session=unhex(given["session"]), deadline=given["deadline"], job=unhex(given["job"]), call=unhex(given["call"]),
        key=unhex(given.get("result_key", "")), **texts,
    )  # fmt: skip
    job_proof.verify_job(unhex(given["key"]), given["number"], data, unhex(given["proof"]))
    return {"data": data.hex()}


def _result(given: Values) -> Values:
    job, run = unhex(given["job"]), given["run"]
    if "seal_for" in given:
        job_result.seal_result(unhex(given["seal_for"]), job, run, "done", None)
    key = job_result.result_key(unhex(given["secret"]), job)
    outcome, value = job_result.open_result(key, job, run, unhex(given["result"]))
    return {"key": key.public_key().public_bytes_raw().hex(), "outcome": outcome, "value": value}


def _unlock(given: Values) -> Values:
    install, boot, challenge = (unhex(given[name]) for name in ("install", "boot", "challenge"))
    if "lock_reason" in given:
        statement = lock_statement.lock_statement(install, boot, challenge, given["lock_reason"])
    else:
        statement = lock_statement.unlock_statement(install, boot, unhex(given["lock"]), challenge)
    lock_statement.verify_statement_untrusted(unhex(given["certificate"]), statement, unhex(given["signature"]))
    return {"statement": statement.hex()}


_GRANT = (
    "now", "install", "boot", "epoch", "grace_ms", "session", "subject", "token", "token_expires", "session_ends",
    "gate", "proof_key",
)  # fmt: skip


def open_grant(given: Mapping[str, Any]) -> grant.GrantContent:
    return grant.open_grant_untrusted(
        X25519PrivateKey.from_private_bytes(unhex(given["ephemeral_private"])), unhex(given["digest"]),
        unhex(given["issuer"]), given["last_number"], given["number"], unhex(given["ciphertext"]),
        unhex(given["signature"]),
    )  # fmt: skip


def _grant(given: Values) -> Values:
    content = open_grant(given)
    rights = [named(right, ("target", "mailbox", "key", "methods")) for right in content.rights]
    return {**named(content, _GRANT), "rights": rights}


def _opening(given: Values) -> Values:
    """One client's side of the opening: every step but the last must pass."""
    key = Ed25519PrivateKey.from_private_bytes(unhex(given["private_key"]))
    ephemeral = X25519PrivateKey.from_private_bytes(unhex(given["ephemeral_private"]))
    identity = ClientIdentity(
        unhex(given["install"]),
        PinnedIssuer(given.get("issuer_version", 1), unhex(given["issuer"])),
        unhex(given["certificate"]),
        key,
    )
    opening = Opening(identity, lambda: ephemeral)
    *earlier, last = given["steps"]
    for step in earlier:
        assert "reason" not in _take(opening, step)
    return _take(opening, last, fold=False)


def _take(opening: Opening, step: list[Any], *, fold: bool = True) -> Values:
    name, *fields = step
    try:
        if name == "succession":
            return {"followed": opening.follow_untrusted(unhex(fields[0])), "issuer_version": opening.issuer.version}
        if name == "challenge":
            data, signature = opening.answer_untrusted(*map(unhex, fields))
            return {"open": data.hex(), "signature": signature.hex()}
        number, ciphertext, signature = fields
        return {"subject": opening.accept_untrusted(number, unhex(ciphertext), unhex(signature)).subject}
    except PeerError as error:
        if not fold:
            raise
        return {"reason": error.reason}


def _succession(given: Values) -> Values:
    pin = PinnedIssuer(given["issuer_version"], unhex(given["issuer"]))
    pin = follow_untrusted(unhex(given["install"]), pin, parse_chain_untrusted(unhex(given["chain"])))
    return {"issuer": pin.key.hex(), "issuer_version": pin.version}


# -- state -------------------------------------------------------------------------------------------------------


def make_gate(given: Mapping[str, Any]) -> Gate:
    gate = Gate(make_verifier(given), calls_per_session=given["calls_per_session"])
    for epoch, root in given["gate_roots"]:
        gate.set_root(epoch, given["gate_incarnation"], unhex(root))
    for loop, incarnation, attested in given["members"]:
        gate.set_loop(loop, incarnation, attested)
    return gate


def make_origin(given: Mapping[str, Any]) -> Origin:
    if "loop" in given:
        return Origin(given["loop"])
    return Origin("", given["connection"], unhex(given["session"]), unhex(given["confirmation"]))


def _gate(given: Values) -> Values:
    gate = make_gate(given)
    origins = {name: make_origin(origin) for name, origin in given["origins"].items()}
    for name, data in given.get("before", ()):
        assert gate.check_untrusted(unhex(data), origins[name], given["now"]).passed
    verdict = gate.check_untrusted(unhex(given["frame"]), origins[given["origin"]], given["now"])
    if verdict.passed:
        return {"loop": verdict.loop} if verdict.loop else {"connection": verdict.connection}
    word = parse_frame_untrusted(verdict.answer).body.decode() if verdict.answer else None
    return {"reason": verdict.reason, "answer": word}


def make_endpoint(given: Mapping[str, Any]) -> Endpoint:
    endpoint = Endpoint(given["subject"], make_verifier(given) if "token_keys" in given else None)
    for held in given["epochs"]:
        epoch = held["epoch"]
        endpoint.apply_session(
            epoch, unhex(given["session"]), held["mailbox"], unhex(held["mailbox_root"]), 1, bytes(32), b"", 0, 0
        )
        for target, mailbox, key, methods in held["rights"]:
            endpoint.apply_right(epoch, target, mailbox, unhex(key), methods)
    return endpoint


def _recipient(given: Values) -> Values:
    endpoint = make_endpoint(given)
    for data in given.get("before", ()):
        frame = parse_frame_untrusted(unhex(data))
        endpoint.open_untrusted(frame, parse_header_untrusted(frame.header), given["now"])
    frame = parse_frame_untrusted(unhex(given["frame"]))
    opened = endpoint.open_untrusted(frame, parse_header_untrusted(frame.header), given["now"])
    return {"kind": int(opened.header.kind), "src": opened.header.src, "body": opened.body.hex()}


def _audit(given: Values) -> Values:
    files = [(name, unhex(data)) for name, data in given["files"]]
    report = verify(
        files, [unhex(given["public"])], must_be_closed=given.get("must_be_closed", False),
        heads=unhex(given.get("heads", "")),
        may_begin_late=given.get("may_begin_late", False),
    )  # fmt: skip
    if report.fault is not None:
        return {"reason": f"{report.fault.file} {report.fault.sequence}"}
    told = ("files", "entries", "records", "checkpoints", "first", "last", "gone_records")
    return {name: getattr(report, name) for name in told}


def _enrolment(given: Values) -> Values:
    code, request = enrolment.parse_code(given["code"]), unhex(given["request"])
    answer = enrolment.check_answer_untrusted(code, request, unhex(given["said"]), unhex(given["mac"]))
    mac = enrolment.request_mac(code.code_id, code.secret, request)
    told = {name: getattr(answer, name).hex() for name in ("certificate", "issuer", "ca")}
    return {
        "id": code.code_id.hex(), "request_mac": mac.hex(), "name": answer.name,
        "issuer_version": answer.issuer_version, **told,
    }  # fmt: skip


def _renewal(given: Values) -> Values:
    statement = certificate_renewal.renew_statement(
        *(unhex(given[name]) for name in ("install", "boot", "session", "request"))
    )
    issuer, certificate, signature = (unhex(given[name]) for name in ("issuer", "certificate", "signature"))
    certificate_renewal.check_renewed_untrusted(issuer, statement, certificate, signature)
    return {"statement": statement.hex()}


def _enrolling(given: Values) -> Values:
    code_id, request, mac = enrolment.parse_asking_untrusted(unhex(given["message"]))
    return {"id": code_id.hex(), "request": request.hex(), "mac": mac.hex()}


OPERATIONS: dict[str, Callable[[Values], Values]] = {
    "keys": _key, "token": _token, "frame": _frame, "header": _header, "stream": _stream, "control": _control,
    "body": _body, "batch": _batch, "open": _open, "grant": _grant, "opening": _opening, "gate": _gate,
    "recipient": _recipient, "unlock": _unlock, "job": _job, "result": _result,
    "succession": _succession, "audit": _audit,
    "enrolment": _enrolment, "enrolling": _enrolling, "renewal": _renewal,
}  # fmt: skip
