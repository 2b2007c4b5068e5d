"""What a seal may accept: all, or what the operator names; of a pinned publisher only what they have signed. Pure.

`sealed` and `found` are measurements: `measure.py` says their names. The files of a package are those below the
prefixes that `version/PACKAGE/VERSION/PREFIX` names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from tlsrt.config.differences import BYTECODE, NAMED_MAX, Entries, prefix_of, prefixes
from tlsrt.config.distributions import is_older, normalized
from tlsrt.config.publishers import Trust
from tlsrt.config.release import PACKAGE, VERSION, Release, check_release, differences
from tlsrt.errors import ConfigError

_WORD = re.compile(rf"([A-Za-z0-9][A-Za-z0-9._-]*)==({VERSION})")
_NO_METADATA = hashlib.sha256(b"").digest()
_LATER = "tlsrt-supervisor seal --accept"


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What the operator has named: versions of packages, other names of a measurement, an older version."""

    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    names: tuple[str, ...] = ()
    is_all: bool = True
    downgrade: bool = False
    releases: Mapping[str, Release] = field(default_factory=dict[str, Release])  # manifests, not yet checked

    @classmethod
    def of(cls, words: tuple[str, ...], *, downgrade: bool) -> Self:
        """Return what `--accept` says: NAME==VERSION, or a name or folder as `seal --diff` prints them."""
        pairs = [(word, _WORD.fullmatch(word)) for word in words]
        versions = {normalized(match[1]): match[2] for _, match in pairs if match is not None}
        for word in words:
            if "==" in word and not _WORD.fullmatch(word):
                raise ConfigError(f"{word} is no NAME==VERSION, such as tlsrt==0.2.0")
        return cls(versions, tuple(word for word, match in pairs if match is None), not words, downgrade)


@dataclass(frozen=True, slots=True)
class Package:
    """What a measurement has of a package: each place of it, and its files there by their paths in the wheel."""

    versions: frozenset[str]
    places: Mapping[str, Mapping[str, bytes]]
    metadata: frozenset[bytes]

    @property
    def version(self) -> str:
        return ", ".join(sorted(self.versions))

    def differences(self, release: Release) -> list[str]:
        """Return what is not as the manifest says."""
        wrong = {
            word for place, files in self.places.items() for word in differences(release, files, {_top(place)})
        }  # fmt: skip
        said = {digest for path, digest in release.files.items() if path.endswith(".dist-info/METADATA")}
        return sorted(wrong | ({"changed METADATA"} if not self.metadata <= said else set()))


def package_in(entries: Entries, name: str, version: str | None = None) -> Package:
    """Return what a measurement has of a package, or of one version of it; no versions if it has none of it."""
    own = {prefix: said[1] for prefix, said in prefixes(entries) if said[0] == name and version in (None, said[1])}
    everything = {**dict(prefixes(entries)), **dict.fromkeys(own, ("", ""))}
    places: dict[str, dict[str, bytes]] = {prefix: {} for prefix in own}
    for entry, digest in entries.items():
        place = None if entry.startswith("version/") else prefix_of(entry, everything)
        if place in places:
            places[place][_top(place) + entry[len(place) :]] = digest
    metadata = {entries[f"version/{name}/{version}/{prefix}"] for prefix, version in own.items()} - {_NO_METADATA}
    return Package(frozenset(own.values()), places, frozenset(metadata))


def _top(place: str) -> str:
    return place.rpartition("/")[2]


def versions_in(entries: Entries) -> dict[str, str]:
    """Return the version of each package that a measurement names; the newest of several."""
    found: dict[str, str] = {}
    for name, version in sorted(_pairs(entries)):
        if name not in found or is_older(found[name], version):
            found[name] = version
    return found


def _pairs(entries: Entries) -> set[tuple[str, str]]:
    """Return names and versions. What else says that it is tlsrt, a component's package perhaps, does not run as it."""
    return {said for prefix, said in prefixes(entries) if said[0] != "tlsrt" or prefix == "tlsrt"}


