"""A journal in files of a folder, and a real systemd-journal-gatewayd before it, on a UNIX socket."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

TOOLS = Path("/usr/lib/systemd")
_START = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null'


class JournalGateway:
    """The folder is root's, so that a component may connect to a socket in it; `path` is that socket."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tlsrt-journal-", dir="/run"))
        self.folder.chmod(0o755)
        self._journal = self.folder / "journal"
        self._journal.mkdir()
        self.path = self.folder / "gateway.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._files = 0

    def write(self, entries: Sequence[Mapping[str, str | bytes]]) -> None:
        """Put entries into a further file of the journal, as a rotation would begin one."""
        self._files += 1
        data = b"".join(map(_exported, entries))
        target = self._journal / f"part{self._files}.journal"
        words = [str(TOOLS / "systemd-journal-remote"), f"--output={target}", "-"]
        subprocess.run(words, input=data, check=True, timeout=60, capture_output=True)

    def rotate(self) -> None:
        """Remove the oldest file of the journal."""
        min(self._journal.iterdir(), key=lambda path: int(path.stem[4:])).unlink()

    def start(self, uid: int) -> None:
        """Serve to one user."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self.path))
            os.chown(self.path, uid, uid)
            self.path.chmod(0o600)
            listener.listen(8)
            program = [str(TOOLS / "systemd-journal-gatewayd"), f"--directory={self._journal}"]
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _START, "sh", *program], stdin=listener.fileno(), stderr=subprocess.DEVNULL
            )

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(19)

    def stop(self) -> None:
        """End it, and take its socket away."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self.path.unlink()
        self._process = None

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)


def _exported(entry: Mapping[str, str | bytes]) -> bytes:
    """Return an entry in the journal export format (systemd.io/JOURNAL_EXPORT_FORMATS)."""
    fields = [
        f"{name}={value}\n".encode() if isinstance(value, str)
        else name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        for name, value in entry.items()
    ]  # fmt: skip
    return b"".join(fields) + b"\n"
