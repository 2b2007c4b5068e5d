"""The package that HTTP needs, which a host has to have, but not the environment of a command that asks it."""

from __future__ import annotations

from tlsrt.config.package_search import has_http
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError

_NEEDS = "which needs the package h11: pip install 'tlsrt[http]'"


def check_http(config: Config) -> None:
    """Refuse a host that is to serve HTTP without the package that parses it. Raises ConfigError."""
    if has_http():
        return
    sentences = ["the door is to serve HTTP"] if config.door.http else []
    sentences += [f"client {client.name} is to use HTTP" for client in config.clients if client.http]
    if sentences:
        raise ConfigError([f"{config.path}: {sentence}, {_NEEDS}" for sentence in sentences])
