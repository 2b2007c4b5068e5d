"""Packages of a folder that is applied: wheels in `packages/`, for components that it brings to this host.

Only what is not installed is installed. Another version of something that is would change under components that run:
that is a matter of `component update`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tlsrt.config.distributions import normalized
from tlsrt.config.drop_ins import installed_manifest
from tlsrt.config.schema import Config
from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.component.wheel import Offering, known_distributions, offering_of, remove_all
from tlsrt.supervisor.cli.component.wheel import install as install_wheel

FOLDER = "packages"
_WHEEL = ".whl"


@dataclass(frozen=True, slots=True)
class BroughtPackages:
    """Wheels of what this host has not installed."""

    offerings: Mapping[Path, Offering] = field(default_factory=dict[Path, Offering])

    def find(self, package: str, name: str, asked_by: Path | str, place: Path | None) -> tuple[Path, bytes]:
        """Return a manifest of a wheel, or of what is installed. Raises ConfigError."""
        for path, offering in self.offerings.items():
            for offer in offering.offers:
                if place is None and (offer.package, offer.name) == (package, name):
                    return path / package / name, offer.manifest
        return installed_manifest(package, name, asked_by, place)

    def components(self, config: Config) -> frozenset[str]:
        """Return the components of a configuration whose packages are among these."""
        packages = {offer.package for offering in self.offerings.values() for offer in offering.offers}
        return frozenset(
            one.address for one in config.components if one.origin in packages and one.packages is None
        )  # fmt: skip

    def used_by(self, config: Config) -> tuple[Offering, ...]:
        """Return those that a configuration has components of."""
        origins = {one.origin for one in config.components if one.packages is None}
        return tuple(
            offering for offering in self.offerings.values() if origins & {offer.package for offer in offering.offers}
        )


def brought_packages(source: Path, scratch: Path) -> BroughtPackages:
    """Return the packages of a folder that is applied; `scratch` is for files of pip. Raises ConfigError."""
    folder = source / FOLDER
    if not folder.is_dir():
        return BroughtPackages()
    found: dict[Path, Offering] = {}
    known = known_distributions()
    for path in (folder / name for name in sorted(os.listdir(folder)) if name.endswith(_WHEEL)):
        check_trusted(path, "what is applied", trusted_uids())
        offering = offering_of(str(path), scratch)
        present = known.get(normalized(offering.distribution))
        if present is None:
            found[path] = offering
        elif present.version != offering.version:
            raise ConfigError(
                f"{path}: {offering.distribution} {present.version} is installed: bring it to {offering.version} with "
                "`tlsrt-supervisor component update`, and apply again"
            )
    return BroughtPackages(found)


def install(offerings: Sequence[Offering]) -> None:
    """Install wheels. Raises ConfigError; what was installed by then is for `remove`."""
    for one in offerings:
        install_wheel(one)


def remove(offerings: Sequence[Offering]) -> list[str]:
    """Uninstall what was installed for a change that was refused; return what is there yet."""
    return remove_all([one.distribution for one in offerings])
