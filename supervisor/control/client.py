"""The command line's side of the control socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from tlsrt.config.trusted_path import check_trusted, names_of, trusted_uids
from tlsrt.errors import EX_NOPERM, EX_NOT_RUNNING, ConfigError, InternalError, TlsrtError
from tlsrt.supervisor.control.peer_credentials import peer_of
from tlsrt.supervisor.process.unix_path import CONTROL_SOCKET, short_path

_ANSWER_S = 10.0
_PIECE = 64 * 1024
_ANSWER_BYTES = 16 * 1024 * 1024  # of the trusted side; bounded all the same

_WORDS = {
    "denied": "only root and the user who started tlsrt may ask this, and no process of tlsrt itself",
    "bad_request": "the running tlsrt-supervisor does not understand this request: it is another version",
    "busy": "too many commands at once: try again",
    "internal": "the running tlsrt-supervisor met a bug of its own here, and goes on; its console says which",
    "stopping": "tlsrt is stopping, so it does nothing else any more",
    "unknown_verb": "the running tlsrt-supervisor does not know this command: it is another version",
}


class NotRunning(TlsrtError):
    """No supervisor answers in this run folder."""

    exit_code = EX_NOT_RUNNING


class ControlRefused(TlsrtError):
    """The supervisor, or the kernel, did not take the request."""

    exit_code = EX_NOPERM


class ControlClient:
    """One connection to the supervisor of a run folder; a context manager.

    The folder and the server must belong to one of `uids`: by default root or ourselves.
    """

    def __init__(self, run_dir: Path, uids: Collection[int] | None = None) -> None:
        self._buffer = bytearray()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_ANSWER_S)
        try:
            with short_path(run_dir, CONTROL_SOCKET) as path:
                self._socket.connect(path)
            self._check_server(run_dir, trusted_uids() if uids is None else uids)
        except PermissionError:
            self._socket.close()
            raise ControlRefused(_WORDS["denied"]) from None
        except OSError:
            self._socket.close()
            raise NotRunning(f"tlsrt is not running (nothing answers at {run_dir / CONTROL_SOCKET})") from None

    def _check_server(self, run_dir: Path, uids: Collection[int]) -> None:
        """Refuse a folder or a server of another user; its folder says nothing of it. Raises ControlRefused."""
        try:
            check_trusted(run_dir, "the folder of the control socket", uids)
        except ConfigError as error:
            self._socket.close()
            raise ControlRefused(f"nothing was asked: {error}") from None
        _, uid = peer_of(self._socket)
        if uid not in uids:
            self._socket.close()
            raise ControlRefused(
                f"nothing was asked: what answers at {run_dir / CONTROL_SOCKET} runs as uid {uid}, and not as "
                f"{names_of(uids)}: find out what it is"
            )

    def ask(self, verb: str, *, timeout_s: float = _ANSWER_S, **fields: object) -> dict[str, Any]:
        """Return the answer to one request. Raises NotRunning when the supervisor ends meanwhile, ControlRefused."""
        self._request(verb, timeout_s, fields)
        line = self._line()
        if line is None:
            raise NotRunning("tlsrt ended before it answered")
        return _answer(line)

    def follow(self, verb: str, **fields: object) -> Iterator[dict[str, Any]]:
        """Yield answer after answer until the supervisor ends the stream, or itself. Raises as `ask` does."""
        self._request(verb, None, fields)
        while (line := self._line()) is not None:
            yield _answer(line)

    def fileno(self) -> int:
        """Return the descriptor, to wait for what is followed."""
        return self._socket.fileno()

    @property
    def has_line(self) -> bool:
        """Tell whether a whole line was read already, so that the next one needs no waiting."""
        return b"\n" in self._buffer

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until the supervisor closes the connection; return whether it did."""
        self._socket.settimeout(timeout_s)
        try:
            while self._socket.recv(_PIECE):
                continue
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _request(self, verb: str, timeout_s: float | None, fields: Mapping[str, object]) -> None:
        self._socket.settimeout(timeout_s)
        try:
            self._socket.sendall(json.dumps({"verb": verb, **fields}).encode() + b"\n")
        except OSError:
            pass  # a refusal may lie in the socket already

    def _line(self) -> bytes | None:
        """Return the next line; None at the end, where a line that was cut off counts for nothing."""
        try:
            while b"\n" not in self._buffer and len(self._buffer) < _ANSWER_BYTES:
                piece = self._socket.recv(_PIECE)
                if not piece:
                    return None
                self._buffer += piece
        except TimeoutError:
            raise ControlRefused(f"the supervisor did not answer in {self._socket.gettimeout():g} s") from None
        except OSError:
            raise NotRunning("tlsrt ended before it answered") from None
        line, _, rest = self._buffer.partition(b"\n")
        self._buffer = rest
        return bytes(line)


def _answer(line: bytes) -> dict[str, Any]:
    answer = json.loads(line)
    if not isinstance(answer, dict):
        raise InternalError("the supervisor's answer is no JSON object")
    if "error" in answer:
        word = str(answer["error"])
        raise ControlRefused(_WORDS.get(word, f"the supervisor refused this: {word}"))
    return answer
