"""The places where the two commands find their file by default, in this order.

Root takes nothing from below the current folder, which may be another user's: a configuration there has to be named,
and a bundle there must lie where only root writes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tlsrt.config.trusted_path import check_trusted, trusted_uids
from tlsrt.errors import ConfigError

CONFIGURATION_VARIABLE = "CONFIGURATION_DIRECTORY"  # systemd.exec(5)
CONFIG_PLACES = (Path("var/tlsrt.yaml"), Path("/etc/tlsrt/tlsrt.yaml"))


def find_config(argument: str | None) -> Path:
    """Return the configuration's path: the argument, $TLSRT_CONFIG, ./var/tlsrt.yaml (but not for root), or in /etc.

    A unit with ConfigurationDirectory= names one before the last two.

    Raises ConfigError.
    """
    named = argument or os.environ.get("TLSRT_CONFIG")
    if named:
        return Path(named)
    folder = os.environ.get(CONFIGURATION_VARIABLE, "").partition(":")[0]
    if folder.startswith("/") and os.path.lexists(os.path.join(folder, "tlsrt.yaml")):
        return Path(folder, "tlsrt.yaml")
    here, *others = CONFIG_PLACES
    found = _first(CONFIG_PLACES if os.geteuid() != 0 else others)
    if found is not None:
        return found
    if os.path.lexists(here):
        raise ConfigError(
            f"root takes no configuration from the folder it stands in, and there is none at {_listed(others)}: if you "
            f"trust it, name it with --config {here}"
        )
    raise ConfigError(
        f"there is no configuration at {_listed(CONFIG_PLACES)}: run `tlsrt-supervisor init var` to make one, "
        "or name it with --config FILE"
    )


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
    here, *others = (Path("var/admin.tlsrt"), own_bundle(), own_bundle().with_name("admin.tlsrt"))
    places = [here, *others] if os.geteuid() != 0 or _is_own(here) else others
    found = _first(places)
    if found is None:
        raise ConfigError(
            f"there is no client bundle: $TLSRT_BUNDLE is not set and nothing is at {_listed(places)}; "
            "name one with --bundle FILE"
        )
    return found


def _is_own(path: Path) -> bool:
    try:
        check_trusted(path, "the bundle", trusted_uids())
    except ConfigError:
        return False
    return True


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
