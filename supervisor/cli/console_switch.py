"""What `console` needs of a host, switched on in one step: the console at the door, and the services of a role.

Each is asked for first, and taken as one change: written, sealed, taken by the running host, or as before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tlsrt.config.config_drop_ins import PREFIX, config_drop_in_folder
from tlsrt.config.schema import Config
from tlsrt.errors import ConfigError
from tlsrt.supervisor.cli.apply import planned
from tlsrt.supervisor.cli.approval import is_approved
from tlsrt.supervisor.cli.component.addition import begin
from tlsrt.supervisor.cli.component.journal import whole_config
from tlsrt.supervisor.cli.component.verbs import add
from tlsrt.supervisor.cli.exchange import config_of, say

DROP_IN = "50-console.yaml"
_CONTENT = "# Written by `tlsrt-supervisor console`: the door serves browsers. Without this file it does not.\n" \
           "door:\n  console: true\n"  # fmt: skip


def switched_on(arguments: argparse.Namespace, services: list[str]) -> Config:
    """Return the configuration of a host that serves browsers, after a yes if it did not. Raises ConfigError.

    `services` that are not added are offered, too; without them, and without a yes, it goes on.
    """
    config = config_of(arguments)
    asked = arguments.enable or sys.stdin.isatty()
    if not config.door.console:
        if not asked:
            require_switched_on(config)
        _switch_on(arguments)
    for name in services if asked else ():
        _add(arguments, name)
    return config_of(arguments)


def require_switched_on(config: Config) -> None:
    """Raise ConfigError for a host that serves no browsers."""
    if not config.door.console:
        raise ConfigError(
            "the console is off: say `tlsrt-supervisor console --enable`, which writes `door.console: true` to "
            f"{config_drop_in_folder(config.path) / DROP_IN}, seals it, and has the running host take it"
        )


def _switch_on(arguments: argparse.Namespace) -> None:
    config = whole_config(arguments)
    folder = config_drop_in_folder(config.path)
    accepts = {f"{PREFIX}{DROP_IN}"}
    with tempfile.TemporaryDirectory(prefix="tlsrt-console-") as scratch, begin(config, accepts.__contains__) as change:
        source = Path(scratch, DROP_IN)
        source.write_text(_CONTENT)
        plan = planned(config, source, Path(scratch))
        if not plan.made.door.console:
            raise ConfigError(f"another file of {folder} says that door.console is off, after {DROP_IN}: change that")
        blocks = [["the console is off. To switch it on:", *line] for line in plan.blocks]
        question = "Switch it on, seal it, and have the running host take it?"
        if not is_approved(blocks, argparse.Namespace(json=arguments.json, yes=arguments.enable), question):
            raise ConfigError("the console stays off, so there is no link")
        change.check_sealed()
        change.take(plan.after)
    say("the console is on: sealed, and taken by the running host")


def _add(arguments: argparse.Namespace, name: str) -> None:
    """Add a service that the role is for; a no leaves it away."""
    wish = {"source": name, "only": None, "place": None, "option": None, "needs": None, "allow": ["none"]}
    words = argparse.Namespace(
        config=arguments.config, json=arguments.json, yes=arguments.enable, isolated=False, **wish
    )  # fmt: skip
    add(words)
