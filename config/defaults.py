"""What a host has without saying so: the built-in components and the built-in policy lines."""

from __future__ import annotations

from tlsrt.config.access import PolicyRule
from tlsrt.config.components import ComponentConfig, HealthConfig
from tlsrt.config.processes import part_for
from tlsrt.config.schema import DEFAULT_LOOPS

RESERVED_NAMES = ("authority", "client", "door", "supervisor")  # addresses and processes of the runtime itself

# What their checks look at is the host's: a full disk, a missing /sys. Starting the loop again would not mend that.
_HEALTH = HealthConfig(then="none")

COMPONENTS: tuple[ComponentConfig, ...] = tuple(
    ComponentConfig(
        loop=loop,
        name=name,
        class_path=f"tlsrt.loops.{folder}.{name}:{kind}",
        placement="shared",
        builtin=True,
        health=_HEALTH,
        part=part_for(f"{loop}/{name}", is_builtin=True),
    )
    for loop, name, folder, kind in (
        ("primary", "kernel", "facts", "Kernel"),
        ("primary", "hardware", "facts", "Hardware"),
        ("primary", "events", "primary", "Events"),
        ("secondary", "store", "secondary", "Store"),
        ("third", "io", "third", "InputOutput"),
        ("forth", "power", "forth", "Power"),
        ("external", "network", "external", "Network"),
    )
)

# The processes of the default loops: each loop's, and behind it those of its further ones.
PROCESSES: tuple[str, ...] = tuple(
    process
    for loop in DEFAULT_LOOPS
    for process in dict.fromkeys((loop, *(one.process for one in COMPONENTS if one.loop == loop)))
)

POLICY: tuple[PolicyRule, ...] = ()  # default deny: no built-in component calls another one
