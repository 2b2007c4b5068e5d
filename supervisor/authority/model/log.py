"""What the authority writes into its log: one line each, on standard error."""

from __future__ import annotations

import os
import sys

from tlsrt.errors import MisuseError, PeerError
from tlsrt.text import sentence


def log(line: str) -> None:
    """Write one line."""
    try:
        print(f"authority: {sentence(line)}", file=sys.stderr, flush=True)
    except OSError:  # a full disk under the log stops nothing
        return


def one_line(error: Exception) -> str:
    """Return an exception as one line, with its place unless it is one of ours."""
    if isinstance(error, MisuseError | PeerError):
        return str(error)
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    return f"{type(error).__name__}: {error}{where}"
