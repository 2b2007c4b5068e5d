"""`tlsrt-supervisor init`, `seal`, `schema` and `version`: the verbs before a start."""

from __future__ import annotations

import argparse
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tlsrt.errors import EX_USAGE, ConfigError
from tlsrt.supervisor.cli.exchange import RequestRefused, config_of, say

if TYPE_CHECKING:
    from tlsrt.config.schema import Config

SYSTEM_FOLDER = "/etc/tlsrt"


def init(arguments: argparse.Namespace) -> int:
    """Write a configuration that this host can run, with keys, certificates and an admin bundle."""
    from tlsrt.config.init import initialise
    from tlsrt.config.search_path import CONFIGURATION_VARIABLE
    from tlsrt.config.template import MissingLayer, system_places
    from tlsrt.supervisor.cli.needed_waivers import needed_waivers
    from tlsrt.supervisor.process.uids import other_uid_base

    if (arguments.directory is None) != arguments.system:
        raise RequestRefused(
            ["name the folder to write in, or give --system for a service in /etc/tlsrt; see --help"], EX_USAGE
        )
    directory = arguments.directory or Path(
        os.environ.get(CONFIGURATION_VARIABLE, "").partition(":")[0] or SYSTEM_FOLDER
    )
    waivers, sentences = needed_waivers()
    lines = initialise(
        directory,
        host=arguments.host,
        port=arguments.port,
        now=datetime.now(UTC),
        names=arguments.name or (),
        lacking=MissingLayer(() if arguments.strict else tuple(waivers), other_uid_base()),
        places=system_places(os.environ) if arguments.system else None,
        if_missing=arguments.if_missing,
    )
    print("\n".join(lines))
    if arguments.strict:
        sentences = [*sentences, *(f"this host cannot give {waiver.layer} ({waiver.reason})" for waiver in waivers)]
    say(*sentences)
    return 0


def check_whole(config: Config, *, is_written: bool = True) -> list[str]:
    """Refuse a host that would not start, and what would not be found out by its start. Raises ConfigError.

    Returns remarks about what was not refused. Of a configuration that is not written yet no manifests are compared.
    """
    from tlsrt.config.component_options import check_classes, check_options
    from tlsrt.config.declared_calls import check_calls
    from tlsrt.config.host_paths import check_host_paths
    from tlsrt.config.http_package import check_http
    from tlsrt.sandbox.profile.profile_files import ProfileFiles
    from tlsrt.supervisor.cli.sandbox import effective_of
    from tlsrt.supervisor.process.uids import AUTHORITY

    check_host_paths(config)
    check_options(config)
    check_classes(config)
    check_http(config)
    remarks = check_calls(config) if is_written else []
    files = ProfileFiles()
    for process in (AUTHORITY, *(loop.name for loop in config.loops)):
        effective_of(config, process, files)
    return remarks


def renew_boot_token(config: Config, *, older: int = 0) -> int:
    """Accept the host as it is now, and return the number of the boot token. Raises ConfigError."""
    from tlsrt.config.init import seal as renew_token
    from tlsrt.supervisor.cli.seal_record import seal_record_of

    return renew_token(config, seal_record_of(config), older_state=older)


def seal(arguments: argparse.Namespace) -> int:
    """Renew the boot token; refuse what would not start."""
    from tlsrt.config.differences import NAMED_MAX
    from tlsrt.config.init import seal_named
    from tlsrt.config.policy_methods import unknown_methods
    from tlsrt.supervisor.cli.component.journal import whole_config
    from tlsrt.supervisor.cli.release import named
    from tlsrt.supervisor.cli.seal_record import known_state_of, seal_record_of
    from tlsrt.supervisor.launch.fitting import fitting

    config = fitting(config_of(arguments) if arguments.diff else whole_config(arguments))
    remarks = check_whole(config)
    if arguments.diff:
        return _print_changes(config)
    older = known_state_of(config) if arguments.accept_older_state else 0
    number, verified, accepted = seal_named(config, seal_record_of(config), named(arguments), older_state=older)
    say(*(f"warning: {sentence}" for sentence in (*unknown_methods(config, config.policy), *config.remarks, *remarks)))
    say(*(f"warning: component {one.name} does not run: {one.sentence}" for one in config.failed))
    print(f"sealed: the boot token has number {number}; the next start accepts the host as it is now")
    if older:
        print(f"and a state of the authority that is older than number {older}, which the audit log knows")
    for line in verified:
        print(f"verified: {line}")
    for line in accepted[:NAMED_MAX]:
        print(f"accepted: {line}")
    if len(accepted) > NAMED_MAX:
        print(f"accepted: {len(accepted) - NAMED_MAX} more files")
    return 0


def _print_changes(config: Config) -> int:
    from tlsrt.config.init import changes

    found = changes(config)
    if found is None:
        raise ConfigError(f"there is no boot token at {config.boot_token} to compare with: run `tlsrt-supervisor seal`")
    print("\n".join(found) if found else "nothing differs from the boot token")
    return 0


def schema(arguments: argparse.Namespace) -> int:
    from tlsrt.config.json_schema import json_schema
    from tlsrt.config.manifest import SETTING

    found = json_schema(SETTING, "a manifest of tlsrt") if arguments.manifest else json_schema()
    print(json.dumps(found, indent=2))
    return 0


def version(arguments: argparse.Namespace) -> int:
    from tlsrt import __version__

    print(f"tlsrt {__version__}")
    return 0
