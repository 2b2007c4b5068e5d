"""Added components that ask for what no process of this host can have: the host runs without them."""

from __future__ import annotations

from dataclasses import replace

from tlsrt.config.components import ComponentConfig
from tlsrt.config.failed import FailedComponent
from tlsrt.config.packages import code_roots
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.sandbox.profile.profile_files import ProfileFiles
from tlsrt.sandbox.profile.requested import check_requests


def fitting(config: Config) -> Config:
    """Return a configuration whose added components can be confined; the others are in `failed`."""
    failed: list[FailedComponent] = []
    files = ProfileFiles()
    for component in config.components:
        if not component.origin:
            continue
        try:
            code = code_roots(config, config.components_of(component.process))
            check_requests(config, config.loop(component.process), files, code)
        except ConfigError as error:
            failed.append(FailedComponent(component.address, error.problems))
    return without(config, failed)


def without(config: Config, failed: list[FailedComponent]) -> Config:
    """Return a configuration in which these components have failed."""
    if not failed:
        return config
    gone = {one.name for one in failed}
    kept = tuple(one for one in config.components if one.address not in gone)
    ended = {one.process for one in config.components if _is_alone(one, gone)}
    return replace(
        config,
        components=kept,
        loops=tuple(loop for loop in config.loops if loop.name not in ended),
        policy=tuple(rule for rule in config.policy if rule.source not in gone and rule.target not in gone),
        failed=(*config.failed, *failed),
    )


def _is_alone(component: ComponentConfig, gone: set[str]) -> bool:
    return component.address in gone and component.part == component.name
