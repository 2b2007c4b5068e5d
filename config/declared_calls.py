"""What a component's class calls of others, compared with `calls` of its manifest. Nothing is imported or run.

A call that the manifest does not list would be refused in the running host, so it is told before: at `component add`
and at the seal. A listed one that the source does not show is a remark only, as a component may call by other ways.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tlsrt.config.access import PolicyRule, rights_of
from tlsrt.config.declared_peers import peers_of
from tlsrt.config.drop_ins import APPROVED, drop_in_file
from tlsrt.config.files import as_config_error, read_bounded
from tlsrt.config.manifest import MANIFEST_MAX, ParsedManifest, parse_manifest
from tlsrt.config.package_search import source_of
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

FindSource = Callable[[str], bytes | None]  # of a module, None if there is none to be read
_ALL = ("*",)


def check_calls(config: Config) -> list[str]:
    """Refuse calls that no manifest of this host lists; return what is listed and not seen. Raises ConfigError."""
    problems, remarks = list[str](), list[str]()
    for one in config.components:
        if one.builtin:
            continue  # a test of ours compares them: reading their sources would take a fifth of each seal
        if not one.origin:
            continue  # it has no manifest: the configuration says who may call whom
        manifest = _approved(config.path, one.address)
        unlisted, unseen = compared(manifest, source_finder(one.packages), one.address, config.policy)
        problems += unlisted
        remarks += unseen
    if problems:
        raise ConfigError(problems)
    return remarks


def compared(
    manifest: ParsedManifest, find: FindSource, address: str = "", policy: Iterable[PolicyRule] = ()
) -> tuple[list[str], list[str]]:  # fmt: skip
    """Return sentences about calls that a manifest does not list, and about listed ones that its class does not show.

    `address` is where it runs, if not where its manifest says; what the lines of `policy` allow it need not be listed.
    """
    declared = _declared(manifest, find)
    if declared is None:
        return [], []
    name = address or manifest.address
    allowed = rights_of(name, policy, tuple(declared))
    unlisted, unseen = list[str](), list[str]()
    for target, methods in sorted(declared.items()):
        listed = tuple(manifest.calls.get(target, ()))
        good = {*listed, *allowed.get(target, ())}
        missing = sorted((methods or frozenset()) - good) if "*" not in good else []
        if missing or not good:
            what = f"{', '.join(missing)} of {target}" if missing else target
            wanted = f"[{', '.join((*listed, *missing))}]" if missing else "[...]"
            unlisted.append(
                f"{_place(manifest, target)}: {name} calls {what}, which `calls` of its manifest does not list: "
                f"write {target}: {{methods: {wanted}, why: ...}}"
            )
    for target, methods_listed in manifest.calls.items():
        seen = declared.get(target, frozenset())
        if target not in declared:
            unseen.append(f"{_place(manifest, target)}: its class declares no peer {target}, which `calls` lists")
        elif seen is not None and tuple(methods_listed) != _ALL and (more := sorted(set(methods_listed) - seen)):
            unseen.append(f"{_place(manifest, target)}: its class does not call {', '.join(more)} of {target}")
    return unlisted, unseen


def _declared(manifest: ParsedManifest, find: FindSource) -> Mapping[str, frozenset[str] | None] | None:
    module, _, kind = str(manifest.tree.get("class", "")).partition(":")
    source = find(module) if module else None
    try:
        return None if source is None else peers_of(source, kind)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # its import says more
        return None


def _place(manifest: ParsedManifest, target: str) -> str:
    keys = (("calls", target), ("calls",), ("class",))
    return next(manifest.places[key] for key in keys if key in manifest.places)


def source_finder(packages: Path | None = None) -> FindSource:
    """Return what reads installed modules: of the environment of tlsrt, or in a folder of packages."""

    def find(module: str) -> bytes | None:
        path = source_of(module, packages)
        if path is None:
            return None
        with as_config_error("read", path):
            return path.read_bytes()

    return find


def _approved(config: Path, address: str) -> ParsedManifest:
    path = drop_in_file(config, address, APPROVED)
    with as_config_error("read", path):
        return parse_manifest(read_bounded(path, MANIFEST_MAX, "the manifest"), path)
