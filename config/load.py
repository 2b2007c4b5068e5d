"""The configuration file, read once: YAML to a frozen Config, or every problem at once."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from tlsrt.config import defaults, program_kind
from tlsrt.config.access import PolicyRule
from tlsrt.config.added_components import Judged, judge
from tlsrt.config.deception import check_deception, read_deception
from tlsrt.config.defaults import BuiltIn, component_of
from tlsrt.config.detection import check_detection
from tlsrt.config.document import MIGRATE, VERSION, ConfigFiles, document_of, read_config, read_files
from tlsrt.config.drop_ins import DropInFiles, FindManifest, added_components, installed_manifest
from tlsrt.config.listeners import ListenConfig, problems_of
from tlsrt.config.processes import DOOR_PROCESS, SHARED_PARTS, Placement, is_part, loop_of, part_for, process_name
from tlsrt.config.relays import with_relays
from tlsrt.config.schema import DEFAULT_LOOPS, FILE, Config
from tlsrt.config.setting import Builder, Where, keys_of
from tlsrt.config.supervision import check_supervision, read_supervision
from tlsrt.config.validation import BAD, Checker
from tlsrt.errors import ConfigError
from tlsrt.text import did_you_mean

Tree = Mapping[str, Any]
Marks = Mapping[Where, str]  # FILE:LINE:COL of each key
_OLDER = f"{{place}}: this configuration is of version 1, and the newest is {VERSION}: run `{MIGRATE}`"


def load_config(path: Path) -> Config:
    """Return the configuration in `path`. Raises ConfigError with every problem as `FILE:LINE:COL: sentence`.

    What is wrong with a drop-in is in its `failed`, and raises nothing.
    """
    return parse_files(read_files(path), path)


def parse_config(
    data: bytes, path: Path, drop_ins: DropInFiles = MappingProxyType({}), manifest: FindManifest = installed_manifest,
    built_in: BuiltIn = defaults.BUILT_IN,
) -> Config:  # fmt: skip
    """Return the configuration of a file without drop-ins of its own; see `parse_files`."""
    return parse_files(ConfigFiles(data, components=drop_ins), path, manifest, built_in)


def parse_files(
    files: ConfigFiles, path: Path, manifest: FindManifest = installed_manifest, built_in: BuiltIn = defaults.BUILT_IN
) -> Config:
    """Return the configuration that these files say, which belong to the file `path`. Raises ConfigError.

    Touches no file but the manifests of packages that components' drop-ins name, which `manifest` finds.
    """
    document, drop_ins = document_of(files, path), files.components
    root, problems = document.root, document.problems
    if root is None:
        problems.raise_if_any()
        raise ConfigError(f"{path}:1:1: the file is empty")
    if root.pairs and not any(key.text in keys_of(Config) for key, _ in root.pairs):
        sentence = "this is not a configuration of tlsrt: it has none of the keys; name another file"
        raise ConfigError(f"{path}:1:1: {sentence}")  # of a file of another program nothing is repeated
    checker = Checker(problems)
    value = checker.check(root, FILE)
    tree: Tree = value if isinstance(value, dict) else {}
    judged = Judged()
    if isinstance(value, dict):
        if drop_ins:
            variables = document.variables if document.version > 1 else None
            found = added_components(Path(os.path.abspath(path)), drop_ins, manifest, variables)
            judged = judge(*found, tree, _loop_names(tree), built_in.addresses)
        _check_names(tree, judged, built_in, checker)
        _check_boot_token(tree, Path(os.path.abspath(path)), checker)
    problems.raise_if_any()
    remarks = [*files.left_out, *([_OLDER.format(place=f"{path}:1:1")] if document.version == 1 else [])]
    config = _config(tree, Path(os.path.abspath(path)), _places_of(checker), judged, built_in)
    config = replace(config, variables=document.variables, remarks=(*remarks, *config.remarks))
    if sentences := problems_of(config.listeners, _own_places(config)):
        raise ConfigError(sentences)
    return config


def _own_places(config: Config) -> list[tuple[str, ListenConfig]]:
    """Return (what it is, where it listens) of the sockets of the host itself."""
    endpoint = config.deception.endpoint
    found = [("the door", config.door.host, config.door.port)]
    found += [("deception.endpoint", endpoint.host, endpoint.port)] if endpoint is not None else []
    return [(what, ListenConfig("own", port, "", host)) for what, host, port in found]


def _places_of(checker: Checker) -> Marks:
    return {where: checker.problems.place(*mark) for where, mark in checker.marks.items()}


_RUN_DIR = re.compile(r"""^run_dir:[ \t]+(?:"([^"\n]*)"|'([^'\n]*)'|([^#\s]+))""", re.MULTILINE)


