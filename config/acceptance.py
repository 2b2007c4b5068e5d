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


def package_in(entries: Entries, name: str) -> Package:
    """Return what a measurement has of a package; no versions if it has none of it."""
    own = {prefix: said[1] for prefix, said in prefixes(entries) if said[0] == name}
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
    """Return the version of each package that a measurement names."""
    return dict(said for _, said in prefixes(entries))


def check_acceptance(sealed: Entries | None, found: Entries, trust: Trust, asked: Acceptance, today: date) -> list[str]:
    """Refuse what a seal may not accept; return a line for each release that was verified. Raises ConfigError.

    `sealed` is None without a boot token of this key to compare with.
    """
    _check_older(sealed, found, trust, asked)
    lines = [_checked_version(found, trust, asked, name, today) for name in sorted(asked.versions)]
    for name in sorted(trust.publishers.keys() - asked.versions.keys()):
        here = package_in(found, name)
        if here.versions and (sealed is None or package_in(sealed, name) != here):
            raise ConfigError(
                f"{name} {here.version} is not what was sealed, and its publisher is pinned: run `{_LATER} "
                f"{name}=={here.version}`, which verifies their signature"
            )
    if not asked.is_all and sealed is not None:
        _check_rest(sealed, found, asked)
    return lines


def _check_older(sealed: Entries | None, found: Entries, trust: Trust, asked: Acceptance) -> None:
    before = versions_in(sealed) if sealed is not None else {}
    for name, version in sorted(versions_in(found).items()):
        highest = trust.highest.get(name, "")
        if highest and is_older(version, highest) and before.get(name) != version and not asked.downgrade:
            raise ConfigError(
                f"{name} {version} is older than {highest}, which this host has run: install that or a newer one, or "
                "say --allow-downgrade if you want its old faults back"
            )


def _checked_version(found: Entries, trust: Trust, asked: Acceptance, name: str, today: date) -> str:
    version, here = asked.versions[name], package_in(found, name)
    if not re.fullmatch(PACKAGE, name) or not here.versions:
        raise ConfigError(f"no package {name} is measured on this host: `tlsrt-supervisor seal --diff` says what is")
    if here.versions != {version}:
        raise ConfigError(f"{name} {here.version} is installed, not {version}: nothing was accepted")
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
        if not (owners and owners <= asked.versions.keys()) and not _is_named(place, asked.names):
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
