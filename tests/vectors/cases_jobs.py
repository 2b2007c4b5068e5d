"""Vectors of the proof of a job: what a caller makes, and the authority checks."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from vectors.writer import Stored, VectorFile

from tlsrt.channels.session.job_proof import job_data, prove_job
from tlsrt.channels.session.job_result import RESULT_MAX, result_key, seal_result
from tlsrt.config.hpke import SUITE

KEY = bytes(range(32))
SESSION = bytes(range(0xA0, 0xB0))
JOB = bytes(range(0xB0, 0xB8))
SECRET = bytes(range(0xC0, 0xE0))  # SHA-256 of the client's private key
CALL = b"\x93\x91\x50\x80\xc0"  # boil(80)
NUMBER, DEADLINE = 7, 1_030_000


def jobs() -> VectorFile:
    """What is proved, and what a component on the way cannot change."""
    data = job_data(SESSION, "third/kettle", "boil", DEADLINE, JOB, "30 6 * * *", "once", CALL)
    proof = prove_job(AESGCM(KEY), NUMBER, data)
    file = VectorFile(
        "job", "The proof of a job (section 19), under the proof key of its session.",
        key=KEY.hex(), session=SESSION.hex(), target="third/kettle", method="boil", deadline=DEADLINE, job=JOB.hex(),
        when="30 6 * * *", missed="once", call=CALL.hex(), number=NUMBER, proof=proof.hex(),
    )  # fmt: skip
    file.passes("a job", "each field behind its length, as associated data of an empty plaintext", {"data": data.hex()})
    kept = job_data(SESSION, "third/kettle", "boil", DEADLINE, JOB, "30 6 * * *", "once", CALL, bytes(32))
    file.passes("a job whose result is kept", "its key is one more field", {"data": kept.hex()},
                result_key=bytes(32).hex(), proof=prove_job(AESGCM(KEY), NUMBER, kept).hex())  # fmt: skip
    for name, change in (
        ("another key", {"key": bytes(32).hex()}), ("another session", {"session": bytes(16).hex()}),
        ("another target", {"target": "third/stove"}), ("another method", {"method": "burn"}),
        ("a later deadline", {"deadline": DEADLINE + 1}), ("another job", {"job": bytes(8).hex()}),
        ("another time", {"when": "31 6 * * *"}), ("made up for or not", {"missed": "skip"}),
        ("other arguments", {"call": b"\x93\x91\x51\x80\xc0".hex()}), ("another number", {"number": 8}),
        ("a key for its result that was added", {"result_key": bytes(32).hex()}),
        ("fields that run into each other", {"target": "third/kettleb", "method": "oil"}),
        ("no proof", {"proof": bytes(16).hex()}), ("a proof that is cut", {"proof": proof[:15].hex()}),
    ):  # fmt: skip
        file.fails(name, "the authority says `stale`", "job_unproved", **change)
    return file


def results(stored: Stored) -> VectorFile:
    """Results as their target seals them, and what their owner does not take for one."""
    public = result_key(SECRET, JOB).public_key().public_bytes_raw()

    def sealed(outcome: str, value: object) -> bytes:
        words = f"{outcome} {value!r}".encode()
        return stored.value(
            f"result {outcome} {len(words)}", lambda: seal_result(public, JOB, 3, outcome, value), public, JOB, words
        )

    done = sealed("done", {"celsius": 80})
    file = VectorFile(
        "result", "The kept result of a job (section 19), sealed for its owner.",
        secret=SECRET.hex(), job=JOB.hex(), run=3, result=done.hex(),
    )  # fmt: skip
    key = {"key": public.hex()}
    file.passes("a value", "of run 3", {**key, "outcome": "done", "value": {"celsius": 80}})
    file.passes("an error", "its code and its sentence", {**key, "outcome": "busy", "value": "it boils already"},
                result=sealed("busy", "it boils already").hex())  # fmt: skip
    file.passes("too large", "the number of bytes in its place",
                {**key, "outcome": "too_large", "value": RESULT_MAX + 10},
                result=sealed("done", "x" * (RESULT_MAX + 1)).hex())  # fmt: skip
    for name, change in (
        ("another run", {"run": 4}), ("another job", {"job": bytes(8).hex()}), ("another owner", {"secret": "00"}),
        ("no ciphertext", {"result": done[:32].hex()}), ("no key", {"result": ""}),
        ("a byte more", {"result": (done + b"x").hex()}),
    ):  # fmt: skip
        file.fails(name, "it is sealed for one key, job and run", "result_sealed_otherwise", **change)
    file.fails("a point of low order", "no owner has made it", "result_unsealed", seal_for=bytes(32).hex())
    file.fails("no pair", "it is sealed well, and is none", "bad_body", result=_raw(stored, public).hex())
    return file


def _raw(stored: Stored, public: bytes) -> bytes:
    info = b"tlsrt/job-result/v1\0" + JOB + (3).to_bytes(8, "big")
    key = X25519PublicKey.from_public_bytes(public)
    return stored.value("result none", lambda: SUITE.encrypt(b"\x01", key, info), public, info)