def run_dir_of(path: Path) -> Path:
    """Return the run folder that a configuration names, also one that does not load. Raises ConfigError."""
    found = _RUN_DIR.search(read_config(path).decode("utf-8", "replace"))
    named = next((text for text in found.groups() if text), "run") if found is not None else "run"
    return Path(os.path.abspath(path)).parent / named


# Names that must exist


def _loop_names(tree: Tree) -> list[str]:
    return [*DEFAULT_LOOPS, *(name for name in tree.get("loops", ()) if not is_part(name))]


def _check_names(tree: Tree, judged: Judged, built_in: BuiltIn, checker: Checker) -> None:
    """Add a problem for every reserved or unknown loop, component and client."""
    loops = _loop_names(tree)
    failed = [one.name for one in judged.failed]
    named = _good(tree.get("components"), {})
    parts = _parts(_with_added(tree, judged, built_in), built_in.ours(named))
    waiting = _processes_of([*failed, *(one.name for one in built_in.failed_in(named))], built_in)
    processes = [*loops, *dict.fromkeys((*parts, *waiting))]
    for name in tree.get("loops", ()):
        if is_part(name) and name not in processes:
            checker.refuse(("loops", name), f"there is no process {name}{did_you_mean(name, processes)}")
        if name in defaults.RESERVED_NAMES:
            checker.refuse(("loops", name), f"{name} is a name of the runtime: choose another one")
    addresses: Collection[str] = built_in.addresses
    for address, value in tree.get("components", {}).items():
        _check_component(address, value, loops, addresses, checker)
    switched_off = {address for address, value in tree.get("components", {}).items() if value is None}
    addresses = {*addresses, *tree.get("components", ())} - switched_off
    addresses |= {*judged.trees, *failed}  # a line about one that has failed waits for it
    clients = [f"client/{name}" for name in tree.get("clients", ())]
    seen: dict[tuple[str, str], str] = {}
    for line, value in tree.get("policy", {}).items():
        if value is BAD:
            continue
        _check_rule(line, addresses, clients, loops, checker)
        if seen.setdefault(_sides(line), line) != line:
            checker.refuse(("policy", line), f"{line}: this policy line is here twice")
    _check_fingerprints(tree, checker)
    _check_http(tree, checker)
    _check_acme(tree, checker)
    _check_scheduling(tree, processes, checker)
    check_supervision(_good(tree.get("supervision"), {}), loops, checker)
    check_detection(_good(tree.get("detection"), {}), [*processes, *addresses, *clients], checker)
    check_deception(_good(tree.get("deception"), {}), addresses, checker)


def _parts(tree: Tree, ours: Collection[str]) -> dict[str, None]:
    """Return the further processes of loops, in the order of their components; `ours` are the built-in ones."""
    found: dict[str, None] = {}
    if _has_own_door(tree):
        found[DOOR_PROCESS] = None
    for address, one in tree["components"].items():
        if one is None:
            continue
        part = part_for(address, is_builtin=address in ours, placement=_good(one, {}).get("process", "own"))
        if part:
            found[process_name(address.partition("/")[0], part)] = None
    return found


def _has_own_door(tree: Tree) -> bool:
    return bool(_good(tree.get("door"), {}).get("process") == "own")


def _processes_of(failed: Iterable[str], built_in: BuiltIn) -> Iterator[str]:
    """Yield every process in which components that have failed would run: which, their manifests cannot say."""
    for address in failed:
        for placement in get_args(Placement):
            part = part_for(address, is_builtin=address in built_in.addresses, placement=placement)
            yield process_name(address.partition("/")[0], part)


def _check_scheduling(tree: Tree, loops: Iterable[str], checker: Checker) -> None:
    """Add a problem for every loop that is to be scheduled and does not exist."""
    scheduling = tree.get("scheduling", {})
    named = [(("scheduling", "cpus", loop), loop) for loop in _good(scheduling.get("cpus"), {})]
    named += [
        (("scheduling", "real_time", str(index)), loop)
        for index, loop in enumerate(_good(scheduling.get("real_time"), []))
        if isinstance(loop, str)
    ]
    for where, loop in named:
        if loop not in loops:
            checker.refuse(where, f"scheduling: there is no loop {loop}{did_you_mean(loop, loops)}")


