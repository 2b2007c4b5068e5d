"""The processes that a reload adds: what they need before they can be forked, made while the reload may be refused.

Their uids are written down, their folders made, and each has its log, and the socket on which Primary takes its link.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from tlsrt.sandbox.profile.program_profile import slots_with_state
from tlsrt.supervisor.process.folders import make_folders
from tlsrt.supervisor.process.listeners import channel_listener, remove_socket
from tlsrt.supervisor.process.logs import open_log
from tlsrt.supervisor.supervision.context import Renewal
from tlsrt.supervisor.supervision.loops import Loops


class Additions:
    """What is new in one reload. `take` it or `close` it."""

    def __init__(self, renewal: Renewal, names: Sequence[str]) -> None:
        """Make it. Raises ConfigError, and leaves nothing open then."""
        self._config = renewal.config
        self._listeners: dict[str, int] = {}
        self._logs: dict[str, int] = {}
        lacking = [slot for slot in slots_with_state(self._config) if not (self._config.state_dir / slot).is_dir()]
        if not names and not lacking:
            return
        renewal.children.reserve()
        make_folders(self._config, renewal.children.uid)
        try:
            for name in names:
                self._logs[name] = open_log(self._config, name)
                self._listeners[name] = channel_listener(self._config, name, renewal.children.uid(name))
        except BaseException:
            self.close()
            raise

    def take(self, loops: Loops) -> None:
        """Have them supervised from now on; they are down, and Primary knows where they will connect."""
        for name, listener in self._listeners.items():
            loops.add(self._config.loop(name), listener, self._logs[name])
        self._listeners.clear()
        self._logs.clear()

    def close(self) -> None:
        """Let go of what was made: the reload is refused."""
        for name, listener in self._listeners.items():
            os.close(listener)
            remove_socket(self._config, name)
        for log in self._logs.values():
            os.close(log)
        self._listeners.clear()
        self._logs.clear()
