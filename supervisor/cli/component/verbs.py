"""The verbs component add, diff and update: what a package asks for, a yes, and the running host."""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tlsrt.command_line.table import Document
from tlsrt.config.asks import NOTHING, Ask, asks_of, differences, rows_of
from tlsrt.config.drop_ins import ALONE, APPROVED, DROP_IN, drop_in_file, installed_manifest
from tlsrt.config.isolation import isolated_folder
from tlsrt.config.load import load_config
from tlsrt.config.manifest import FILE, ParsedManifest, changed_tree, parse_manifest
from tlsrt.config.processes import loop_of, loop_of_address
from tlsrt.config.schema import Config
from tlsrt.config.secrets import read_sealings
from tlsrt.config.setting import ADDRESS, ADDRESS_SAYS
from tlsrt.errors import EX_FAILED, ConfigError, InvalidArgument
from tlsrt.supervisor.cli.approval import is_approved
from tlsrt.supervisor.cli.clients import parse_allow
from tlsrt.supervisor.cli.component.addition import begin, rehearse
from tlsrt.supervisor.cli.component.available import OWN, offering_at, refuse_unknown
from tlsrt.supervisor.cli.component.isolation import install_isolated, next_number, number_of, numbered
from tlsrt.supervisor.cli.component.journal import Content, whole_config
from tlsrt.supervisor.cli.component.known import approved, named, states_of, version_of
from tlsrt.supervisor.cli.component.needs_option import parse_needs
from tlsrt.supervisor.cli.component.option_values import complete_options, given_options, lacking
from tlsrt.supervisor.cli.component.program_end import end_at_once
from tlsrt.supervisor.cli.component.sources import check_calls_of, finder_of
from tlsrt.supervisor.cli.component.wheel import Offer, Offering, install, offering_of
from tlsrt.supervisor.cli.exchange import ask, config_of
from tlsrt.supervisor.control.client import NotRunning
from tlsrt.text import did_you_mean, printable, table

