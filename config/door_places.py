"""Places at the door that no setting changes. A process that accepts needs a descriptor for each but the sessions."""

from __future__ import annotations

from typing import Final

OPERATORS: Final = 16  # connections of clients that may lock or unlock the host, beyond all others
ENROLMENTS: Final = 32  # connections of clients that have no certificate yet
GUESTS: Final = 96  # connections of browsers that have no certificate, if the host has a console
LINGERING: Final = 512  # connections that have lost their place and are not closed yet

SESSIONS: Final = 16_384  # that the gate lets through at a time, those of components too
ALL: Final = OPERATORS + ENROLMENTS + GUESTS + LINGERING
