"""An input device that a test plugs and unplugs: a pseudo terminal that says what evdev would, 24 bytes an event.

The kernel of a test machine may have neither an input device nor uinput to make one.
"""

from __future__ import annotations

import os

from hosts.late_prelude import LatePrelude
from hosts.plugged_line import PTY_LINES, Line
from tlsrt.loops.third.input_events import EVENT, KEY, InputEvent

# A terminal stands for an input device, is set as the line that it is, and cannot be grabbed.
INPUTS = LatePrelude(
    PTY_LINES
    + """
paths.is_event_device = lambda names, minor: 'pts' in names
import tlsrt.supervisor.helper.main as helper
from tlsrt.supervisor.helper.tty import Line
_open = helper.open_device
def raw(message, place):
    if message.grabs:
        return helper.Answer(25)  # ENOTTY, as the kernel would say
    return _open(message._replace(is_tty=1, baud=9600, raw=1, bits=8, stop_bits=1), place)
helper.ACTIONS = {**helper.ACTIONS, 'open': (raw, 'a test')}
"""
)


class Keys(Line):
    """A keyboard."""

    def press(self, *codes: int) -> None:
        """Press and release keys, one after the other."""
        events = [InputEvent(KEY, code, value) for code in codes for value in (1, 0)]
        os.write(self.master, b"".join(EVENT.pack(1, 2, *one) for one in events))
