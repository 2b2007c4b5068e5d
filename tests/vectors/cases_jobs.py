"""Vectors of the proof of a job: what a caller makes, and the authority checks."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from vectors.writer import VectorFile

from tlsrt.channels.session.job_proof import job_data, prove_job

KEY = bytes(range(32))
SESSION = bytes(range(0xA0, 0xB0))
JOB = bytes(range(0xB0, 0xB8))
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
    for name, change in (
        ("another key", {"key": bytes(32).hex()}), ("another session", {"session": bytes(16).hex()}),
        ("another target", {"target": "third/stove"}), ("another method", {"method": "burn"}),
        ("a later deadline", {"deadline": DEADLINE + 1}), ("another job", {"job": bytes(8).hex()}),
        ("another time", {"when": "31 6 * * *"}), ("made up for or not", {"missed": "skip"}),
        ("other arguments", {"call": b"\x93\x91\x51\x80\xc0".hex()}), ("another number", {"number": 8}),
        ("fields that run into each other", {"target": "third/kettleb", "method": "oil"}),
        ("no proof", {"proof": bytes(16).hex()}), ("a proof that is cut", {"proof": proof[:15].hex()}),
    ):  # fmt: skip
        file.fails(name, "the authority says `stale`", "job_unproved", **change)
    return file
