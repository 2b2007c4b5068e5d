"""The start of a host whose processes tell in their logs every key that they derive: `prelude=tells_keys(...)`."""

from __future__ import annotations

from hosts.late_prelude import LatePrelude

_PRELUDE = """
import sys
from tlsrt.config import key_schedule
def _telling(name, real):
    def derive(*arguments):
        key = real(*arguments)
        print("KEY", name, bytes(key).hex(), file=sys.stderr, flush=True)
        return key
    return derive
for _name in {names!r}:
    setattr(key_schedule, _name, _telling(_name, getattr(key_schedule, _name)))
"""


def tells_keys(*names: str) -> LatePrelude:
    """Return the prelude that prints a line `KEY NAME HEX` for each key that one of these functions of keys gives."""
    return LatePrelude(_PRELUDE.format(names=names))