def _good(value: Any, otherwise: Any) -> Any:
    return value if isinstance(value, type(otherwise)) else otherwise


def _check_component(
    address: str, value: object, loops: Iterable[str], builtin: Iterable[str], checker: Checker
) -> None:
    where = ("components", address)
    loop = address.partition("/")[0]
    own = address.partition("/")[2] == SHARED_PARTS.get(loop) and _good(value, {}).get("process") != "shared"
    if own:
        sentence = (
            f"{address}: {loop}.{SHARED_PARTS[loop]} is the process of components that share one: choose another name"
        )
        checker.refuse(where, sentence)
    if address.replace("/", ".", 1) == DOOR_PROCESS and _good(value, {}).get("process") != "shared":
        checker.refuse(where, f"{address}: {DOOR_PROCESS} is the process of the door: choose another name")
    if "/" in address and loop not in loops:
        checker.refuse(where, f"{address}: there is no loop {loop}{did_you_mean(loop, loops)}")
    for key, sentence in program_kind.problems_of(_good(value, {})):
        checker.refuse((*where, *key), f"{address}: {sentence}")
    if address in builtin:
        if _good(value, {}).get("kind") == "program":
            checker.refuse((*where, "kind"), f"{address} is built in, and no program: choose another address")
        return
    if value is None:
        checker.refuse(
            where, f"{address} is not built in, so null switches nothing off{did_you_mean(address, builtin)}"
        )
    elif _has_no_class(value) and ("components", address, "class") not in checker.marks:
        checker.refuse(where, f"{address} has no class: name it as package.module:Class")


def _has_no_class(value: object) -> bool:
    return isinstance(value, dict) and "class" not in value and value.get("kind") != "program"


def _check_rule(
    line: str, addresses: Iterable[str], clients: list[str], loops: Iterable[str], checker: Checker
) -> None:
    where = ("policy", line)
    source, target = _sides(line)
    if source.startswith("*/"):
        checker.refuse(where, f"{line}: the left side must name a loop or client, {source} would let everyone in")
    elif not _exists(source, [*addresses, *clients, "client/"], loops):
        hint = did_you_mean(source, [*addresses, *clients])
        checker.refuse(where, f"{line}: there is no {source} that could call{hint}")
    if target.startswith("client/"):
        checker.refuse(where, f"{line}: a client cannot be called")
    elif not _exists(target, addresses, loops):
        checker.refuse(where, f"{line}: there is no {target} to call{did_you_mean(target, addresses)}")


def _exists(side: str, addresses: Iterable[str], loops: Iterable[str]) -> bool:
    loop, name = side.split("/")
    if name == "*":
        return loop in ("*", *loops) or any(address.startswith(f"{loop}/") for address in addresses)
    if loop == "*":
        return any(address.endswith(f"/{name}") for address in addresses)
    return side in addresses


def _sides(line: str) -> tuple[str, str]:
    source, _, target = line.partition("->")
    return source.strip(), target.strip()


def _check_fingerprints(tree: Tree, checker: Checker) -> None:
    seen: dict[str, str] = {}
    for name, client in tree.get("clients", {}).items():
        if not isinstance(client, dict) or "fingerprint" not in client:
            continue
        first = seen.setdefault(client["fingerprint"].replace(":", "").lower(), name)
        if first != name:
            where = ("clients", name, "fingerprint")
            checker.refuse(where, f"client {name} has the fingerprint of {first}: each client needs its own key")


def _check_acme(tree: Tree, checker: Checker) -> None:
    clients = [one for one in tree.get("clients", {}).values() if isinstance(one, dict)]
    is_served = tree.get("door", {}).get("http") is True or any(one.get("http") is True for one in clients)
    if _good(tree.get("acme"), {}).get("directory") and not is_served:
        sentence = (
            "acme.directory: its certificate is for clients over HTTP, and this door serves none: add http: true to "
            "door, or remove acme"
        )
        checker.refuse(("acme", "directory"), sentence)


def _check_http(tree: Tree, checker: Checker) -> None:
    for name, client in tree.get("clients", {}).items():
        if isinstance(client, dict) and client.get("http") is True and client.get("may"):
            sentence = (
                f"client {name} may use HTTP, so Primary holds its keys, and it can never be one that may lock or "
                "unlock the host: give that to another client"
            )
            checker.refuse(("clients", name, "may"), sentence)


