"""`tlsrt-supervisor start`."""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from pathlib import Path

from tlsrt.config.import_path import bytecode_folder
from tlsrt.config.search_path import find_config
from tlsrt.config.trusted_path import check_trusted, trusted_uids

RESTORE = ".restore"  # what a `backup restore` that was interrupted has left; see backup/journal.py
COMPONENTS = "components.d"
ENDINGS = (".yaml", ".manifest")  # of files that count
CHANGE = f"{COMPONENTS}/.change"  # what a `component` command that was interrupted has left; see journal.py
_LEFT = (
    "warning: a change of the configuration was interrupted, or goes on, and a service may not write there: it starts "
    "with what is sealed; the next `tlsrt-supervisor apply`, `component` or `seal` undoes or completes the change"
)


def start(arguments: argparse.Namespace) -> int:
    """Run in the foreground until the supervisor ends; or start one loop of the host that runs."""
    if arguments.subject:
        from tlsrt.supervisor.cli.lifecycle import start_loop

        return start_loop(arguments)
    from tlsrt.supervisor.launch.cleanup import sweep
    from tlsrt.supervisor.launch.first_process import stay_behind_if_first
    from tlsrt.supervisor.launch.launcher import launch

    if (ended := stay_behind_if_first()) is not None:
        return ended
    path = os.path.abspath(find_config(arguments.config))
    check_trusted(Path(path), "the configuration", trusted_uids())  # here, where uids are the real ones
    for folder, endings in ((f"{path}.d", ENDINGS[:1]), (os.path.join(os.path.dirname(path), COMPONENTS), ENDINGS)):
        with suppress(OSError):  # the supervisor cannot read it either, and says so
            for name in sorted(os.listdir(folder)):
                if name.endswith(endings) and not name.startswith("."):
                    check_trusted(Path(folder, name), "the drop-in", trusted_uids())
    if os.path.lexists(Path(path).parent / RESTORE):
        from tlsrt.supervisor.cli.backup.journal import complete
        from tlsrt.supervisor.cli.exchange import say

        if done := complete(Path(path)):
            say(done)
    if os.path.lexists(Path(path).parent / CHANGE):
        from tlsrt.supervisor.cli.component.journal import recover
        from tlsrt.supervisor.cli.exchange import say

        if not _may_recover(Path(path).parent):
            say(_LEFT)
        elif done := recover(Path(path)):
            say(done)
    log = ["--log", arguments.log] if arguments.log else []
    return launch(["--config", path, *log], bytecode=bytecode_folder(Path(path)), sweep=sweep)


def _may_recover(folder: Path) -> bool:
    """Tell whether this process may write the configuration: a service may not, and to it all is read-only."""
    return os.access(folder, os.W_OK) and os.access(folder / COMPONENTS, os.W_OK)
