"""The code of each process: the roots that it may import or read as data, and how they looked before the hash."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tlsrt.config.code_look import SHARED, CodeLook, ProcessCode, look_at, looks_of
from tlsrt.config.code_root import Root
from tlsrt.config.components import ComponentConfig
from tlsrt.config.distributions import Distribution
from tlsrt.config.import_path import bytecode_folder, is_checkout
from tlsrt.config.package_search import component_roots, dependencies
from tlsrt.config.package_survey import once, surveyed
from tlsrt.config.packages import Code, code_of, data_roots, installed_now, needed_roots, own_root
from tlsrt.config.schema import Config
from tlsrt.config.standard_library import library_roots

_OF_THE_SUPERVISOR = (".yaml",)  # of tlsrt: profiles and manifests, which a start and a reload alone read


def code_as_it_is(config: Config) -> Code:
    """Return what this host runs, and how it looks now: for what is measured after this. Raises ConfigError."""
    with surveyed():
        code = code_of(config)
        return replace(code, processes=_looks(config))


def _looks(config: Config) -> dict[str, ProcessCode]:
    """Return the code of each process; "" is that of one without components."""
    is_strict = config.measure != "warn"
    own_code = replace(own_root(), unread=_OF_THE_SUPERVISOR)
    shared = looks_of(((root, SHARED) for root in (own_code, *dependencies(), *library_roots())), _look)
    bytecode = _bytecode(config)
    known = installed_now()
    found = {"": ProcessCode(shared, bytecode, is_strict)}
    for loop in config.loops:
        own = looks_of(_owned(config.components_of(loop.name), known), _look)
        found[loop.name] = ProcessCode((*own, *shared), bytecode, is_strict)
    return found


def _owned(components: tuple[ComponentConfig, ...], known: dict[str, Distribution]) -> Iterator[tuple[Root, str]]:
    """Yield each root that a component brings along, with the addresses of those that do."""
    owners: dict[Root, list[str]] = {}
    for one in components:
        shared = [] if one.packages is not None else data_roots([one])
        for root in (*component_roots([one]), *needed_roots([one], known), *shared):
            owners.setdefault(root, []).append(one.address)
    yield from ((root, ", ".join(addresses)) for root, addresses in owners.items())


def _bytecode(config: Config) -> CodeLook | None:
    """Return the look of all byte code of this host, None in a checkout, which reads what lies beside its sources."""
    if is_checkout():
        return None
    root = Root(bytecode_folder(config.path), "bytecode")
    return CodeLook(root, SHARED, *_look(root))


def _look(root: Root) -> tuple[bytes, bytes]:
    inner, outer = once(f"look {root}", lambda: (one.hex() for one in look_at(root)))
    return bytes.fromhex(inner), bytes.fromhex(outer)
