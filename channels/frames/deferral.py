"""A deferral: what stands in the place of the idempotency key in a request about jobs. Pure.

`["put", job, when, missed, call, deadline, epoch, number, proof]` puts a call off: `call` is the body of a request, as
it is to run later, and `proof` shows the authority that the caller's session means it until the deadline
(session/job_proof.py). One more field is the key for which its result is sealed and kept (session/job_result.py).
`["list"]` asks for the caller's jobs at this component, and `["show", job]` for all of one; `["remove", job]` ends one,
`["pause", job]` has it run no more until `["resume", job]`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tlsrt.errors import MisuseError, PeerError
from tlsrt.when import late_max_s_untrusted

JOB_BYTES = 8
PROOF_BYTES = 16
CALL_MAX = 4096  # bytes: the authority keeps it
WHEN_MAX = 200  # characters
OF_ONE = ("show", "remove", "pause", "resume")  # what is asked of one job
_PUT = (str, bytes, str, str, bytes, int, int, int, bytes)
_KEY_BYTES = 32  # as in session/job_result.py


class Deferral(NamedTuple):
    """What is asked about jobs; what it does not say is empty."""

    what: str
    job: bytes = b""
    when: str = ""
    missed: str = ""
    call: bytes = b""
    deadline: int = 0
    epoch: int = 0
    number: int = 0
    proof: bytes = b""
    key: bytes = b""


def deferral_untrusted(fields: list[Any]) -> Deferral:
    """Return a deferral; raise PeerError for what is none."""
    kinds = tuple(map(type, fields))
    if kinds == (str,) and fields[0] == "list":
        return Deferral("list")
    if kinds == (str, bytes) and fields[0] in OF_ONE and len(fields[1]) == JOB_BYTES:
        return Deferral(*fields)
    if kinds in (_PUT, (*_PUT, bytes)) and fields[0] == "put":
        found = Deferral(*fields)
        if (
            len(found.job) == JOB_BYTES and 0 < len(found.when) <= WHEN_MAX and _is_missed(found.missed)
            and 0 < len(found.call) <= CALL_MAX and len(found.proof) == PROOF_BYTES
            and len(fields) == len(_PUT) + (len(found.key) == _KEY_BYTES)
            and all(0 <= number < 1 << 63 for number in (found.deadline, found.epoch, found.number))
        ):  # fmt: skip
            return found
    raise PeerError("bad_body")


def _is_missed(text: str) -> bool:
    try:
        late_max_s_untrusted(text)
    except MisuseError:
        return False
    return True
