"""The files and folders that a configuration names: none of them may be exchanged by another user."""

from __future__ import annotations

from tlsrt.config.drop_ins import drop_in_files, drop_in_folder
from tlsrt.config.import_path import bytecode_folder
from tlsrt.config.isolation import packages_folder
from tlsrt.config.key_providers import CA_KEY
from tlsrt.config.schema import Config
from tlsrt.config.trusted_path import check_trusted, trusted_uids


def check_host_paths(config: Config) -> None:
    """Refuse a host of which another user could exchange keys, state, socket or byte code. Raises ConfigError."""
    door = config.door
    named = [
        (config.path, "the configuration"), (config.boot_token, "the boot token"),
        (config.master_key.path, "master_key"),
        (door.client_ca_key, CA_KEY), (door.key, "the door's key"), (door.certificate, "the door's certificate"),
        (door.client_ca, "the client CA"), (config.state_dir, "the state folder"),
        (config.run_dir, "the folder of the control socket"), (config.log_dir, "the folder of logs"),
        (bytecode_folder(config.path), "the byte code"), (packages_folder(config.path), "the packages of components"),
        (drop_in_folder(config.path), "the folder of components"),
        *((drop_in_folder(config.path) / name, "a component's file") for name in drop_in_files(config.path)),
    ]  # fmt: skip
    named += [
        (path, f"the program {program.name} of {component.address}")
        for component in config.components
        for program in component.all_programs
        for path in (program.run, *program.also_runs)
    ]
    uids = trusted_uids()
    for path, what in named:
        if path is not None:
            check_trusted(path, what, uids)
