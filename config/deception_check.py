"""What the part `deception` of a file may say: its fields, and the sentences about decoys that are none."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Any

from tlsrt.config.deception import EndpointConfig
from tlsrt.config.field import NAME, Field, count, defaults_of, path
from tlsrt.config.validation import Checker, nearest

_ENDPOINT = defaults_of(EndpointConfig)
_ADDRESS = rf"{NAME}/{NAME}"
_ADDRESS_SAYS = "a component address, loop/name"
DECEPTION = Field(
    kind="table",
    about="Decoys, which nobody has a reason to touch: whoever does is reported. Empty lists switch them off.",
    fields={
        "components": Field(
            kind="list",
            about="Addresses with nothing behind them. Without a word, some plausible ones.",
            most=64,
            item=Field(kind="text", about="An address.", pattern=_ADDRESS, says=_ADDRESS_SAYS),
        ),
        "methods": Field(
            kind="map",
            about="Components, and methods that they do not have. Without a word, some of the built-in components.",
            most=64,
            pattern=_ADDRESS,
            says=_ADDRESS_SAYS,
            item=Field(
                kind="list",
                about="Methods.",
                least=1,
                most=64,
                item=Field(
                    kind="text", about="A method.", pattern="[A-Za-z_][A-Za-z0-9_]*", says="a method name", most=64
                ),
            ),
        ),
        "files": Field(
            kind="list",
            about="Canary files of the host, planted by `honeypot plant`; opening one is told.",
            default=[],
            most=64,
            item=path("A file."),
        ),
        "watch_files": Field(
            kind="boolean",
            about="Tell when a canary file is opened, also those in the root of every process and in state_dir.",
            default=True,
        ),
        "endpoint": Field(
            kind="table",
            about="A port that looks like TLS and lets nobody go soon; without it there is none.",
            fields={
                "host": Field(
                    kind="text",
                    about="The address to listen on.",
                    required=True,
                    pattern=r"[0-9A-Fa-f.:]{2,45}",
                    says="an IP address, such as 127.0.0.1, or 0.0.0.0 for all",
                    parse=ip_address,
                ),
                "port": Field(kind="integer", about="The TCP port.", required=True, least=1, most=65535),
                "max_connections": count("Connections at a time.", _ENDPOINT["max_connections"], 1, 4096),
                "max_per_address": count("The same for one address.", _ENDPOINT["max_per_address"], 1, 4096),
            },
        ),
        "paths": Field(
            kind="list",
            about="Paths of HTTP that are answered with 404. Without a word, some that scanners ask for.",
            most=64,
            item=Field(
                kind="text", about="A path.", pattern="/(?!v1(/|$))[!->@-~]*", says="a path outside of /v1", most=128
            ),
        ),
    },
)


def check_deception(tree: Mapping[str, Any], real: Collection[str], checker: Checker) -> None:
    """Add a problem for a decoy that something real has the name of, and for a method of nothing."""
    components = tree.get("components")
    for index, name in enumerate(components if isinstance(components, list) else ()):
        mark = checker.marks["deception", "components", str(index)]
        if isinstance(name, str) and name in real:
            checker.problems.add(*mark, f"deception: {name} is a real component, so it cannot be a decoy")
        elif isinstance(name, str) and name.startswith("client/"):
            checker.problems.add(*mark, f"deception: {name} is a client, and nobody calls those: name a loop")
    methods = tree.get("methods")
    for address in methods if isinstance(methods, dict) else ():
        if address not in real and ("deception", "methods", address) in checker.marks:
            sentence = f"deception: there is no component {address}{nearest(address, real)}"
            checker.problems.add(*checker.marks["deception", "methods", address], sentence)
