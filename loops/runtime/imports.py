"""Import of a loop's components: the operator's code, in a half sealed process."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence

from tlsrt.channels.control.life import FailCode
from tlsrt.config.components import ComponentConfig
from tlsrt.config.deception import DeceptionConfig
from tlsrt.config.processes import may_run_in
from tlsrt.loops.component.component import Component
from tlsrt.loops.runtime.thread_watch import ThreadWatch
from tlsrt.sandbox.apply.imports import remember_sources


class LoopFailure(Exception):
    """Ends the process; the code goes to the supervisor, the sentence to the log."""

    def __init__(self, code: FailCode, index: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.index = index


def check_placement(process: str, configs: Sequence[ComponentConfig]) -> None:
    """Raise LoopFailure for a component that this process may not host: Primary hosts the events and nothing else."""
    for index, config in enumerate(configs):
        if not may_run_in(process, config.address, is_builtin=config.builtin):
            sentence = f"component {config.address} cannot run in the process {process}: it has its own"
            raise LoopFailure(FailCode.IMPORT, index, sentence)


def import_components(
    configs: Sequence[ComponentConfig], log: logging.Logger, watch: ThreadWatch
) -> list[tuple[ComponentConfig, Component]]:
    """Return the components, made and not started. Raises LoopFailure for the first that cannot be imported."""
    made: list[tuple[ComponentConfig, Component]] = []
    for index, config in enumerate(configs):
        module, _, attribute = config.class_path.partition(":")
        try:
            with watch.component(index, config.address):
                kind = getattr(importlib.import_module(module), attribute)
                if not (isinstance(kind, type) and issubclass(kind, Component)):
                    raise TypeError(f"{config.class_path} is not a Component class")
                made.append((config, kind()))
        except Exception as error:
            log.exception("cannot import %s", config.class_path)
            raise LoopFailure(
                FailCode.IMPORT, index, f"component {config.address}: cannot import {config.class_path}: {error}"
            ) from error
    remember_sources({config.class_path.partition(".")[0].partition(":")[0] for config, _ in made})
    return made


def check_decoys(components: Sequence[tuple[ComponentConfig, Component]], decoys: DeceptionConfig) -> None:
    """Raise LoopFailure for a method that is real and a decoy: its user would be taken for an attacker."""
    for index, (config, component) in enumerate(components):
        for address, method in decoys.methods:
            if address == config.address and method in component.__tlsrt_methods__:
                sentence = f"{address} has a method {method}, so it cannot be a decoy: take it out of deception.methods"
                raise LoopFailure(FailCode.IMPORT, index, sentence)
