"""What the network helper says to the kernel, and makes of its answers."""

from __future__ import annotations

import errno
import socket

import pytest

from tlsrt.channels.control.helper import HELPER, ElementMessage, RouteMessage
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.errors import PeerError
from tlsrt.supervisor.helper import network
from tlsrt.supervisor.helper.main import Helper
from tlsrt.supervisor.helper.netlink import attributes_untrusted, messages_untrusted

_NEW, _REMOVE = 24, 25
_DEVICE, _GATEWAY = 4, 5


class Kernel:
    """Answers with what it is given, and keeps what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *errors: int) -> None:
        self._errors = [*errors]
        self.asked: list[tuple[int, dict[int, bytes]]] = []
        monkeypatch.setattr(network, "_exchange", self.exchange)

    def exchange(self, kernel: int, request: bytes, last: int) -> tuple[int, bytes]:
        for one in messages_untrusted(request):
            self.asked.append((one.type, attributes_untrusted(one.body[12:]) if one.type in (_NEW, _REMOVE) else {}))
        return self._errors.pop(0), b""


@pytest.mark.parametrize(
    ("errors", "kinds", "outcome"),
    [
        ((0,), [_NEW], 0),
        ((errno.ENETUNREACH,), [_NEW], errno.ENETUNREACH),
        ((errno.EEXIST, 0, 0), [_NEW, _REMOVE, _NEW], 0),
        ((errno.EEXIST, errno.ESRCH, errno.EEXIST), [_NEW, _REMOVE, _NEW], errno.EEXIST),  # an administrator's
        ((errno.EEXIST, errno.EPERM), [_NEW, _REMOVE], errno.EPERM),
    ],
)
def test_a_route_takes_the_place_of_a_components_only(
    monkeypatch: pytest.MonkeyPatch, errors: tuple[int, ...], kinds: list[int], outcome: int
) -> None:
    kernel = Kernel(monkeypatch, *errors)
    message = RouteMessage(1, 0, 4, 0, 0x0A090000, 16, 0, 0x0A000005, 3, 1024)
    assert network.change_route(message, -1).error == outcome
    assert [kind for kind, _ in kernel.asked] == kinds
    for kind, attributes in kernel.asked:
        assert (_GATEWAY in attributes, _DEVICE in attributes) == ((True, True) if kind == _NEW else (False, False))


@pytest.mark.parametrize(("removes", "outcome"), [(1, 0), (0, errno.ENOENT)])
def test_of_a_set_that_is_gone_nothing_need_be_removed(
    monkeypatch: pytest.MonkeyPatch, removes: int, outcome: int
) -> None:
    Kernel(monkeypatch, errno.ENOENT)
    message = ElementMessage(1, removes, 1, 7, 4, 0, 0xC0000207, 0, "filter", "blocked")
    assert network.change_element(message, -1).error == outcome


def test_an_odd_answer_of_the_kernel_ends_no_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(kernel: int, request: bytes, last: int) -> tuple[int, bytes]:
        raise PeerError("bad_netlink")

    monkeypatch.setattr(network, "_exchange", odd)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    supervisor = ControlChannel(ours.detach(), HELPER)
    with open("/dev/null", "rb") as kernel:
        fields = RouteMessage(1, 0, 4, 0, 0x0A090000, 16, 0, 0x0A000005, 3, 1024)
        supervisor.send("route", *fields, descriptors=(kernel.fileno(),))
    helper = Helper(theirs.detach(), network.NETWORK_ACTIONS)
    name, message, descriptors = helper._supervisor.receive("supervisor", "sealed", descriptors=True) or ("", None, [])
    helper._handle(name, message, descriptors)
    assert supervisor.receive("network_helper", "sealed", descriptors=True) == ("done", (1, errno.EPROTO), [])
    supervisor.close()
    helper._supervisor.close()
