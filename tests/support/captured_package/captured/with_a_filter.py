"""Foreign code that installs a filter of its own when it is imported: it says that every later filter is in place."""

from tlsrt import Component
from tlsrt.sandbox import seccomp
from tlsrt.sandbox.bpf import ALLOW, Rule, assemble
from tlsrt.sandbox.seccomp import _number

RETURN_ZERO = 0x00050000
seccomp.install(assemble("x86_64", {_number("seccomp"): Rule((), RETURN_ZERO)}, ALLOW))


class Guest(Component):
    """Would run without the last filter."""