def check_acceptance(sealed: Entries | None, found: Entries, trust: Trust, asked: Acceptance, today: date) -> list[str]:
    """Refuse what a seal may not accept; return a line for each release that was verified. Raises ConfigError.

    `sealed` is None without a boot token of this key to compare with.
    """
    _check_older(sealed, found, trust, asked)
    lines = [_checked_version(sealed, found, trust, asked, name, today) for name in sorted(asked.versions)]
    for name in sorted(trust.publishers):
        here, was = package_in(found, name), package_in(sealed or {}, name)
        _check_places(found, name, was, here)
        if name not in asked.versions and here.versions and (sealed is None or was != here):
            raise ConfigError(
                f"{name} {here.version} is not what was sealed, and its publisher is pinned: run `{_LATER} "
                f"{name}=={here.version}`, which verifies their signature"
            )
    if not asked.is_all and sealed is not None:
        _check_rest(sealed, found, asked)
    return lines


def _check_places(found: Entries, name: str, was: Package, here: Package) -> None:
    """Refuse what is where a pinned package was, and is said to be of it no more. Its RECORD, unsigned, says that."""
    lost = {place: None for place in was.places if place not in here.places}
    for entry in found:
        if not entry.startswith("version/") and (place := prefix_of(entry, lost)) is not None:
            raise ConfigError(
                f"{place} was sealed as a part of {name}, whose publisher is pinned, and is said to be of it no more: "
                "install the signed wheel again; if another package is to bring that, take the pin away first"
            )


def _check_older(sealed: Entries | None, found: Entries, trust: Trust, asked: Acceptance) -> None:
    before = _pairs(sealed) if sealed is not None else set[tuple[str, str]]()
    for name, version in sorted(_pairs(found) - before):
        highest = trust.highest.get(name, "")
        if highest and is_older(version, highest) and not asked.downgrade:
            raise ConfigError(
                f"{name} {version} is older than {highest}, which this host has run: install that or a newer one, or "
                "say --allow-downgrade if you want its old faults back"
            )


def _checked_version(
    sealed: Entries | None, found: Entries, trust: Trust, asked: Acceptance, name: str, today: date
) -> str:  # fmt: skip
    version, here = asked.versions[name], package_in(found, name)
    if not re.fullmatch(PACKAGE, name) or not here.versions:
        raise ConfigError(f"no package {name} is measured on this host: `tlsrt-supervisor seal --diff` says what is")
    others = {one: package_in(found, name, one) for one in here.versions - {version}}  # a component's own copy
    if others.keys() == here.versions or any(package_in(sealed or {}, name, one) != others[one] for one in others):
        raise ConfigError(f"{name} {here.version} is installed, not {version}: nothing was accepted")
    here = package_in(found, name, version)
    publishers = trust.publishers.get(name, ())
    if not publishers:
        return f"{name} {version} by its name only: no publisher of it is pinned"
    release = asked.releases.get(name)
    if release is None:
        raise ConfigError(
            f"{name} {version} has no release manifest, and its publisher is pinned: name it with --release FILE"
        )
    check_release(release, publishers, name, version, today)
    wrong = here.differences(release)
    if wrong:
        more = f" and {len(wrong) - NAMED_MAX} more" if len(wrong) > NAMED_MAX else ""
        raise ConfigError(
            f"{name} {version} is not what its publisher has signed: {', '.join(wrong[:NAMED_MAX])}{more}; install the "
            "signed wheel again, and if that does not help find out who changed it"
        )
    count = sum(map(len, here.places.values()))
    return f"{name} {version}, {count} files as signed by {release.key.hex()[:16]}"


def _check_rest(sealed: Entries, found: Entries, asked: Acceptance) -> None:
    """Refuse what differs and is not named."""
    before, after = dict(prefixes(sealed)), dict(prefixes(found))
    left: list[str] = []
    for name in sorted(sealed.keys() | found.keys()):
        if sealed.get(name) == found.get(name) or name == BYTECODE:
            continue
        place = name.split("/", 3)[3] if name.startswith("version/") else name
        owners = {places[prefix][0] for places in (before, after) if (prefix := prefix_of(place, places))}
        is_owned = prefix_of(place, after if name in found else before) is not None
        if not (is_owned and owners <= asked.versions.keys()) and not _is_named(place, asked.names):
            left.append(place)
    if left:
        left = list(dict.fromkeys(left))
        more = f" and {len(left) - NAMED_MAX} more" if len(left) > NAMED_MAX else ""
        raise ConfigError(
            f"more differs than you accept: {', '.join(left[:NAMED_MAX])}{more}; name that, too, as "
            "PACKAGE==VERSION or as `tlsrt-supervisor seal --diff` prints it, or put it back"
        )


def _is_named(name: str, names: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(one.rstrip("/") + "/") for one in names)
