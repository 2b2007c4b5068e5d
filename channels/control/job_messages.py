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


class JobListMessage(NamedTuple):
    """A caller asks for its jobs at a component."""

    number: int
    component: str
    owner: str


class JobRemoveMessage(NamedTuple):
    """A caller ends one of its jobs at a component."""

    number: int
    component: str
    owner: str
    job: bytes


class JobAnswerMessage(NamedTuple):
    """The answer to one of these three: the code of a CallError and its sentence, or an empty one and rows."""

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


class JobOverMessage(NamedTuple):
    """How a run ended, an OUTCOME: `done`, or the code of an error. `away`: it has surely not begun."""

    component: str
    job: bytes
    run: int
    outcome: str
