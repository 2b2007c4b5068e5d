"""Importing the components of a loop: the operator's code, which may raise anything, in a half sealed process."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Sequence

from tlsrt.channels.life import FailCode
from tlsrt.config.schema import ComponentConfig
from tlsrt.loops.component import Component
from tlsrt.sandbox.imports import remember_sources


class LoopFailure(Exception):
    """Ends the process; the code goes to the supervisor, the sentence to the log."""

    def __init__(self, code: FailCode, index: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.index = index


def import_components(
    configs: Sequence[ComponentConfig], log: logging.Logger
) -> list[tuple[ComponentConfig, Component]]:
    """Return the components, made and not started. Raises LoopFailure for the first that cannot be imported."""
    made: list[tuple[ComponentConfig, Component]] = []
    for index, config in enumerate(configs):
        module, _, attribute = config.class_path.partition(":")
        try:
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
