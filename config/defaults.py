"""What a host has without saying so: the built-in components and the built-in policy lines."""

from __future__ import annotations

from tlsrt.config.schema import ComponentConfig, HealthConfig, PolicyRule

RESERVED_NAMES = ("authority", "client", "door", "supervisor")  # addresses and processes of the runtime itself

# What their checks look at is the host's: a full disk, a missing /sys. Starting the loop again would not mend that.
_HEALTH = HealthConfig(then="none")

COMPONENTS: tuple[ComponentConfig, ...] = tuple(
    ComponentConfig(loop=loop, name=name, class_path=f"tlsrt.loops.{loop}.{name}:{kind}", builtin=True, health=_HEALTH)
    for loop, name, kind in (
        ("primary", "kernel", "Kernel"),
        ("primary", "hardware", "Hardware"),
        ("primary", "events", "Events"),
        ("secondary", "store", "Store"),
        ("third", "io", "InputOutput"),
        ("forth", "power", "Power"),
        ("external", "network", "Network"),
    )
)

POLICY: tuple[PolicyRule, ...] = ()  # default deny: no built-in component calls another one
