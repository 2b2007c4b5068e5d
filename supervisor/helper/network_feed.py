"""The feed of one component with changes of the host's network, through the filter and rate of its grant."""

from __future__ import annotations

import errno
import os
import select
import socket
import time

from tlsrt.channels.control.network_change import RESYNCHRONISE, encode_change, passes
from tlsrt.errors import PeerError
from tlsrt.rate_limit import Bucket
from tlsrt.supervisor.helper.network_changes import NetworkReader, ask_for_links
from tlsrt.supervisor.helper.relay import AT_ONCE, Subscriber

AT_ONCE_MAX, PER_S = 256, 200  # changes that are told; of a flood beyond that, that there was one
_DATAGRAM_MAX = 65536  # more than the kernel puts into one, netlink_dump() in af_netlink.c


class NetworkFeed:
    """What the kernel says on a socket of netlink(7), told to one component. Owns both descriptors.

    Whatever is lost, in the kernel's buffer, by the rate or as the component does not take it, is one word for the
    component, `resynchronise`: it is owed until it could be told.
    """

    waits_for = select.POLLIN

    def __init__(self, interfaces: bytes, source: int, target: int) -> None:
        self._kernel = socket.socket(fileno=source)
        self.source = source
        self.target = Subscriber(target)
        self.owes = True  # from the first word on: what happened while there was no feed, as its helper had ended
        self._interfaces = interfaces
        self._reader = NetworkReader()
        self._rate = Bucket(AT_ONCE_MAX, PER_S)
        self._ask_for_names()

    def serve(self, descriptor: int) -> bool:
        """Pass on what waits; tell whether it goes on. If it is the component's descriptor that wakes, it has ended."""
        if descriptor != self.source:
            return False
        for _ in range(AT_ONCE):
            try:
                data, sender = self._kernel.recvfrom(_DATAGRAM_MAX)
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    return False
                self.owes = True  # the kernel had no room, and does not say for how many; names may have changed
                self._ask_for_names()
                continue
            if sender[0] != 0:
                continue  # a process said it, and not the kernel
            try:
                self._tell(data)
            except PeerError:
                self.owes = True
            except OSError:  # it has ended
                return False
        return True

    def settle(self) -> bool:
        """Tell the component that changes were lost, if that is owed; tell whether it goes on."""
        if not self.owes or not self._rate.take(time.monotonic()):
            return True
        self.owes = False
        try:
            self.target.tell(encode_change, RESYNCHRONISE)
        except OSError:
            return False
        self.owes = self.target.dropped > 0
        return True

    def close(self) -> None:
        self._kernel.close()
        self.target.close()

    def _tell(self, data: bytes) -> None:
        for change in self._reader.read_untrusted(data):
            if not passes(self._interfaces, change.interface):
                continue
            if self.owes or not self._rate.take(time.monotonic()):
                self.owes = True  # it reads all of it anew, so nothing in between is worth its time
                continue
            self.target.tell(encode_change, change)
            self.owes = self.target.dropped > 0

    def _ask_for_names(self) -> None:
        try:
            os.write(self.source, ask_for_links(1))
        except OSError:  # its buffer is full, or an answer is under way: names that are not known are ""
            self.owes = True
