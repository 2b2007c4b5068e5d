"""Added components that ask for what no process of this host can have: the host runs without them.

They are judged one after the other, beside those that were accepted before: where two cannot be had together, the one
that comes later in the order of the configuration is left out, and what stands in the configuration itself stays.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tlsrt.config.components import ComponentConfig
from tlsrt.config.failed import FailedComponent
from tlsrt.config.isolation import check_isolated, isolated_folders
from tlsrt.config.package_survey import surveyed
from tlsrt.config.packages import code_roots, worker_code_of
from tlsrt.config.program_files import files_of_programs
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError, SandboxError
from tlsrt.sandbox.profile.compose import check_requests
from tlsrt.sandbox.profile.profile_files import ProfileFiles


def fitting(config: Config, not_installed: Collection[str] = ()) -> Config:
    """Return a configuration whose added components can be confined; the others are in `failed`.

    The packages of some components may be `not_installed` yet.
    """
    added = [one for one in config.components if one.origin]
    if not added:
        return config
    files = ProfileFiles()
    waiting = {one.address for one in added}
    failed: list[FailedComponent] = []
    with surveyed():
        for component in added:
            waiting.discard(component.address)
            left_out = {*waiting, *(one.name for one in failed)}
            try:
                _check(without(config, left_out), component, files, installed=component.address not in not_installed)
            except ConfigError as error:
                failed.append(FailedComponent(component.address, error.problems))
    gone = without(config, {one.name for one in failed})
    return replace(gone, failed=(*config.failed, *failed))


def check_fits(config: Config, address: str) -> None:
    """Refuse a component, whose package may not be installed yet, if it cannot be confined. Raises ConfigError."""
    component = next(one for one in config.components if one.address == address)
    _check(config, component, ProfileFiles(), installed=False)


def _check(config: Config, component: ComponentConfig, files: ProfileFiles, *, installed: bool) -> None:
    """Check the process of a component, and those whose writable folders it might read."""
    writers = {one.process for one in config.components if one.needs.write}
    for process in {component.process, *writers}:
        placed = config.components_of(process)
        try:
            for folder in isolated_folders(placed) if installed else ():
                check_isolated(folder)
            code = code_roots(config, placed) if installed else []
            check_requests(config, config.loop(process), files, code)
        except SandboxError as error:
            raise ConfigError(f"{component.address}: {error.reason}") from None
    files_of_programs((component,), worker_code_of(config) if installed else None)


def without(config: Config, gone: Collection[str]) -> Config:
    """Return a configuration without these components, their processes and the lines of policy about them."""
    if not gone:
        return config
    ended = {one.process for one in config.components if one.address in gone and one.part == one.name}
    return replace(
        config,
        components=tuple(one for one in config.components if one.address not in gone),
        loops=tuple(loop for loop in config.loops if loop.name not in ended),
        policy=tuple(rule for rule in config.policy if rule.source not in gone and rule.target not in gone),
    )
