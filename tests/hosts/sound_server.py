"""A real PipeWire with a null sink, in a folder of its own, that speaks the protocol of PulseAudio by TCP on loopback.

It has no device: what is played on the sink `out` can be recorded from `out.monitor`. It runs without systemd or D-Bus.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tools.programs import need

SINK = (
    "{ factory.name=support.null-audio-sink node.name=out media.class=Audio/Sink object.linger=true "
    "audio.position=[FL FR] }"
)
PULSE = """
context.spa-libs = {{ audio.convert.* = audioconvert/libspa-audioconvert support.* = support/libspa-support }}
context.modules = [
  {{ name = libpipewire-module-protocol-native }}
  {{ name = libpipewire-module-client-node }}
  {{ name = libpipewire-module-adapter }}
  {{ name = libpipewire-module-metadata }}
  {{ name = libpipewire-module-protocol-pulse }}
]
pulse.properties = {{ server.address = [ {{ address = "tcp:127.0.0.1:{port}" client.access = "allowed" }} ] }}
"""


class SoundServer:
    """PipeWire, its session manager, and its door for clients of PulseAudio."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}

    def start(self) -> None:
        """Start it, and wait until its sink is there."""
        self._folder.chmod(0o700)
        configuration = self._folder / "pulse.conf"
        configuration.write_text(PULSE.format(port=self.port))
        self._begin(need("pipewire"))
        self._until("pw-cli", "info", "0")
        self._until("pw-cli", "create-node", "adapter", SINK)
        self._begin(need("wireplumber"))
        self._begin(need("pipewire"), "-c", str(configuration))
        self._until("pactl", f"--server=tcp:127.0.0.1:{self.port}", "get-sink-volume", "out")

    def end(self) -> None:
        """End it at once, as a crash does."""
        for one in reversed(self._processes):
            one.kill()
            one.wait()
        self._processes.clear()
        for left in self._folder.glob("pipewire-0*"):
            left.unlink()

    def _begin(self, *words: str) -> None:
        with (self._folder / "log").open("ab") as log:
            self._processes.append(subprocess.Popen(words, env=self._environment, stdout=log, stderr=log))

    def _until(self, program: str, *words: str) -> None:
        end = time.monotonic() + 30
        while subprocess.run(
            [need(program), *words], env=self._environment, capture_output=True, timeout=30
        ).returncode:
            assert time.monotonic() < end, (self._folder / "log").read_text()

    def refuses(self) -> bool:
        """Tell whether nothing listens there."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
            return False
        return True
