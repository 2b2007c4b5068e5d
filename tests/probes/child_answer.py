"""An answer of a forked child, whose limits, filters and identity are its own from then on."""

from __future__ import annotations

import os
from collections.abc import Callable


def answer_of(question: Callable[[], object]) -> str:
    """Ask a child, and return what `repr` says of its answer, or of what it raised."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, repr(question()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode()
    os.waitpid(pid, 0)
    return said
