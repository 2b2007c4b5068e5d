"""The network helper: the one process with CAP_NET_ADMIN. What it can do is the table `NETWORK_ACTIONS`.

It is there only while a grant asks for it: a route, elements of a set of nftables, or a setting that takes the
capability. Its own network namespace is empty. It acts in the host's over a socket of netlink(7) that the supervisor
has made there and hands over with the request: the kernel asks for the capability of both, who made it and who sends.
"""

from __future__ import annotations

import errno
import os

from tlsrt.channels.control.helper import ElementMessage, RouteMessage
from tlsrt.errors import PeerError
from tlsrt.supervisor.helper.main import Actions, Answer, serve, write_setting
from tlsrt.supervisor.helper.netlink import outcome_untrusted
from tlsrt.supervisor.helper.nftables import Element, ask_for_set, remove_element, set_element, unfit_untrusted
from tlsrt.supervisor.helper.rtnetlink import Route, remove_other, remove_route, set_route

_FIRST = 1  # number of the first message on a socket
_ANSWERS_MAX = 8  # datagrams that the kernel says to one request
_ANSWER_MAX = 65536
_NOT_THERE = (errno.ENOENT, errno.ESRCH)


def change_route(message: RouteMessage, kernel: int) -> Answer:
    """Make or remove one route of the host's main table."""
    route = Route(
        message.version, message.to_high << 64 | message.to_low, message.prefix,
        message.via_high << 64 | message.via_low, message.device, message.metric,
    )  # fmt: skip
    if message.removes:
        return Answer(_gone(_exchange(kernel, remove_route(route, _FIRST), _FIRST)[0]))
    error, _ = _exchange(kernel, set_route(route, _FIRST), _FIRST)
    if error == errno.EEXIST:  # ours is removed; an administrator's of this metric stays, and is the answer
        error = _gone(_exchange(kernel, remove_other(route, 2), 2)[0]) or _exchange(kernel, set_route(route, 3), 3)[0]
    return Answer(error)


def change_element(message: ElementMessage, kernel: int) -> Answer:
    """Put one element into a set of nftables, or take it out."""
    value = message.high << 64 | message.low
    element = Element(message.family, message.table, message.set, message.type, message.size, value, message.timeout_ms)
    error, told = _exchange(kernel, ask_for_set(element, _FIRST), _FIRST)
    if message.removes and error in _NOT_THERE:
        return Answer()  # the whole set has gone, or its table
    if error := error or unfit_untrusted(element, told):
        return Answer(error)
    if message.removes:
        return Answer(_gone(_exchange(kernel, remove_element(element, 10), 12)[0]))
    error, _ = _exchange(kernel, set_element(element, 20, again=True), 22)
    if error in _NOT_THERE:
        error, _ = _exchange(kernel, set_element(element, 30, again=False), 32)
    return Answer(error)


def _gone(error: int) -> int:
    """What is not there need not be removed."""
    return 0 if error in _NOT_THERE else error


def _exchange(kernel: int, request: bytes, last: int) -> tuple[int, bytes]:
    """Send a request; return an errno or 0, and all that the kernel said. It has said it when the write returns."""
    os.write(kernel, request)
    told = b""
    for _ in range(_ANSWERS_MAX):
        try:
            answer = os.read(kernel, _ANSWER_MAX)
        except BlockingIOError:
            break
        told += answer
        outcome = outcome_untrusted(answer, last)
        if outcome is not None:
            return outcome, told
    raise PeerError("no_answer_of_the_kernel")


# All that this process does. Name of the message -> (what does it, what it is for people).
NETWORK_ACTIONS: Actions = {
    "write": (write_setting, "writes one number to one setting below /sys or /proc/sys"),
    "route": (change_route, "makes or removes one route"),
    "element": (change_element, "puts one element into one set of nftables, or takes it out"),
}


def network_helper_main(channel: int) -> int:
    """Run the body of the forked, confined process; return its exit code. `channel` is owned from here on."""
    return serve(channel, NETWORK_ACTIONS)
