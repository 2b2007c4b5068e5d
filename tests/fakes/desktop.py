"""A real notification daemon (dunst) on a bus of its own and an X server without a screen (Xvfb)."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dbus_fast import Message
from hosts.running_host import uid_base
from tools.programs import need

from fakes.bus_daemon import BusServices, bus_daemon

_CONTROL, _PATH = "org.dunstproject.cmd0", "/org/freedesktop/Notifications"
NAME = "org.freedesktop.Notifications"


class Desktop:
    """A bus at `bus`, and what dunst shows there."""

    def __init__(self, bus: Path) -> None:
        self.bus = bus
        self._services = BusServices(bus, "org.example.Test")

    def shown(self) -> int:
        """Return how many bubbles there are."""
        return int(self._ask("org.freedesktop.DBus.Properties", "Get", "ss", _CONTROL, "displayedLength")[0].value)

    def close_all(self) -> None:
        """Close all bubbles, as a person does."""
        self._ask(_CONTROL, "NotificationCloseAll", "")

    def press(self) -> None:
        """Press the button of the latest bubble."""
        self._ask(_CONTROL, "NotificationAction", "u", 0)

    def history(self) -> list[dict[str, Any]]:
        """Return the closed bubbles, the latest first."""
        (rows,) = self._ask(_CONTROL, "NotificationListHistory", "")
        return [{name: variant.value for name, variant in row.items()} for row in rows]

    def close(self) -> None:
        self._services.close()

    def _ask(self, interface: str, member: str, signature: str, *body: object) -> list[Any]:
        asked = Message(NAME, _PATH, interface, member, signature=signature, body=list(body))
        [bus] = self._services.buses.values()
        answer: Any = self._services.run(bus.call(asked))
        assert answer.error_name is None, (answer.error_name, answer.body)
        return list(answer.body)


@contextmanager
def desktop() -> Iterator[Desktop]:
    """Run all of it until the end of the block."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tlsrt-desktop.")))
        folder.chmod(0o755)
        base = uid_base()
        bus = folder / "bus"
        stack.enter_context(bus_daemon(bus, range(base, base + 512)))
        reader, writer = os.pipe()
        command = [need("Xvfb"), "-displayfd", str(writer), "-nolisten", "tcp", "-screen", "0", "640x480x24"]
        screen = stack.enter_context(
            subprocess.Popen(command, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        stack.callback(screen.terminate)
        os.close(writer)
        with os.fdopen(reader) as lines:
            number = lines.readline().strip()
        environment = {**os.environ, "DISPLAY": f":{number}", "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"}
        daemon = stack.enter_context(
            subprocess.Popen(
                [need("dunst"), "-conf", "/dev/null"],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        stack.callback(daemon.terminate)
        made = Desktop(bus)
        stack.callback(made.close)
        yield made