_UNTABLED = ("class", "process", "health", "kind", "offers", "topics", "notifies", "watchdog_s", "stop_signal")
_ADMIN = "admin"
_NOBODY = "none"  # of --allow


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A component that may be added: what brings it, where it shall be, and who may call it."""

    offering: Offering
    offer: Offer
    manifest: ParsedManifest
    address: str
    policy: dict[str, list[str] | str]
    said: dict[str, Any]  # needs and programs that take the place of those of the manifest
    number: int  # of the folder with packages of its own; 0: those of the environment
    options: dict[str, object]

    @property
    def asks(self) -> list[Ask]:
        tree = changed_tree(self.manifest.tree, self.said)
        return asks_of(tree, self.manifest.calls, self.manifest.reasons)

    def lines(self) -> list[str]:
        """Return what an operator reads before a yes."""
        kept = "its loop's process" if self.manifest.tree.get("process") == "shared" else "a process of its own"
        kept += ", with packages of its own" if self.number else ""
        offering, asks = self.offering, self.asks
        found = [
            f"{f'{offering.distribution} {offering.version}'.strip()}: {self.manifest.title}",
            f"{self.address}, {_what(self.manifest)}, in {kept}",
            "",
            *(table(rows_of(asks)) if asks else [NOTHING]),
            "",
        ]
        callers = [
            f"{line.partition(' ->')[0]} ({'all methods' if methods == '*' else ', '.join(methods)})"
            for line, methods in self.policy.items()
        ]
        return [
            *found,
            f"may be called by {', '.join(callers)}" if callers else "may be called by no other: see --allow",
        ]

    def document(self) -> Document:
        return {
            "component": self.address,
            "title": self.manifest.title,
            "distribution": self.offering.distribution,
            "version": self.offering.version,
            "class": self.manifest.tree.get("class"),
            "program": self.manifest.tree.get("run"),
            "isolated": bool(self.number),
            "asks": [one.document() for one in self.asks],
            "policy": self.policy,
            "needs": self.said.get("needs", {}),
            "programs": self.said.get("programs", {}),
        }


def _what(manifest: ParsedManifest) -> str:
    """Return what runs, in words."""
    if manifest.tree.get("kind") == "program":
        return f"the program {manifest.tree['run']}"
    return f"class {manifest.tree['class']}"


# add


def add(arguments: argparse.Namespace) -> Document | int:
    """Show what the components of a package ask for, take a yes, and let the host run them."""
    config = whole_config(arguments)
    with tempfile.TemporaryDirectory(prefix="tlsrt-wheel-") as folder, begin(config) as change:
        offering = _offering(config, arguments, Path(folder))
        candidates = [_candidate(config, offering, offer, arguments) for offer in _chosen(offering, arguments)]
        if arguments.place is not None and len(candidates) > 1:
            raise InvalidArgument("--as names one component, and this package brings several: choose one with --only")
        for name, values in (("--option", arguments.option), ("--needs", arguments.needs)):
            if values and len(candidates) > 1:
                raise InvalidArgument(
                    f"{name} is for one component, and this package brings several: use --only for each"
                )
        candidates = [_completed(one, arguments) for one in candidates]
        content: dict[str, bytes | None] = {}
        for one in candidates:
            content |= _content(one)
        made = rehearse(config, content, {one.address: one.offer.manifest for one in candidates})
        kept = [
            sentence
            for one in candidates
            for sentence in check_calls_of(one.manifest, one.address, offering, made.policy)
        ]
        kept += [sentence for one in candidates for sentence in _kept(config, one.address)]
        if not is_approved([*(one.lines() for one in candidates), *([kept] if kept else [])], arguments, "Run it?"):
            return EX_FAILED
        change.check_sealed()
        if arguments.isolated:
            for one in candidates:
                install_isolated(offering, config.path, one.address, one.number, Path(folder))
        else:
            install(offering)
        answer = change.take(content)
    return {"added": [{**one.document(), "host": _came(config, one, answer)} for one in candidates]}


def _came(config: Config, one: _Candidate, answer: Document | None) -> Document | None:
    """Return what became of a component in the running host, and of its program."""
    found = _outcome(config, one.address, answer)
    if found is None or found["outcome"] == "failed" or one.manifest.tree.get("kind") != "program":
        return found
    log = str(config.log_dir / f"{found['process']}.log")
    try:
        ended = end_at_once(lambda: ask(config, "status"), found["process"], log)
    except NotRunning:
        return None
    return {**found, "outcome": "failed", "reason": ended} if ended else found


def _offering(config: Config, arguments: argparse.Namespace, folder: Path) -> Offering:
    """Return what brings the components that are named, by a package or by an address. Raises ConfigError."""
    source: str = arguments.source
    if re.fullmatch(ADDRESS, source):
        if (found := offering_at(source)) is None:
            if not Path(source).exists():
                refuse_unknown(source, config)
        elif arguments.isolated and found.distribution == OWN:
            raise InvalidArgument(f"{source} comes with tlsrt, and has the packages of tlsrt: leave --isolated out")
        elif not arguments.isolated:
            return found
        else:
            source, arguments.only = found.distribution, arguments.only or _short(found.offers[0])
    return offering_of(source, folder, isolated=arguments.isolated)


def _kept(config: Config, address: str) -> list[str]:
    """Return what is there of a component that was at this address before."""
    found: list[str] = []
    if any(folder.is_dir() for folder in states_of(config, address)):
        found.append(f"it gets the state that another component at {address} has left (`remove --purge` removes it)")
    if names := list(read_sealings(config.state_dir, address)):
        found.append(f"it gets the secrets that are set for {address}: {', '.join(names)}")
    return found


def _chosen(offering: Offering, arguments: argparse.Namespace) -> Sequence[Offer]:
    if arguments.only is None:
        return offering.offers
    names = {_short(offer): offer for offer in offering.offers}
    if arguments.only not in names:
        hint = did_you_mean(arguments.only, names) or f": it brings {', '.join(names)}"
        raise InvalidArgument(f"{offering.distribution} brings no component {arguments.only}{hint}")
    return [names[arguments.only]]


def _short(offer: Offer) -> str:
    return offer.package if offer.name == FILE else offer.name.removesuffix(f".{FILE}")


def _candidate(config: Config, offering: Offering, offer: Offer, arguments: argparse.Namespace) -> _Candidate:
    manifest = parse_manifest(offer.manifest, offer.path)
    address = arguments.place or manifest.address
    if not re.fullmatch(ADDRESS, address):
        raise InvalidArgument(f'"{printable(address, 60)}" is not {ADDRESS_SAYS}')
    loop, loops = loop_of_address(address), sorted({loop_of(loop.name) for loop in config.loops})
    if loop not in loops:
        raise InvalidArgument(f"there is no loop {loop}{did_you_mean(loop, loops)}; the loops are {', '.join(loops)}")
    if drop_in_file(config.path, address).exists():
        raise ConfigError(f"{address} is there already: `tlsrt-supervisor component update {address}`, or --as another")
    known = {client.name for client in config.clients}
    policy: dict[str, list[str] | str] = {}
    for text in arguments.allow or ([f"client/{_ADMIN}: *"] if _ADMIN in known else []):
        if text == _NOBODY:
            continue
        caller, methods = parse_allow(text)
        policy[f"{caller} -> {address}"] = "*" if methods == ("*",) else list(methods)
    number = next_number(config.path, address) if arguments.isolated else 0
    said = parse_needs(arguments.needs or (), manifest)
    options = given_options(arguments.option or ())
    return _Candidate(offering, offer, manifest, address, policy, said, number, options)


def _completed(one: _Candidate, arguments: argparse.Namespace) -> _Candidate:
    """Return a candidate with all options that it cannot run without. Raises InvalidArgument."""
    found = lacking(one.manifest, finder_of(one.offering), one.options)
    several = f" with --only {_short(one.offer)}" if len(one.offering.offers) > 1 and arguments.only is None else ""
    return replace(one, options={**one.options, **complete_options(one.address, found, arguments, several)})


def _content(one: _Candidate) -> Content:
    """Return the two files of a component, by name."""
    said: dict[str, Any] = {"package": one.offer.package} if one.offer.package else {}
    if one.offer.name != FILE:
        said["manifest"] = one.offer.name
    if one.number:
        said["isolated"] = one.number
    if one.options:
        said["options"] = one.options
    said |= one.said
    if one.policy:
        said["policy"] = one.policy
    name = one.address.replace("/", ".")
    head = (
        f"# Added on {datetime.now(UTC):%Y-%m-%d} from {one.offering.distribution}. "
        f"What it asks for is in {name}{APPROVED}.\n"
    )
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110)
    return {f"{name}{DROP_IN}": f"{head}{text}".encode(), f"{name}{APPROVED}": one.offer.manifest}


def _place(config: Config, address: str) -> Path | None:
    """Return the folder with packages of its own of a component, also of one that has failed."""
    file = drop_in_file(config.path, address)
    number = number_of(file.read_bytes(), file)
    return isolated_folder(config.path, address, number) if number else None


def _outcome(config: Config, address: str, answer: Document | None) -> Document | None:
    """Return what became of one component in the running host; None if none runs."""
    if answer is None:
        return None
    process = next(
        (one.process for one in load_config(config.path).components if one.address == address),
        address.replace("/", "."),
    )
    loop = next((one for one in answer["loops"] if one["name"] == process), None)
    return {"process": process, **(loop or {"outcome": "failed", "reason": "it is not there", "took_ms": None})}


def added_lines(answer: Document) -> list[str]:
    """Return what became of each component."""
    found: list[str] = []
    for one in answer["added"]:
        address, host = one["component"], one["host"]
        if host is None:
            found.append(f"{address} is added and sealed; the host does not run, and its next start takes it")
        elif host["outcome"] == "failed":
            found.append(f"{address} is added, and does not run: {host['reason']}")
        else:
            took = f" after {host['took_ms']} ms" if host["took_ms"] is not None else ""
            found += [f"{address} runs in {host['process']}{took}", f"try it: tlsrt describe {address}"]
    return found


def add_unmet(answer: Document) -> list[str] | None:
    """The lines say already what does not run."""
    failed = [one for one in answer["added"] if one["host"] is not None and one["host"]["outcome"] == "failed"]
    return [] if failed else None


# diff and update


def diff(arguments: argparse.Namespace) -> Document:
    """Return what another version of a package asks for that was not approved, and what it asks for no longer."""
    config = config_of(arguments)
    with tempfile.TemporaryDirectory(prefix="tlsrt-wheel-") as folder:
        return _difference(config, arguments.address, arguments.source, Path(folder))[0]


def _difference(
    config: Config, address: str, source: str | None, folder: Path
) -> tuple[Document, Offering | None, bytes]:
    """Return the difference, what is to be installed, and the manifest that is to be approved."""
    package, name = named(config, address)
    place = _place(config, address)
    offering: Offering | None = None
    if name == ALONE and source is None:
        raise InvalidArgument(f"{address} came with no package: name the file that has another manifest")
    if source is not None:
        offering = offering_of(source, folder, isolated=place is not None)
        offer = next((one for one in offering.offers if (one.package, one.name) == (package, name)), None)
        if offer is None:
            raise ConfigError(f"{offering.distribution} {offering.version} does not bring {address}")
        path, data = offer.path, offer.manifest
        version = f"{offering.distribution} {offering.version}".strip()
    else:
        path, data = installed_manifest(package, name, address, place)
        version = version_of(package, place)
    new = parse_manifest(data, path)
    try:
        old = approved(config, address)
    except ConfigError:  # all of it is new, then
        before, tree = [], dict[str, Any]()
    else:
        before, tree = asks_of(old.tree, old.calls, old.reasons), dict(old.tree)
    rows = differences(before, asks_of(new.tree, new.calls, new.reasons))
    others = sorted(
        key for key in tree.keys() | new.tree.keys()
        if tree and key in _UNTABLED and tree.get(key) != new.tree.get(key)
    )  # fmt: skip
    document = {"component": address, "version": version, "rows": rows, "others": others}
    return document, offering, data


def diff_lines(answer: Document) -> list[str]:
    others = [f"{key} is another one" for key in answer["others"]]
    if not answer["rows"] and not others:
        return [f"{answer['component']}: {answer['version']} asks for what was approved"]
    return [f"{answer['component']}: {answer['version']}", *table(answer["rows"]), *others]


def update(arguments: argparse.Namespace) -> Document | int:
    """Show the difference, take a yes, install, and let the host run the other version."""
    config = whole_config(arguments)
    address: str = arguments.address
    with tempfile.TemporaryDirectory(prefix="tlsrt-wheel-") as folder, begin(config) as change:
        difference, offering, data = _difference(config, address, arguments.source, Path(folder))
        content: dict[str, bytes | None] = {drop_in_file(config.path, address, APPROVED).name: data}
        is_isolated = offering is not None and _place(config, address) is not None
        number = next_number(config.path, address) if is_isolated else 0
        if is_isolated:
            drop_in = drop_in_file(config.path, address).name
            content[drop_in] = numbered(change.present(drop_in) or b"", number)
        made = rehearse(config, content, {address: data})
        manifest = parse_manifest(data, Path(*named(config, address)))
        place = _place(config, address)
        kept = check_calls_of(manifest, address, offering, made.policy, place)
        given = next((one.options for one in made.components if one.address == address), {})
        kept += [
            f"remark: it does not run without the option {one.name} ({one.example}): add it under `options` of "
            f"{drop_in_file(config.path, address)}, then `tlsrt-supervisor seal` and `reload`"
            for one in lacking(manifest, finder_of(offering, place), given)
        ]
        if not is_approved([diff_lines(difference), *([kept] if kept else [])], arguments, "Run it?"):
            return EX_FAILED
        if offering is not None:
            change.check_sealed()
            if is_isolated:
                install_isolated(offering, config.path, address, number, Path(folder))
            else:
                install(offering)
        answer = change.take(content)
    return {"added": [{"component": address, "host": _outcome(config, address, answer)}]}
