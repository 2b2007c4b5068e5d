"""Messages about jobs between the authority and the components that run them: a part of the trust protocol."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

OUTCOME = re.compile(r"[a-z_]{1,40}")


class JobPutMessage(NamedTuple):
    """A caller puts a call to a component off; what follows the session is as in its deferral."""

    number: int
    component: str
    session: bytes
    method: str
    job: bytes
    when: str
    missed: str
    call: bytes
    deadline: int
    epoch: int
    proof_number: int
    proof: bytes
    key: bytes  # for which its result is sealed; empty if none is kept


class JobListMessage(NamedTuple):
    """A caller asks for its jobs at a component."""

    number: int
    component: str
    owner: str


class OwnJobMessage(NamedTuple):
    """A caller asks for all of one of its jobs at a component, ends it, pauses it, or has it go on."""

    number: int
    component: str
    owner: str
    job: bytes


class JobAnswerMessage(NamedTuple):
    """The answer to one of these: the code of a CallError and its sentence, or an empty one and rows."""

    number: int
    code: str
    rows: list[Any]


class JobRunMessage(NamedTuple):
    """Run a job now. The same run may be said again, and is run once."""

    component: str
    job: bytes
    run: int
    owner: str
    method: str
    call: bytes
    key: bytes


class JobOverMessage(NamedTuple):
    """How a run ended, an OUTCOME: `done`, or the code of an error. `away`: it has surely not begun.

    `result` is sealed for the owner, or empty.
    """

    component: str
    job: bytes
    run: int
    outcome: str
    result: bytes
