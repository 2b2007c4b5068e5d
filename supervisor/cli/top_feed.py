"""What comes from a host to the screen of `top`: statuses and events, over a restart of the host; and what it asks."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from typing import Any, NamedTuple

from tlsrt.config.schema import Config
from tlsrt.errors import TlsrtError
from tlsrt.supervisor.cli.exchange import Host, ask, connect
from tlsrt.supervisor.cli.lifecycle import CHANGE_S
from tlsrt.supervisor.cli.top_services import Kept
from tlsrt.text import sentence

AGAIN_S = 1.0  # between two attempts to reach a host
EVENTS_SHOWN = 500
LINES_SHOWN = 200  # of a log
_END_S = 1.0  # what a thread may take to end; after that the end of the process ends it


class News(NamedTuple):
    """One thing that was heard: a status, an event as its line and severity, or words about the connection."""

    status: dict[str, Any] | None = None
    event: tuple[str, str] | None = None
    detail: tuple[str, tuple[str, ...]] | None = None  # what was asked for one subject
    kept: tuple[str, tuple[Kept, ...]] | None = None  # and what its services have kept
    words: str | None = None
    is_lost: bool = False  # the words hold until there is a status again


class HostFeed:
    """Follows a host in two threads, until `stop`."""

    def __init__(
        self, host: Host, interval_s: float, detail: Callable[[str], list[str]],
        services: Callable[[Sequence[str]], list[Kept]],
    ) -> None:  # fmt: skip
        self._host = host
        self._detail = detail  # what `status SUBJECT` says
        self._services = services
        self._interval_s = interval_s
        self._shown: deque[tuple[object, object]] = deque(maxlen=EVENTS_SHOWN)  # events, over connections
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._threads: list[Thread] = []
        self._is_ended = False

    def start(self, tell: Callable[[News], None]) -> None:
        """Begin; `tell` is called in other threads."""

        def status(document: dict[str, Any]) -> None:
            if "dropped" not in document:
                tell(News(status=document))

        def event(document: Mapping[str, Any]) -> None:
            key = (document.get("seq"), document.get("at"))
            if key not in self._shown:
                self._shown.append(key)
                tell(News(event=(_event_line(document), str(document.get("severity")))))

        def lost(words: str) -> None:
            tell(News(words=words, is_lost=True))

        self._thread(lambda: self._follow("follow_status", {"interval_s": self._interval_s}, status, lost))
        # From the first kept one on, each time: a host that was restarted counts anew.
        events: dict[str, object] = {"follow": True, "since": 0, "kinds": []}
        self._thread(lambda: self._follow("events", events, event, lambda words: None))

    def stop(self) -> None:
        """End both threads."""
        self._is_ended = True
        os.write(self._waker, b"x")
        for thread in self._threads:
            thread.join(_END_S)
        os.close(self._waker)
        if not any(thread.is_alive() for thread in self._threads):
            os.close(self._woken)

    def change(self, verb: str, loop: str, tell: Callable[[News], None]) -> None:
        """Stop or start a loop, in a thread that nothing waits for; what came of it is told."""

        def carry_out() -> None:
            try:
                answer = ask(self._host, verb, timeout_s=CHANGE_S, loop=loop)
            except (TlsrtError, ValueError) as error:
                tell(News(words=sentence(str(error))))
                return
            is_done = not answer.get("failed") if verb == "start_loop" else bool(answer.get("stopped"))
            word = "started" if verb == "start_loop" else "stopped"
            tell(News(words=f"{loop} is {word}" if is_done else f"{loop} is not {word}: its log says more"))

        Thread(target=carry_out, daemon=True).start()

    def detail_of(self, subject: str, tell: Callable[[News], None]) -> None:
        """Tell what is known of a process or component, in a thread that nothing waits for."""

        def ask_host() -> None:
            try:
                lines = self._detail(subject)
            except (TlsrtError, ValueError) as error:
                lines = [sentence(str(error))]
            with suppress(RuntimeError):  # the screen is closed meanwhile
                tell(News(detail=(subject, tuple(lines))))

        Thread(target=ask_host, daemon=True).start()

    def kept_of(self, subject: str, addresses: Sequence[str], tell: Callable[[News], None]) -> None:
        """Tell what the services of a subject have kept, in a thread that nothing waits for."""

        def ask_services() -> None:
            kept = tuple(self._services(addresses))
            with suppress(RuntimeError):  # the screen is closed meanwhile
                tell(News(kept=(subject, kept)))

        Thread(target=ask_services, daemon=True).start()

    def log_of(self, loop: str) -> list[str]:
        """Return the last lines of the log of a process, or a sentence why there are none."""
        from tlsrt.supervisor.cli.log_subject import Subject
        from tlsrt.supervisor.cli.logs import CannotRead, Tail

        if not isinstance(self._host, Config):
            return ["the configuration does not load, so it is not known where the logs are"]
        try:
            found = Tail(self._host.log_dir, loop).entries(LINES_SHOWN, 0.0, Subject((loop,)))
        except CannotRead as error:
            return [sentence(str(error))]
        return [line for entry in found for line in entry.lines][-LINES_SHOWN:] or [f"the log of {loop} is empty"]

    def _thread(self, work: Callable[[], None]) -> None:
        thread = Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _follow(
        self, verb: str, fields: Mapping[str, object], take: Callable[[dict[str, Any]], None],
        lost: Callable[[str], None],
    ) -> None:  # fmt: skip
        while not self._is_ended:
            words = "the host has ended the stream"
            try:
                with connect(self._host) as client:
                    for document in client.follow(verb, **fields):
                        take(document)
                        if not client.has_line and self._wait(client.fileno()):
                            return
            except (TlsrtError, ValueError) as error:
                words = sentence(str(error))
            if not self._is_ended:
                with suppress(RuntimeError):  # the screen is closed meanwhile
                    lost(f"{words}; trying again")
            if self._wait(None, AGAIN_S):
                return

    def _wait(self, descriptor: int | None, timeout_s: float | None = None) -> bool:
        """Wait for a descriptor or a time; return whether this is the end."""
        waited = [self._woken] + ([descriptor] if descriptor is not None else [])
        return self._woken in select.select(waited, [], [], timeout_s)[0]


def _event_line(document: Mapping[str, Any]) -> str:
    """Return an event for a narrow screen: its time of day (UTC), and what `events` says at the end of its line."""
    at = str(document.get("at"))[11:19]
    return f"{at} {document.get('subject')}: {document.get('sentence')} ({document.get('name')})"
