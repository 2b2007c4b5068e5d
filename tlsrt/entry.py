"""The two commands as pip installs them: from their first import on, Ctrl-C ends them with 130 and without a traceback.

What they import takes a while on a slow machine, and an interrupt in the middle of an import is handled by no code.
`command_line.run` gives interrupts back to the command, which may have something to tidy up.
"""

from __future__ import annotations

import os
import signal
from typing import NoReturn

_INTERRUPTED = 130  # errors.EX_INTERRUPTED


def end_on_interrupt() -> None:
    """End the process at once when Ctrl-C is pressed, where that is not ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def _end(number: int, frame: object) -> NoReturn:
    os._exit(_INTERRUPTED)


def client() -> int:
    """Run the command `tlsrt`."""
    end_on_interrupt()
    from tlsrt.channels.cli.main import main

    return main()


def supervisor() -> int:
    """Run the command `tlsrt-supervisor`."""
    end_on_interrupt()
    from tlsrt.supervisor.cli.main import main

    return main()
