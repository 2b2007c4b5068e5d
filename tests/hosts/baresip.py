"""A real baresip: a telephone by SIP over TLS with SRTP, that says a tone, keeps what it hears, and is driven."""

from __future__ import annotations

import array
import json
import socket
import subprocess
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.programs import need

from hosts.running_host import free_port
from hosts.telephone_package.telephones import hertz_of

RATE = 8000
_CONFIG = """
sip_listen 127.0.0.1:{sip}
sip_certificate {folder}/pair.pem
sip_cafile {ca}
sip_verify_server yes
call_max_calls 4
audio_source aufile,{folder}/says.wav
audio_player aubridge,ear
audio_alert aufile,/dev/null
audio_srate 8000
audio_channels 1
rtp_ports {rtp}-{rtp_last}
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
{records}
{srtp}
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:{control}
snd_path {folder}
"""


def say_tone(path: Path, hertz: int, seconds: int = 30) -> None:
    """Write a tone as a file that baresip plays."""
    import math

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        samples = [round(8000 * math.sin(2 * math.pi * hertz * at / RATE)) for at in range(RATE * seconds)]
        file.writeframes(array.array("h", samples).tobytes())


class Baresip:
    """One telephone. `account` are parameters behind the address of its account.

    With `records` it keeps what it hears. Two calls in quick succession have ended it then (1.1.0), as they did where
    its loudspeaker was a file; so that is a bridge to nowhere.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        at: str,
        *,
        ca: Path,
        pair: bytes,
        hertz: int,
        account: str,
        srtp: bool = True,
        records: bool = True,
    ) -> None:
        self.sip, self._control = free_port(), free_port()
        self.name, self.at = name, at
        self._folder = folder / name
        self._folder.mkdir()
        (self._folder / "pair.pem").write_bytes(pair)
        say_tone(self._folder / "says.wav", hertz)
        first = free_port()
        first -= first % 2
        text = _CONFIG.format(
            sip=self.sip, folder=self._folder, ca=ca, rtp=first, rtp_last=first + 40, control=self._control,
            srtp="module srtp.so" if srtp else "", records="module sndfile.so" if records else "",
        )  # fmt: skip
        (self._folder / "config").write_text(text)
        (self._folder / "accounts").write_text(f"<sip:{name}@{at};transport=tls>;{account}audio_codecs=pcmu\n")
        (self._folder / "contacts").write_text("")
        self._log = (self._folder / "log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._buffer = b""
        self.events: list[dict[str, Any]] = []

    def start(self) -> None:
        """Start it, and wait until its control socket is there."""
        # without a core file in the folder of the tests, where it crashes
        command = ["sh", "-c", 'ulimit -c 0; exec "$@"', "sh", need("baresip"), "-f", str(self._folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)
        end = time.monotonic() + 30
        while self._socket is None:
            try:
                self._socket = socket.create_connection(("127.0.0.1", self._control), 10)
            except OSError:
                assert time.monotonic() < end and self._process.poll() is None, self.said()
                time.sleep(0.02)
        self._socket.settimeout(0.05)

    def do(self, command: str, parameters: str = "") -> None:
        """Have it do something, as `dial` with a URI."""
        assert self._socket is not None
        text = json.dumps({"command": command, "params": parameters, "token": "t"}).encode()
        self._socket.sendall(b"%d:%s," % (len(text), text))

    def until(self, true: Callable[[dict[str, Any]], bool], limit_s: float = 30) -> dict[str, Any]:
        """Wait for an event, and return it; those before it are in `events`."""
        end = time.monotonic() + limit_s
        seen = 0
        while True:
            for event in self.events[seen:]:
                if true(event):
                    return event
            seen = len(self.events)
            assert time.monotonic() < end, (self.events, self.said())
            self._read()

    def until_type(self, type: str) -> dict[str, Any]:
        """Wait for an event of a type, as CALL_ESTABLISHED."""
        return self.until(lambda event: event.get("type") == type)

    def _read(self) -> None:
        assert self._socket is not None
        try:
            self._buffer += self._socket.recv(65536)
        except TimeoutError:
            return
        while b":" in self._buffer:
            length, _, rest = self._buffer.partition(b":")
            if len(rest) < int(length) + 1:
                return
            self.events.append(json.loads(rest[: int(length)]))
            self._buffer = rest[int(length) + 1 :]

    def heard_hertz(self) -> float:
        """Return the frequency of what it has heard, but for the first quarter; 0.0 as long as it has kept nothing."""
        path = max(self._folder.glob("dump*dec.wav"), default=None)
        if path is None:
            return 0.0
        data = path.read_bytes()
        samples = array.array("h", data[44 : len(data) - len(data) % 2])
        return hertz_of(samples[len(samples) // 4 :], RATE)

    def said(self) -> str:
        """Return its log."""
        return (self._folder / "log").read_text(errors="replace")[-6000:]

    def close(self) -> None:
        """End it."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