def _check_boot_token(tree: Tree, path: Path, checker: Checker) -> None:
    """Refuse a boot token in the place of another file, which `seal` would overwrite."""
    door = tree.get("door", {})
    others: dict[str, object] = {"this file": path, "master_key.path": tree.get("master_key", {}).get("path")}
    others |= {f"door.{name}": door.get(name) for name in ("certificate", "key", "client_ca", "client_ca_key")}
    token = tree.get("boot_token")
    for name, other in others.items():
        if token and other and os.path.normpath(path.parent / token) == os.path.normpath(path.parent / str(other)):
            sentence = f"boot_token is {name} too, and `seal` would overwrite it: give it a file of its own"
            checker.refuse(("boot_token",), sentence)


# The tree to values


def _with_added(tree: Tree, judged: Judged, built_in: BuiltIn) -> Tree:
    """Return the tree with all components that there are in it: built-in and added ones too."""
    return {**tree, "components": {**built_in.joined(_good(tree.get("components"), {})), **judged.trees}}


def _config(main: Tree, path: Path, marks: Marks, judged: Judged, built_in: BuiltIn) -> Config:
    def place(where: Where) -> str:
        if found := judged.place(where):
            return found
        return marks[where] if where in marks else built_in.place(where)

    tree, named = _with_added(main, judged, built_in), main.get("components", {})
    ours, failed = built_in.ours(named), (*built_in.failed_in(named), *judged.failed)
    for one in built_in.failed_in(named):
        tree["components"].pop(one.name, None)
    builder = Builder(path.parent, place)
    there = [address for address, one in tree["components"].items() if one is not None]
    composed = {  # of more than what the key itself says
        "components": tuple(
            replace(
                component_of(
                    address, tree["components"][address], builder, is_builtin=address in ours,
                    origin=judged.origins.get(address, ""),
                ),
                places=places,
                packages=judged.packages.get(address),
                title=judged.titles.get(address, ""),
            )
            for address, places in _places(there, marks, judged, builder).items()
        ),
        "policy": _policy(tree, judged.policy, {one.name for one in failed} - {*there}),
        "supervision": read_supervision(tree.get("supervision", {})),
        "deception": read_deception(tree.get("deception", {}), there, ours, builder),
    }  # fmt: skip
    composed["components"] = with_relays(composed["components"], composed["policy"])  # type: ignore[arg-type]
    others = {name: value for name, value in tree.items() if name not in composed}
    values = builder.values(Config, {**others, "loops": _loops(tree, ours)}) | composed
    return Config(path=path, **values, failed=failed, remarks=judged.remarks)


def _loops(tree: Tree, ours: Collection[str]) -> dict[str, Any]:
    """Return the settings of every process: each loop's, and behind it those of its further ones."""
    named = {name: {} for name in DEFAULT_LOOPS} | tree.get("loops", {})
    parts = _parts(tree, ours)
    order = [
        process
        for loop in named
        if not is_part(loop)
        for process in (loop, *(part for part in parts if loop_of(part) == loop))
    ]
    return {process: named.get(process, {}) for process in order}


def _policy(tree: Tree, added: Iterable[PolicyRule], failed: Collection[str]) -> tuple[PolicyRule, ...]:
    """Return all lines that hold; one about a component that has failed waits for it."""
    rules = [PolicyRule(*_sides(line), tuple(methods)) for line, methods in tree.get("policy", {}).items()]
    found = (*defaults.POLICY, *rules, *added)
    return tuple(rule for rule in found if rule.source not in failed and rule.target not in failed)


def _places(there: Iterable[str], marks: Marks, judged: Judged, builder: Builder) -> Mapping[str, Mapping[Where, str]]:
    """Return for each component where its options stand, by the keys below `options`."""
    found: dict[str, dict[Where, str]] = {address: {} for address in there}
    for where in marks:
        if where[:1] != ("components",) or len(where) == 1 or where[1] not in found:
            continue
        if len(where) == 2:
            found[where[1]].setdefault((), builder.place(where))
        elif where[2] == "options":
            found[where[1]][where[3:]] = builder.place(where)
    for one in judged.components:
        options = {where[1:]: place for where, place in one.places.items() if where[:1] == ("options",)}
        found[one.address] = {(): str(one.file)} | options
    return found
