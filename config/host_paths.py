"""The files and folders that a configuration names: none of them may be exchanged by another user."""

from __future__ import annotations

from pathlib import Path

from tlsrt.config.config_drop_ins import config_drop_in_folder, read_config_drop_ins
from tlsrt.config.drop_ins import drop_in_files, drop_in_folder
from tlsrt.config.import_path import bytecode_folder
from tlsrt.config.isolation import packages_folder
from tlsrt.config.key_providers import CA_KEY
from tlsrt.config.schema import Config
from tlsrt.config.service_user import service_uids
from tlsrt.config.setting import Where
from tlsrt.config.trusted_path import check_trusted, trusted_uids


def check_host_paths(config: Config) -> None:
    """Refuse a host of which another user could exchange keys, state, socket or byte code. Raises ConfigError."""
    for path, what, _ in named_paths(config):
        check_trusted(path, what, uids_for(config, path))


def uids_for(config: Config, path: Path) -> frozenset[int]:
    """Return who may own a path of a host: what the host itself writes is its service's too."""
    is_written = path in (config.state_dir, config.run_dir, config.log_dir)
    return trusted_uids() | (service_uids(config.path) if is_written else frozenset())


def named_paths(config: Config) -> list[tuple[Path, str, Where]]:
    """Return every path that no other user may exchange, what it is, and the key that names it."""
    door, home = config.door, config.path
    named: list[tuple[Path | None, str, Where]] = [
        (home, "the configuration", ()), (config.boot_token, "the boot token", ("boot_token",)),
        (config.master_key.path, "master_key", ("master_key", "path")),
        (door.client_ca_key, CA_KEY, ("door", "client_ca_key")), (door.key, "the door's key", ("door", "key")),
        (door.certificate, "the door's certificate", ("door", "certificate")),
        (door.client_ca, "the client CA", ("door", "client_ca")),
        (config.state_dir, "the state folder", ("state_dir",)),
        (config.run_dir, "the folder of the control socket", ("run_dir",)),
        (config.log_dir, "the folder of logs", ("log_dir",)),
        (bytecode_folder(home), "the byte code", ()), (packages_folder(home), "the packages of components", ()),
        (config_drop_in_folder(home), "the folder of drop-ins", ()),
        *((config_drop_in_folder(home) / name, "the drop-in", ()) for name in read_config_drop_ins(home)),
        (drop_in_folder(home), "the folder of components", ()),
        *((drop_in_folder(home) / name, "a component's file", ()) for name in drop_in_files(home)),
    ]  # fmt: skip
    named += [
        (path, f"the program {program.name} of {component.address}", ("components", component.address))
        for component in config.components
        for program in component.all_programs
        for path in (program.run, *program.also_runs)
    ]
    if config.acme.origin is not None:
        named.append((config.acme.roots, "the CAs by which the CA of acme is known", ("acme", "roots")))
    if config.metrics.place is not None and config.metrics.place.path:
        folder = Path(config.metrics.place.path).parent
        named.append((folder, "the folder of the socket for metrics", ("metrics", "listen")))
    named += [
        (path, f"a file of {collector.kind}", ())
        for collector in config.collectors
        for path in (collector.ca, collector.certificate, collector.key)
    ]
    return [(path, what, where) for path, what, where in named if path is not None]
