"""Components that are brought and off: of tlsrt itself, and of packages that are installed beside it.

Entry points name their manifests; nothing is imported. What tlsrt brings so is as the component of any package: it runs
when an operator has added it, and its manifest counts as it was approved.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tlsrt import __version__
from tlsrt.command_line.fitted import fitted_table
from tlsrt.command_line.table import Document
from tlsrt.config.asks import Ask, asks_of
from tlsrt.config.declared_calls import source_finder
from tlsrt.config.defaults import BUILT_IN
from tlsrt.config.import_path import is_checkout, package_folder
from tlsrt.config.manifest import GROUP, ParsedManifest, manifest_of_entry, parse_manifest
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, InvalidArgument
from tlsrt.supervisor.cli.component.option_values import lacking
from tlsrt.supervisor.cli.component.wheel import Offer, Offering, installed_offering, known_distributions, offers_at
from tlsrt.text import did_you_mean

OWN = "tlsrt"
_COLUMNS = ("COMPONENT", "WHAT IT IS", "NEEDS OPTION", "ASKS FOR", "PACKAGE")
_NOTHING = "nothing"
_LIST = "`tlsrt-supervisor component list --available` lists what is brought and off"


@dataclass(frozen=True, slots=True)
class Available:
    """One component that is brought."""

    offering: Offering
    offer: Offer
    manifest: ParsedManifest

    @property
    def asks(self) -> list[Ask]:
        return asks_of(self.manifest.tree, self.manifest.calls, self.manifest.reasons)


def brought() -> Iterator[Available]:
    """Yield every component that an entry point names, those of tlsrt first.

    Raises ConfigError for one of tlsrt that cannot be read; of others, `component add PACKAGE` says what is wrong.
    """
    yield from _of(own_offering())
    for name, one in sorted(known_distributions().items()):
        if name != OWN:
            try:
                found = list(_of(installed_offering(one)))
            except ConfigError:
                continue
            yield from found


def own_offering() -> Offering:
    """Return what tlsrt brings, by its metadata; a checkout has these in pyproject.toml. Raises ConfigError."""
    if is_checkout():
        with open(package_folder().parent / "pyproject.toml", "rb") as file:
            named = tomllib.load(file)["project"].get("entry-points", {}).get(GROUP, {})
        entries = [manifest_of_entry(value) for value in named.values()]
        return Offering(OWN, __version__, offers_at(package_folder().parent, entries, OWN), None)
    one = known_distributions().get(OWN)
    return Offering(OWN, __version__, (), None) if one is None else installed_offering(one, may_be_empty=True)


def offering_at(address: str) -> Offering | None:
    """Return what brings the component of this address, with it alone; None if nothing does. Raises ConfigError."""
    found = [one for one in brought() if one.manifest.address == address]
    if len(found) > 1:
        who = " and ".join(one.offering.distribution for one in found)
        raise ConfigError(f"{address} is brought by {who}: name the package, and --only where it brings several")
    return next((replace(one.offering, offers=(one.offer,)) for one in found), None)


def refuse_unknown(address: str, config: Config) -> None:
    """Say what a word is that looks like an address and brings nothing. Raises InvalidArgument."""
    if address in BUILT_IN.addresses:
        is_on = any(one.address == address for one in config.components)
        how = "is on" if is_on else f"is switched off by `{address}: null` in {config.path}: remove that line"
        raise InvalidArgument(f"{address} comes with tlsrt and {how}")
    known = [one.manifest.address for one in brought()]
    raise InvalidArgument(
        f"there is no {address} that could be added{did_you_mean(address, known)}; {_LIST}, and a folder is named with "
        "./ before it"
    )


def available(config: Config) -> Document:
    """Return what is brought, and is not a component of this host at its own address."""
    taken = {*(one.address for one in config.components), *(one.name for one in config.failed)}
    return {
        "available": [
            {
                "component": one.manifest.address,
                "title": one.manifest.title,
                "asks": [each.document() for each in one.asks],
                "options": [
                    {"name": each.name, "doc": each.doc, "example": each.example}
                    for each in lacking(one.manifest, source_finder())
                ],
                "package": f"{one.offering.distribution} {one.offering.version}",
            }
            for one in brought()
            if one.manifest.address not in {*taken, *BUILT_IN.addresses}
        ]
    }


def available_lines(answer: Document) -> list[str]:
    found = answer["available"]
    if not found:
        return ["everything that is brought is on"]
    rows = [
        (
            one["component"], one["title"], ", ".join(each["name"] for each in one["options"]), _asks(one["asks"]),
            one["package"],
        )
        for one in found
    ]  # fmt: skip
    table = fitted_table([_COLUMNS, *rows], least=("PACKAGE",), cut="ASKS FOR")
    return [*table, "", "add one: tlsrt-supervisor component add LOOP/NAME"]


def _asks(asks: list[Document]) -> str:
    """Return the kinds of what is asked for, the dangerous ones marked; `component add` shows all of it."""
    counts = Counter(one["kind"] for one in asks)
    dangerous = {one["kind"] for one in asks if one["dangerous"]}
    shown = (
        f"{'! ' if kind in dangerous else ''}{kind}{f' ({number})' if number > 1 else ''}"
        for kind, number in counts.items()
    )
    return ", ".join(shown) or _NOTHING


def _of(offering: Offering) -> Iterator[Available]:
    for offer in offering.offers:
        yield Available(offering, offer, parse_manifest(offer.manifest, offer.path))
