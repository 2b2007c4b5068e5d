"""The part `deception`: decoys, their values and their checks. Pure.

The names are plausible and nothing is behind them. A name that the operator gives to something real is no decoy: of
the usual ones it is left out in silence, of those in the file it is a mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tlsrt.config.setting import (
    ADDRESS,
    ADDRESS_SAYS,
    IDENTIFIER,
    Builder,
    boolean,
    count,
    file_path,
    listing,
    mapping,
    table,
    text,
)
from tlsrt.config.validation import Checker
from tlsrt.text import did_you_mean

Methods = tuple[tuple[str, str], ...]  # (component, method)

COMPONENTS = ("primary/admin", "secondary/vault", "secondary/archive", "third/shell", "external/tunnel")
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


def _address(text: str) -> str:
    ip_address(text)
    return text


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """A port that looks like TLS and holds connections open; without it there is none."""

    host: str = field(
        metadata=text(
            "The address to listen on.",
            pattern=r"[0-9A-Fa-f.:]{2,45}",
            says="an IP address, such as 127.0.0.1, or 0.0.0.0 for all",
            parse=_address,
            example="192.0.2.1",
        )
    )
    port: int = field(metadata=count("The TCP port.", 1, 65535, example="8443"))
    max_connections: int = field(default=128, metadata=count("Connections at a time.", 1, 4096))
    max_per_address: int = field(default=8, metadata=count("The same for one address.", 1, 4096))


@dataclass(frozen=True, slots=True)
class DeceptionConfig:
    """Decoys, which have no honest use: who accesses one is reported. Empty lists switch them off."""

    components: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Addresses with nothing behind them.",
            text("An address.", pattern=ADDRESS, says=ADDRESS_SAYS),
            64,
            default_says="some plausible ones",
            example="[secondary/vault, third/shell]",
        ),
    )
    methods: Methods = field(
        default=(),
        metadata=mapping(
            "Components, and methods that they do not have.",
            listing("Methods.", text("A method.", pattern=IDENTIFIER, says="a method name", most=64), 64, least=1),
            64,
            ADDRESS,
            ADDRESS_SAYS,
            default_says="some of the built-in components",
            example="{secondary/store: [dump, export_keys]}",
        ),
    )
    paths: tuple[str, ...] = field(
        default=(),
        metadata=listing(
            "Paths of HTTP that are answered with 404, such as scanners ask for.",
            text("A path.", pattern="/(?!v1(/|$))[!->@-~]*", says="a path outside of /v1", most=128),
            64,
            default=list(PATHS),
        ),
    )
    files: tuple[Path, ...] = field(
        default=(),
        metadata=listing(
            "Canary files of the host, planted by `honeypot plant`; opening one is reported.",
            file_path("A file."),
            64,
            example="[/home/backup/credentials]",
        ),
    )
    watch_files: bool = field(
        default=True,
        metadata=boolean("Report when a canary file is opened, also in the root of every process and in state_dir."),
    )
    endpoint: EndpointConfig | None = field(default=None, metadata=table(EndpointConfig))


def read_deception(
    tree: Mapping[str, Any], real: Collection[str], builtin: Collection[str], builder: Builder
) -> DeceptionConfig:
    """Return the decoys. `real` are the components that there are, `builtin` those of them with a class of ours."""
    values = builder.values(DeceptionConfig, tree)
    values.setdefault("components", tuple(name for name in COMPONENTS if name not in real))
    named = tree.get("methods")
    if named is None:
        values["methods"] = tuple((address, method) for address, method in METHODS if address in builtin)
    else:
        values["methods"] = tuple((address, method) for address, methods in named.items() for method in methods)
    return DeceptionConfig(**values)


def check_deception(tree: Mapping[str, Any], real: Collection[str], checker: Checker) -> None:
    """Add a problem for a decoy with the name of something real, and for a method of nothing."""
    components = tree.get("components")
    for index, name in enumerate(components if isinstance(components, list) else ()):
        where = ("deception", "components", str(index))
        if isinstance(name, str) and name in real:
            checker.refuse(where, f"deception: {name} is a real component, so it cannot be a decoy")
        elif isinstance(name, str) and name.startswith("client/"):
            checker.refuse(where, f"deception: {name} is a client, which cannot be called: name a loop")
    methods = tree.get("methods")
    for address in methods if isinstance(methods, dict) else ():
        where = ("deception", "methods", address)
        if address not in real and where in checker.marks:
            checker.refuse(where, f"deception: there is no component {address}{did_you_mean(address, real)}")
