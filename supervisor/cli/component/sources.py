"""Sources of a package that may not be installed yet, read to compare what it calls with what its manifest says."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from tlsrt.config.access import PolicyRule
from tlsrt.config.declared_calls import FindSource, compared, source_finder
from tlsrt.config.manifest import ParsedManifest
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.component.wheel import Offering

_SOURCE_MAX = 4 << 20


def check_calls_of(
    manifest: ParsedManifest, address: str, offering: Offering | None, policy: Iterable[PolicyRule],
    packages: Path | None = None,
) -> list[str]:  # fmt: skip
    """Refuse calls that neither a manifest nor the policy has, and return what is listed and not seen.

    Raises ConfigError. `policy` is that of the host with this manifest; `packages` is where an isolated component's
    are, if they are installed.
    """
    unlisted, unseen = compared(manifest, finder_of(offering, packages), address, policy)
    if unlisted:
        raise ConfigError(unlisted)
    if str(manifest.tree.get("class", "")).startswith("tlsrt."):
        return []  # of ours: who adds it can do nothing about it, and a test of ours compares them
    return [f"remark: {sentence}" for sentence in unseen]


def finder_of(offering: Offering | None, packages: Path | None = None) -> FindSource:
    """Return what reads the sources of a package: in its wheel, or where it is installed."""
    wheel = offering.wheel if offering is not None else None
    return source_finder(packages) if wheel is None else _finder_in(wheel)


def _finder_in(wheel: Path) -> FindSource:
    def find(module: str) -> bytes | None:
        path = module.replace(".", "/")
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            name = next((name for name in (f"{path}/__init__.py", f"{path}.py") if name in names), None)
            if name is None:
                return None
            with archive.open(name) as file:
                return file.read(_SOURCE_MAX)

    return find
