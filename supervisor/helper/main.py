"""The helper process: what it can do is the table `ACTIONS`, each with one descriptor and whole numbers.

It is uid 0, as /proc/sys asks for that with each write, but has no capability, no key, no network, no file of the host
in its root but code, and nothing to open but what the supervisor hands over: a descriptor (O_PATH) of a setting or
device that was looked up and judged outside. Here is what may block: opening a device, and setting its line.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from tlsrt.channels.control.helper import HELPER, OpenMessage, WriteMessage
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.errors import EX_SOFTWARE, PeerError, one_line
from tlsrt.supervisor.helper.feeds import Feed, log_feed, pressure_feed
from tlsrt.supervisor.helper.network_feed import NetworkFeed
from tlsrt.supervisor.helper.relay import UeventRelay
from tlsrt.supervisor.helper.tty import SIZE, TCFLSH, TCGETS2, TCIOFLUSH, TCSETS2, Line, configured, is_as_wanted

FEEDS_MAX = 256
EVIOCGRAB = 0x40044590  # linux/input.h; the same on x86_64 and aarch64
OWED_MS = 50  # how often what could not be told is tried again


class Answer:
    """The answer to one request: an errno, or a device that is open."""

    def __init__(self, error: int = 0, device: int = -1) -> None:
        self.error = error
        self.device = device


def write_setting(message: WriteMessage, place: int) -> Answer:
    """Write a number, as decimal digits and a line feed, to a regular file of the kernel."""
    if not stat.S_ISREG(os.fstat(place).st_mode):
        return Answer(errno.EINVAL)
    descriptor = _open_again(place, os.O_WRONLY)
    try:
        data = b"%d\n" % message.value
        return Answer(0 if os.write(descriptor, data) == len(data) else errno.EIO)
    finally:
        os.close(descriptor)


def open_device(message: OpenMessage, place: int) -> Answer:
    """Open a character device without waiting for it, have it for its component alone, set its line: as is asked."""
    if not stat.S_ISCHR(os.fstat(place).st_mode):
        return Answer(errno.ENODEV)
    descriptor = _open_again(place, (os.O_RDWR if message.writes else os.O_RDONLY) | os.O_NOCTTY)
    try:
        if message.grabs:  # it ends with the last copy of the descriptor
            fcntl.ioctl(descriptor, EVIOCGRAB, 1)
        if message.is_tty and (error := _set_line(descriptor, Line(*message[4:]))):
            with suppress(OSError):
                os.close(descriptor)
            return Answer(error)
    except OSError:
        with suppress(OSError):
            os.close(descriptor)
        raise
    return Answer(device=descriptor)


def _open_again(place: int, flags: int) -> int:
    """Open what a descriptor stands for: /proc/self/fd leads to it, and to nothing else, whatever its name is now."""
    return os.open(f"/proc/self/fd/{place}", flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _set_line(descriptor: int, line: Line) -> int:
    now = fcntl.ioctl(descriptor, TCGETS2, bytes(SIZE))
    fcntl.ioctl(descriptor, TCSETS2, configured(now, line))
    if not is_as_wanted(fcntl.ioctl(descriptor, TCGETS2, bytes(SIZE)), line):
        return errno.EINVAL
    fcntl.ioctl(descriptor, TCFLSH, TCIOFLUSH)  # what came before is for no component
    return 0


Actions = Mapping[str, tuple[Callable[[Any, int], Answer], str]]
# All that this process does. Name of the message -> (what does it, what it is for people).
# And `relay.py` and `feeds.py`: what the kernel says on a descriptor that it is handed, told to components on sockets
# that it is handed.
ACTIONS: Actions = {
    "write": (write_setting, "writes one number to one setting below /sys or /proc/sys"),
    "open": (open_device, "opens one character device, and sets its line or has it for its component alone"),
}


class Helper:
    """Answers one request after another, and tells components what the kernel says meanwhile."""

    def __init__(self, channel: int, actions: Actions) -> None:
        self._actions = actions
        self._supervisor = ControlChannel(channel, HELPER)
        self._waiting = select.poll()
        self._uevents = UeventRelay()
        self._feeds: dict[int, Feed | NetworkFeed] = {}  # by both of their descriptors
        self._owing: set[NetworkFeed] = set()

    def run(self) -> int:
        """Serve until the supervisor closes the channel; return the exit code."""
        self._supervisor.send("sealed")
        self._waiting.register(self._supervisor.fileno(), select.POLLIN)
        while True:
            for descriptor, _ in self._waiting.poll(OWED_MS if self._owing else None):
                if (feed := self._feeds.get(descriptor)) is not None and not feed.serve(descriptor):
                    self._end(feed)
                elif isinstance(feed, NetworkFeed) and feed.owes:
                    self._owing.add(feed)
            self._settle()
            self._uevents.relay()
            received = self._supervisor.receive("supervisor", "sealed", descriptors=True)
            if received is not None:
                self._handle(*received)

    def _handle(self, name: str, message: Any, descriptors: list[int]) -> None:
        if name == "listen":
            self._waiting.register(self._uevents.listen(descriptors[0]), select.POLLIN)
            return
        if name == "close":
            with suppress(OSError):  # a driver may refuse what is left to do, and it is closed all the same
                os.close(descriptors[0])
            return
        if name == "subscribe":
            self._uevents.subscribe(descriptors[0])
            return
        if name in ("pressure", "kernel_log"):
            self._begin((pressure_feed if name == "pressure" else log_feed)(*message, *descriptors))
            return
        if name == "network":
            self._begin(NetworkFeed(*message, *descriptors))
            return
        try:
            answer = self._actions[name][0](message, descriptors[0])
        except OSError as error:
            answer = Answer(error.errno or errno.EIO)
        except PeerError:
            answer = Answer(errno.EPROTO)  # the kernel said what is no answer
        finally:
            os.close(descriptors[0])
        if answer.device < 0:
            self._supervisor.send("done", message.number, answer.error)
            return
        try:
            self._supervisor.send("opened", message.number, descriptors=(answer.device,))
        finally:
            with suppress(OSError):
                os.close(answer.device)

    def _settle(self) -> None:
        for feed in [*self._owing]:
            if not feed.settle():
                self._end(feed)
            elif not feed.owes:
                self._owing.discard(feed)

    def _begin(self, feed: Feed | NetworkFeed) -> None:
        if len(self._feeds) >= 2 * FEEDS_MAX:
            feed.close()
            return
        self._feeds |= {feed.source: feed, feed.target.fileno(): feed}
        self._waiting.register(feed.source, feed.waits_for)
        self._waiting.register(feed.target.fileno(), 0)  # only for its end
        if isinstance(feed, NetworkFeed):
            self._owing.add(feed)

    def _end(self, feed: Feed | NetworkFeed) -> None:
        if isinstance(feed, NetworkFeed):
            self._owing.discard(feed)
        for descriptor in (feed.source, feed.target.fileno()):
            del self._feeds[descriptor]
            self._waiting.unregister(descriptor)
        feed.close()


def helper_main(channel: int) -> int:
    """Run the body of the forked, confined process; return its exit code. `channel` is owned from here on."""
    return serve(channel, ACTIONS)


def serve(channel: int, actions: Actions) -> int:
    """Do what the supervisor asks for until it closes the channel; return the exit code."""
    try:
        return Helper(channel, actions).run()
    except PeerError as error:
        if error.reason == "closed":
            return 0  # the supervisor wants no helper any more
        os.write(2, f"helper: the supervisor is lost: {error.reason}\n".encode())
    except Exception as error:
        os.write(2, f"helper: cannot go on: {one_line(error)}\n".encode())
    return EX_SOFTWARE
