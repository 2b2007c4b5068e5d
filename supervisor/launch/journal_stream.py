"""Whether a descriptor of this process is the journal of systemd."""

from __future__ import annotations

import os
from collections.abc import Mapping

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2
ERROR_PREFIX = "<3>"  # the priority of a line of text: sd-daemon(3)


def is_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Tell whether systemd has connected a descriptor with the journal: systemd.exec(5), $JOURNAL_STREAM."""
    status = os.fstat(descriptor)
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
