"""The verbs of the configuration itself, as data: `config show`, `config migrate` and `apply`."""

from __future__ import annotations

from pathlib import Path

from tlsrt.command_line.table import WIDE, Argument, Verb, flag
from tlsrt.supervisor.cli.flags import ANSWER, SAME

_YES = flag("--yes", "-y", text="do it without being asked")
CONFIG = (
    Verb(
        "show",
        "print each value of the configuration with the file, line and column that it comes from",
        (
            Argument(("key",), "only this key and what is below it, such as door.port", "KEY", nargs="?"),
            flag("--all", text="with the defaults of what no file says"), WIDE, SAME,
        ),
        run="configuration.show",
        lines="configuration.show_lines",
    ),
    Verb(
        "migrate",
        "show what changes in a configuration of an older version, and write it after a yes; comments stay",
        (flag("--dry-run", text="only show it"), _YES, ANSWER),
        run="configuration.migrate",
        lines="configuration.migrate_lines",
    ),
)  # fmt: skip
APPLY = Verb(
    "apply",
    "make the configuration of this host what a folder says, seal and reload it; all of it, or nothing",
    (
        Argument(("source",), "a folder with tlsrt.yaml, tlsrt.yaml.d or components.d, or one file of those", "DIR",
                 kind=Path),
        flag("--dry-run", text="show what would change, try it, and change nothing"),
        flag("--detailed-exitcode", text="end with 2 if something was changed (or would be), 0 if nothing"),
        _YES, ANSWER,
    ),
    run="apply.apply",
)  # fmt: skip
