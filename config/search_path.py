"""The places where the two commands find their file by default, in this order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tlsrt.errors import ConfigError

CONFIG_PLACES = (Path("var/tlsrt.yaml"), Path("/etc/tlsrt/tlsrt.yaml"))


def find_config(argument: str | None) -> Path:
    """Return the configuration's path: the argument, ./var/tlsrt.yaml, /etc/tlsrt/tlsrt.yaml. Raises ConfigError."""
    if argument is not None:
        return Path(argument)
    found = _first(CONFIG_PLACES)
    if found is None:
        raise ConfigError(
            f"there is no configuration at {_listed(CONFIG_PLACES)}: run `tlsrt-supervisor init var` to make one, "
            "or name it with --config FILE"
        )
    return found


def find_bundle(argument: str | None) -> Path:
    """Return the client bundle's path. Raises ConfigError.

    The argument, $TLSRT_BUNDLE, ./var/admin.tlsrt, client.tlsrt (which `enroll` writes) or admin.tlsrt in the user's
    configuration folder (XDG Base Directory Specification).
    """
    if argument is not None:
        return Path(argument)
    named = os.environ.get("TLSRT_BUNDLE")
    if named:
        return Path(named)
    places = (Path("var/admin.tlsrt"), own_bundle(), own_bundle().with_name("admin.tlsrt"))
    found = _first(places)
    if found is None:
        raise ConfigError(
            f"there is no client bundle: $TLSRT_BUNDLE is not set and nothing is at {_listed(places)}; "
            "name one with --bundle FILE"
        )
    return found


def own_bundle() -> Path:
    """Return where `tlsrt enroll` writes a bundle by default."""
    return _user_folder() / "tlsrt" / "client.tlsrt"


def _user_folder() -> Path:
    named = os.environ.get("XDG_CONFIG_HOME", "")
    return Path(named) if named.startswith("/") else Path(os.path.expanduser("~"), ".config")


def _first(places: Sequence[Path]) -> Path | None:
    return next((place for place in places if os.path.lexists(place)), None)


def _listed(places: Sequence[Path]) -> str:
    return " or ".join(str(place if place.is_absolute() else f"./{place}") for place in places)
