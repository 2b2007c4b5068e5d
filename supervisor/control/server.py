"""The control socket: how the command line talks to a running supervisor.

A stream socket with mode 0600; the kernel tells who connects (SO_PEERCRED), and every uid but root and our own is
closed with one word, and so is every process of the runtime, which may have our uid. A request is one line
of JSON, the answer is one line of JSON, or a stream of them. Everything a client may use is bounded: bytes, time, and
the number of clients; a slow one waits for itself alone.

A verb lives in the module of what it is about: every feature names its own.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tlsrt.config.trusted_path import foreign_root
from tlsrt.errors import PeerError
from tlsrt.supervisor.control.peer_credentials import may_command, peer_of
from tlsrt.supervisor.control.stream import Follower, encode
from tlsrt.supervisor.process.event_loop import READ, WRITE, EventLoop, Timer
from tlsrt.supervisor.process.unix_path import CONTROL_SOCKET, bind_unix
from tlsrt.supervisor.supervision.feature import Answer, ControlVerb, Request, StreamVerb

MAX_REQUEST_BYTES = 64 * 1024
MAX_CLIENTS = 16
MAX_FOLLOWERS = 8
CLIENT_S = 5.0  # to ask and to take the answer
_ACCEPTS_PER_ROUND = 64
_PIECE = 16 * 1024


def parse_request_untrusted(line: bytes) -> dict[str, object]:
    """Return the request in one line of JSON. Raises PeerError for everything else."""
    if len(line) > MAX_REQUEST_BYTES:
        raise PeerError("too_long")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, not JSON, or an integer of 5000 digits
        raise PeerError("not_json") from error
    if not isinstance(value, dict) or not isinstance(value.get("verb"), str):
        raise PeerError("not_a_request")
    return value


class ControlSocket:
    """Serves the verbs of a table.

    `is_kin` tells of a pid, as numbered in our pid namespace, whether it is a process of the runtime; `on_bug` is told
    of an exception of a verb, which must not end a host that runs.
    """

    def __init__(
        self, event_loop: EventLoop, folder: Path, verbs: Mapping[str, ControlVerb | StreamVerb], *,
        is_kin: Callable[[int], bool] = lambda pid: False, on_bug: Callable[[str], None] = lambda sentence: None,
    ) -> None:  # fmt: skip
        self._event_loop = event_loop
        self._path = folder / CONTROL_SOCKET
        self._is_kin = is_kin
        self._foreign = foreign_root()
        self._verbs = verbs
        self._on_bug = on_bug
        self._clients: set[_ControlConnection] = set()
        self._followers: set[Follower] = set()
        self._listener = bind_unix(folder, CONTROL_SOCKET, backlog=MAX_CLIENTS)
        event_loop.watch(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Close everything; clients that were held learn by it that the supervisor has ended."""
        for client in tuple(self._clients):
            client.close()
        for follower in tuple(self._followers):
            follower.last_words()
        self._event_loop.forget(self._listener.fileno())
        self._listener.close()
        try:
            self._path.unlink()
        except OSError:
            return

    def serve(self, line: bytes, client: _ControlConnection) -> None:
        """Have one request line answered."""
        try:
            request = parse_request_untrusted(line)
        except PeerError as error:
            client.say({"error": error.reason})
            return
        name = str(request["verb"])
        verb = self._verbs.get(name)
        if verb is None:
            client.say({"error": "unknown_verb"})
            return
        try:
            if isinstance(verb, StreamVerb):
                self._follow(verb, request, client)
            else:
                verb.answer(request, partial(client.say, stays=verb.is_held))
        except Exception as error:
            self._on_bug(f"{name}: {type(error).__name__}: {error}")
            client.say({"error": "internal"})

    def _follow(self, verb: StreamVerb, request: Request, client: _ControlConnection) -> None:
        """Answer by line after line, to a few followers at a time."""
        if len(self._followers) >= MAX_FOLLOWERS:
            client.say({"error": "busy"})
            return
        follower = Follower(self._event_loop, client.hand_over())
        self._followers.add(follower)
        follower.when_closed(lambda: self._followers.discard(follower))
        verb.follow(request, follower)

    def drop(self, client: _ControlConnection) -> None:
        """Forget a client that has closed."""
        self._clients.discard(client)

    def _accept(self, events: int) -> None:
        for _ in range(_ACCEPTS_PER_ROUND):
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            word = self._refusal(connection)
            if word:
                _say_and_close(connection, word)
            else:
                self._clients.add(_ControlConnection(self, self._event_loop, connection))

    def _refusal(self, connection: socket.socket) -> str:
        pid, uid = peer_of(connection)
        if not may_command(pid, uid, self._foreign, str(self._path)) or self._is_kin(pid):
            return "denied"
        return "busy" if len(self._clients) >= MAX_CLIENTS else ""


def _say_and_close(connection: socket.socket, word: str) -> None:
    try:
        connection.setblocking(False)
        connection.send(encode({"error": word}), socket.MSG_NOSIGNAL)
    except OSError:
        pass
    connection.close()


class _ControlConnection:
    """One connection: a request comes in, an answer goes out."""

    def __init__(self, owner: ControlSocket, event_loop: EventLoop, connection: socket.socket) -> None:
        self._owner = owner
        self._event_loop = event_loop
        self._connection = connection
        self._incoming = bytearray()
        self._outgoing = b""
        self._stays = False
        self._heard = False
        connection.setblocking(False)
        self._timer: Timer = event_loop.call_later(CLIENT_S, self.close)
        event_loop.watch(connection.fileno(), self._ready)

    def close(self) -> None:
        """End the connection."""
        if self._connection.fileno() < 0:
            return
        self._timer.cancel()
        self._event_loop.forget(self._connection.fileno())
        self._connection.close()
        self._owner.drop(self)

    def say(self, answer: Answer, *, stays: bool = False) -> None:
        """Send the answer, if the client is still there to take it."""
        if self._connection.fileno() < 0:
            return
        self._stays = stays
        self._timer.cancel()
        self._timer = self._event_loop.call_later(CLIENT_S, self.close)
        self._outgoing = encode(answer)
        try:
            self._write()
        except OSError:
            self.close()

    def hand_over(self) -> socket.socket:
        """Give the connection away, for an answer that is a stream."""
        self._timer.cancel()
        self._event_loop.forget(self._connection.fileno())
        self._owner.drop(self)
        return self._connection

    def _ready(self, events: int) -> None:
        try:
            if self._heard:
                self._write() if self._outgoing else self._listen()
            else:
                self._read()
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def _listen(self) -> None:
        """A held client has nothing more to say; it can only leave."""
        if not self._connection.recv(_PIECE):
            self.close()

    def _read(self) -> None:
        piece = self._connection.recv(_PIECE)
        self._incoming += piece
        line, newline, _ = self._incoming.partition(b"\n")
        if newline or len(self._incoming) > MAX_REQUEST_BYTES:
            self._incoming.clear()
            self._heard = True
            self._timer.cancel()
            self._owner.serve(bytes(line), self)
        elif not piece:
            self.close()

    def _write(self) -> None:
        try:
            sent = self._connection.send(self._outgoing, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            sent = 0
        self._outgoing = self._outgoing[sent:]
        if self._outgoing:
            self._event_loop.change(self._connection.fileno(), WRITE)
        elif self._stays:
            self._timer.cancel()
            self._event_loop.change(self._connection.fileno(), READ)
        else:
            self.close()
