"""What apt would do, from its simulation: an exact list of packages and versions, and an id that binds it. Pure.

`apt-get -s upgrade --with-new-pkgs` prints a line for each step: `Inst NAME [OLD] (NEW ORIGIN... [ARCH])`. It removes
nothing. The id is the SHA-256 of names, architectures and both versions, so it names one list and no other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

SIMULATE = (
    "-s", "-q", "-o", "Debug::NoLocking=true", "-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=",
    "-o", "Dir::Log::Planner=/dev/null", "-o", "APT::Get::Show-User-Simulation-Note=false",
)  # fmt: skip
UPGRADE = ("upgrade", "--with-new-pkgs", "--no-install-recommends")
PLAN_ID = re.compile(r"[0-9a-f]{64}")
STEPS_MOST = 5000
# deb-version(7), and the names of Debian policy 5.6.1; a word of another form is refused, not guessed at
_STEP = re.compile(
    r"Inst ([a-z0-9][a-z0-9+.-]{1,100})(?::[a-z0-9-]+)?(?: \[([0-9A-Za-z.+~:-]{1,100})\])? "
    r"\(([0-9][0-9A-Za-z.+~:-]{0,99}) ?(.*?) ?\[([a-z0-9-]{1,30})\]\)(?: \[.*\])?"
)
_SECURITY = re.compile(r"security", re.I)


class PlanError(Exception):
    """The simulation says something that is no list of upgrades. Its text is a sentence for people."""


@dataclass(frozen=True, slots=True)
class Step:
    """One package that would be installed: `old` is None for one that is new."""

    name: str
    architecture: str
    old: str | None
    new: str
    origins: str

    @property
    def is_security(self) -> bool:
        """Tell whether it comes from an archive of security updates."""
        return _SECURITY.search(self.origins) is not None

    @property
    def word(self) -> str:
        """The package as apt-get takes it, with exactly this version."""
        return (
            f"{self.name}:{self.architecture}={self.new}" if self.architecture != "all" else f"{self.name}={self.new}"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, sorted."""

    steps: Sequence[Step]

    @property
    def id(self) -> str:
        """The id that binds this list."""
        lines = [f"{one.name} {one.architecture} {one.old or '-'} {one.new}\n" for one in self.steps]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def plan_untrusted(output: str) -> Plan:
    """Return what a simulation would install. Raises PlanError."""
    steps = []
    for line in output.splitlines():
        if line.startswith(("Remv ", "Purg ")):
            raise PlanError(f"apt would remove a package ({line[5:60].split(' ')[0]}), which is never done from here")
        if not line.startswith("Inst "):
            continue
        found = _STEP.fullmatch(line)
        if found is None:
            raise PlanError("apt says something that cannot be read: look with `apt-get -s upgrade`")
        name, old, new, origins, architecture = found.groups()
        steps.append(Step(name, architecture, old, new, origins))
        if len(steps) > STEPS_MOST:
            raise PlanError(f"apt would change more than {STEPS_MOST} packages: upgrade this host by hand")
    return Plan(sorted(steps, key=lambda one: (one.name, one.architecture)))
