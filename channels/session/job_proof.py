"""The proof of a job: it shows the authority that a session has put off this very call. Pure.

It is made with the proof key of the session, which only the session's holder, Primary and the authority have. So a
component that carries a job to the authority cannot make one up in the name of a caller, nor change one on the way.
The nonce begins otherwise than that of a frame, and takes its number from the same counter, so none comes twice.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsrt.errors import PeerError

_CONTEXT = b"tlsrt/job/v1\0"
_NONCE = b"job\0"


def job_data(
    session: bytes, target: str, method: str, deadline: int, job: bytes, when: str, missed: str, call: bytes,
    key: bytes = b"",
) -> bytes:  # fmt: skip
    """Return what is proved: each field behind its length. `key` is that of a kept result, or none."""
    texts = [text.encode() for text in (target, method, when, missed)]
    fields = (session, *texts, deadline.to_bytes(8, "big"), job, call, *([key] if key else []))
    return _CONTEXT + b"".join([len(field).to_bytes(4, "big") + field for field in fields])


def prove_job(key: AESGCM, number: int, data: bytes) -> bytes:
    """Return the proof; `number` is one of the session's counter."""
    return key.encrypt(_NONCE + number.to_bytes(8, "big"), b"", data)


def verify_job(key: bytes, number: int, data: bytes, proof: bytes) -> None:
    """Raise PeerError if the proof was not made with this key over this."""
    try:
        AESGCM(key).decrypt(_NONCE + number.to_bytes(8, "big"), proof, data)
    except (InvalidTag, ValueError):
        raise PeerError("job_unproved") from None
