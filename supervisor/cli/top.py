"""`tlsrt-supervisor top`: the host as a screen, or as a plain table where there is no screen."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec

from tlsrt.errors import EX_SOFTWARE
from tlsrt.supervisor.cli.exchange import ask, connect, host_of, say
from tlsrt.supervisor.cli.status import follow, status_lines

INSTALL = "`pip install 'tlsrt[tui]'` makes a screen of it, with keys"
_NO_TERMINAL = "this is no terminal, so a plain table follows; at a terminal, `top` is a screen"


def top(arguments: argparse.Namespace) -> int:
    """Show the screen until `q`; the plain table with `--plain`, or where there is no terminal or no Textual."""
    if arguments.json or arguments.plain:
        return follow(arguments)
    if not _is_screen():
        say(_NO_TERMINAL)
        return follow(arguments)
    if find_spec("textual") is None:
        return follow(arguments, INSTALL)
    host = host_of(arguments)
    connect(host).close()  # a host that does not run is told in words
    from tlsrt.supervisor.cli.subject import detail, detail_lines
    from tlsrt.supervisor.cli.top_feed import HostFeed
    from tlsrt.supervisor.cli.top_rows import SUPERVISOR
    from tlsrt.supervisor.cli.top_screen import TopScreen
    from tlsrt.supervisor.cli.top_services import Services, operator_bundle
    from tlsrt.supervisor.cli.top_terminal import terminal_of

    def detail_of(subject: str) -> list[str]:
        if subject == SUPERVISOR:
            return status_lines(ask(host, "status"))
        return detail_lines(detail(argparse.Namespace(**{**vars(arguments), "subject": subject})))

    services = Services(lambda: operator_bundle(arguments, getattr(host, "install_id", None)))
    terminal = terminal_of(os.environ)
    if terminal.is_old:
        os.environ["NO_COLOR"] = "1"  # which Textual reads
    screen = TopScreen(HostFeed(host, arguments.interval, detail_of, services.kept), terminal=terminal)
    try:
        screen.run(mouse=not terminal.is_old)
    finally:
        services.close()
    return EX_SOFTWARE if screen.return_code else 0


def _is_screen() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
