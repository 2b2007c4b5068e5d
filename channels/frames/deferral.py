"""A deferral: what stands in the place of the idempotency key in a request about jobs. Pure.

`["put", job, when, missed, call, deadline, epoch, number, proof]` puts a call off: `call` is the body of a request, as
it is to run later, and `proof` shows the authority that the caller's session means it until the deadline
(session/job_proof.py). `["list"]` asks for the caller's jobs at this component, and `["remove", job]` ends one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tlsrt.errors import PeerError

JOB_BYTES = 8
PROOF_BYTES = 16
CALL_MAX = 4096  # bytes: the authority keeps it
WHEN_MAX = 200  # characters
MISSED = ("once", "skip")
_PUT = (str, bytes, str, str, bytes, int, int, int, bytes)


class Deferral(NamedTuple):
    """What is asked about jobs; but for `put` and `remove` all but the first is empty."""

    what: str
    job: bytes = b""
    when: str = ""
    missed: str = ""
    call: bytes = b""
    deadline: int = 0
    epoch: int = 0
    number: int = 0
    proof: bytes = b""


def deferral_untrusted(fields: list[Any]) -> Deferral:
    """Return a deferral; raise PeerError for what is none."""
    kinds = tuple(map(type, fields))
    if kinds == (str,) and fields[0] == "list":
        return Deferral("list")
    if kinds == (str, bytes) and fields[0] == "remove" and len(fields[1]) == JOB_BYTES:
        return Deferral("remove", fields[1])
    if kinds == _PUT and fields[0] == "put":
        found = Deferral(*fields)
        if (
            len(found.job) == JOB_BYTES and 0 < len(found.when) <= WHEN_MAX and found.missed in MISSED
            and 0 < len(found.call) <= CALL_MAX and len(found.proof) == PROOF_BYTES
            and all(0 <= number < 1 << 63 for number in (found.deadline, found.epoch, found.number))
        ):  # fmt: skip
            return found
    raise PeerError("bad_body")
