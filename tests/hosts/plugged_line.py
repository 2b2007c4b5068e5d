"""A serial line that a test plugs and unplugs: a pseudo terminal behind a link below /dev, as udev makes them."""

from __future__ import annotations

import os
import pty
from pathlib import Path

from hosts.late_prelude import LatePrelude

# No component gets the terminal of a person, and a pty is the one line that a test can plug and unplug.
# One that is lost again and again is looked for less often, which the test takes away.
PTY_LINES = """
import tlsrt.supervisor.process.host_paths as paths
import tlsrt.supervisor.supervision.devices as devices
del paths.REFUSED_DRIVERS['pts']
devices.STEADY_S = 0.0
"""
PTYS = LatePrelude(PTY_LINES)


class Line:
    """A pty whose end for the component is found by a link below /dev, as that of a plugged device."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self.master = self.kept = -1

    def plug(self) -> None:
        self.master, self.kept = pty.openpty()
        self.path.symlink_to(f"../pts/{Path(os.ttyname(self.kept)).name}")

    def unplug(self) -> None:
        if self.master >= 0:
            self.path.unlink()
            os.close(self.kept)
            os.close(self.master)
            self.master = -1
