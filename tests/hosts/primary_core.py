"""Components of a test in Primary's own process, which hosts no foreign one: code that shall act as a captured Primary.

A running host with this prelude takes them there; its other components stay where they belong.
"""

from __future__ import annotations

from hosts.late_prelude import LatePrelude

_PRELUDE = """\
import sys
from tlsrt.config import processes

def may_run_in(process, address, *, is_builtin, usual=processes.may_run_in):
    return address in {addresses!r} or usual(process, address, is_builtin=is_builtin)

for module in [module for module in sys.modules.values() if hasattr(module, "may_run_in")]:  # a forked host has some
    module.may_run_in = may_run_in
"""


def hosted_in_primary(*addresses: str, more: str = "") -> LatePrelude:
    """Return the prelude of a host whose Primary runs these components itself; `more` is what else it does."""
    return LatePrelude(f"{_PRELUDE.format(addresses=addresses)}{more}")


def component_in(process: str, name: str) -> str:
    """Return the address of a component of a test for each process; that for Primary's own needs the prelude."""
    loop, _, part = process.partition(".")
    return f"{loop}/{name}_{part}" if part else f"{loop}/{name}"
