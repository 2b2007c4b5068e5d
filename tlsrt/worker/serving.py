"""Serving: takes a call from the component, runs the function in this thread, and sends what comes of it.

There is no queue: an item is written when the component takes it, and a part read when the function asks for it.
A stream looks for a cancel between two items; a plain function runs to its end, and what it returns is not wanted then.
"""

from __future__ import annotations

import select
import socket
import traceback
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from tlsrt.channels.frames.worker_frames import TEXT_MAX, Kind, WorkerFrame, WorkerFrames, call_untrusted, encode_frame
from tlsrt.errors import CallError, InvalidArgument, NotFound
from tlsrt.loops.component.method import MethodSpec, nearest
from tlsrt.loops.component.types import Mismatch, shown, to_plain
from tlsrt.text import printable

_READ_BYTES = 1 << 20


class ComponentGone(Exception):
    """The other end is closed: what is worked on is not wanted."""


class CallCancelled(Exception):
    """The component does not want the rest; raised where the function asks for parts."""


class Serving:
    """One end of the socket to a component. Nothing here is shared with other threads."""

    def __init__(self, data: socket.socket) -> None:
        self._data = data
        self._frames = WorkerFrames()
        self._poll = select.poll()
        self._poll.register(data, select.POLLIN)

    def cannot_load(self, error: BaseException) -> None:
        """Say why the module could not be imported."""
        try:
            self._send_error(error)
        except ComponentGone:
            pass

    def run(self, functions: Mapping[str, MethodSpec]) -> None:
        """Serve until the component ends its input. Raises ComponentGone where it does."""
        self._send(Kind.HELLO, {name: [spec.stream, spec.upload] for name, spec in functions.items()})
        while True:
            frame = self.receive()
            if frame.kind is Kind.CALL:
                self._answer(functions, frame)

    def _answer(self, functions: Mapping[str, MethodSpec], frame: WorkerFrame) -> None:
        method, args, kwargs, has_parts = call_untrusted(frame.value)
        parts = _Parts(self) if has_parts else None
        try:
            spec = functions.get(method)
            if spec is None:
                guess = nearest(method, list(functions))
                raise NotFound(f"no method {shown(method)}" + (f", did you mean {guess!r}?" if guess else ""))
            bound = spec.bind(args, kwargs)
            if spec.upload_name is not None:
                if parts is None:
                    raise InvalidArgument(f"missing parameter: {spec.upload_name} (a stream of bytes)")
                bound[spec.upload_name] = parts
            elif parts is not None:
                raise InvalidArgument(f"{method} takes no stream of bytes")
            if spec.stream:
                self._stream(spec, iter(spec.function(**bound)), parts or _Parts(self))
            else:
                self._send_value(Kind.RESULT, spec, spec.function(**bound))
        except ComponentGone:
            raise
        except BaseException as error:  # the next call may be a good one; sys.exit ends no worker
            if not isinstance(error, CallError | CallCancelled):
                traceback.print_exc()
            self._send_error(error)

    def _stream(self, spec: MethodSpec, items: Iterator[object], parts: _Parts) -> None:
        try:
            for item in items:
                if parts.is_cancelled():
                    raise CallCancelled
                self._send_value(Kind.ITEM, spec, item)
        finally:
            if (close := getattr(items, "close", None)) is not None:
                close()  # its `finally` runs now, and not when memory is collected
        self._send(Kind.END)

    def receive(self) -> WorkerFrame:
        """Return the next frame. Raises ComponentGone."""
        while (frame := self._frames.next_untrusted()) is None:
            self._read()
        return frame

    def receive_now(self) -> WorkerFrame | None:
        """Return the next frame if it is there. Raises ComponentGone."""
        while (frame := self._frames.next_untrusted()) is None and self._poll.poll(0):
            self._read()
        return frame

    def _read(self) -> None:
        try:
            data = self._data.recv(min(max(self._frames.wanted, 65536), _READ_BYTES))
        except OSError:
            data = b""
        if not data:
            raise ComponentGone
        self._frames.feed(data)

    def _send_value(self, kind: Kind, spec: MethodSpec, value: object) -> None:
        """Send a result or item. Raises TypeError, ValueError: the function is wrong, and not its caller."""
        plain = _checked(spec, value)
        try:
            pieces = encode_frame(kind, plain)
        except InvalidArgument as error:
            raise ValueError(f"{spec.name} returned what has no room: {error.message}") from None
        self._send_all(pieces)

    def _send(self, kind: Kind, value: object = None) -> None:
        self._send_all(encode_frame(kind, value))

    def _send_all(self, pieces: Sequence[bytes]) -> None:
        try:
            for piece in pieces:
                self._data.sendall(piece)
        except OSError:
            raise ComponentGone from None

    def _send_error(self, error: BaseException) -> None:
        code = error.code if isinstance(error, CallError) else ""
        words = error.message if isinstance(error, CallError) else _words(error)
        self._send(Kind.ERROR, [printable(code, 64), type(error).__name__, printable(words, TEXT_MAX)])


def _checked(spec: MethodSpec, value: object) -> object:
    """Return a result or item as what is sent. Raises TypeError for one that is not of its type."""
    plain = to_plain(value)
    try:
        spec.returns.check(plain)
    except Mismatch as error:
        raise TypeError(f"{spec.name} returned what it does not declare{error.path}: {error.reason}") from None
    return plain


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # an exception may be of a class that runs code of its own
        return ""


class _Parts(Iterator[bytes]):
    """The upload of one call, read when it is asked for."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._read: deque[bytes] = deque(maxlen=1)
        self._is_over = False
        self._is_cancelled = False

    def __next__(self) -> bytes:
        if self._read:
            return self._read.popleft()
        if not self._is_over and not self._is_cancelled:
            self._take(self._serving.receive())
        if self._is_cancelled:
            raise CallCancelled
        if not self._read:
            raise StopIteration
        return self._read.popleft()

    def is_cancelled(self) -> bool:
        """Tell whether the component does not want the rest; reads no further than one part."""
        while not self._is_cancelled and not self._read and (frame := self._serving.receive_now()) is not None:
            self._take(frame)
        return self._is_cancelled

    def _take(self, frame: WorkerFrame) -> None:
        if frame.kind is Kind.PART:
            self._read.append(frame.value)
        elif frame.kind is Kind.PARTS_END:
            self._is_over = True
        else:
            self._is_cancelled = True
