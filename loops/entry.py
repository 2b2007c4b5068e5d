"""Where the supervisor enters a loop: it starts `run_loop` by name, in the forked child.

Importing this module imports everything a loop needs, built-in components included: the supervisor does it once,
before it forks, so that a loop starts in milliseconds and shares the memory.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable, Mapping

from tlsrt.config.code_look import ProcessCode
from tlsrt.config.defaults import COMPONENTS
from tlsrt.config.listeners import Interface
from tlsrt.config.processes import DOOR_PROCESS
from tlsrt.config.schema import Config
from tlsrt.config.secrets import Sealings
from tlsrt.loops.doorway.loop import DoorLoop
from tlsrt.loops.log_lines import LineFormatter
from tlsrt.loops.primary.loop import PrimaryLoop
from tlsrt.loops.runtime.linked_loop import LinkedLoop
from tlsrt.loops.runtime.process import LoopProcess
from tlsrt.loops.runtime.role import LoopRole
from tlsrt.sandbox.apply.enter import Confinement

ROLES: Mapping[str, Callable[[LoopProcess], LoopRole]] = {
    "primary": PrimaryLoop,
    DOOR_PROCESS: DoorLoop,
}  # of all others: LinkedLoop

for _component in COMPONENTS:
    importlib.import_module(_component.class_path.partition(":")[0])


def run_loop(
    config: Config, loop: str, incarnation: int, life: int, trust: int, listeners: Mapping[str, int],
    confinement: Confinement, sealings: Mapping[str, Sealings], interfaces: Mapping[str, Interface],
    code: ProcessCode,
) -> int:  # fmt: skip
    """Run a loop to its end and return the exit code.

    `listeners` holds Primary's listening descriptors by name, `sealings` the sealed secrets of its components,
    `interfaces` those on which its listeners have joined a group, by the same names; `code` says how all that it may
    import was measured.
    """
    set_up_logging()
    role = ROLES.get(loop, LinkedLoop)
    process = LoopProcess(
        config, loop, incarnation, life, trust, listeners, confinement, role, sealings, interfaces, code
    )
    return process.run()


def set_up_logging() -> None:
    """Log to stderr, which the supervisor has made this loop's own log file."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.captureWarnings(True)
    os.umask(0o077)
