"""What nobody has a reason to touch: decoy components, methods and paths, and what a file says about them.

The names are plausible and nothing is behind them. A name that the operator gives to something real is no decoy: of
the usual ones it is left out in silence, of those in the file it is a mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Methods = tuple[tuple[str, str], ...]  # (component, method)

COMPONENTS = ("primary/admin", "secondary/vault", "secondary/backup", "third/shell", "external/tunnel")
METHODS: Methods = (
    ("primary/kernel", "load_module"),
    ("primary/kernel", "write_memory"),
    ("secondary/store", "dump"),
    ("secondary/store", "export_keys"),
    ("third/io", "execute"),
    ("forth/power", "flash"),
    ("external/network", "open_tunnel"),
)


PATHS = (
    "/.env", "/.git/config", "/admin", "/backup.sql", "/console", "/phpmyadmin/", "/server-status", "/wp-login.php",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """A port that nobody has a reason to connect to."""

    host: str
    port: int
    max_connections: int = 128
    max_per_address: int = 8


@dataclass(frozen=True, slots=True)
class DeceptionConfig:
    """The decoys of a host."""

    components: tuple[str, ...] = ()
    methods: Methods = ()
    paths: tuple[str, ...] = ()  # of HTTP
    files: tuple[Path, ...] = ()  # of the host, planted by the operator
    watch_files: bool = True
    endpoint: EndpointConfig | None = None


def read_deception(
    tree: Mapping[str, Any], real: Collection[str], builtin: Collection[str], folder: Path
) -> DeceptionConfig:
    """Return the decoys; relative paths start at `folder`.

    `real` are the components that there are, `builtin` those of them with a class of ours.
    """
    components = tuple(tree.get("components", (name for name in COMPONENTS if name not in real)))
    methods = tuple((address, method) for address, method in METHODS if address in builtin)
    if "methods" in tree:
        methods = tuple((address, method) for address, names in tree["methods"].items() for method in names)
    files = tuple(folder / path for path in tree.get("files", ()))
    paths = tuple(tree.get("paths", PATHS))
    endpoint = EndpointConfig(**tree["endpoint"]) if "endpoint" in tree else None
    return DeceptionConfig(components, methods, paths, files, tree.get("watch_files", True), endpoint)
