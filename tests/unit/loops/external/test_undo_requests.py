"""What leads back from a change of interfaces: each request is one that may be kept, and a state comes back by them."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tlsrt.loops.external.interface_state import InterfaceState, State
from tlsrt.loops.external.undo_requests import undo_requests
from tlsrt.supervisor.helper.netlink import attributes_untrusted
from tlsrt.supervisor.launch.undo_process import checked_untrusted

ADDRESSES = st.dictionaries(
    st.sampled_from(["192.0.2.1/24", "10.0.0.1/32", "fd00::1/64", "2001:db8::2/128"]),
    st.none() | st.integers(1, 0xFFFFFFFE),
)
ROUTES = st.lists(
    st.tuples(
        st.sampled_from(["0.0.0.0/0", "10.9.0.0/16", "192.0.2.7/32"]), st.sampled_from(["", "192.0.2.9"]),
        st.integers(0, 0x7FFFFFFF), st.sampled_from(["boot", "static", "117", "dhcp", "unheard"]),
    ),
    max_size=4,
)  # fmt: skip
STATES = st.builds(
    lambda up, mtu, addresses, routes: {"up": up, "mtu": mtu, "addresses": addresses, "routes": routes},
    st.booleans(), st.integers(68, 65535), ADDRESSES, ROUTES,
)  # fmt: skip


@given(STATES, STATES)
def test_each_request_is_one_that_may_be_kept(before: Any, changed: Any) -> None:
    states: list[State] = [json.loads(json.dumps({"eth0": one})) for one in (before, changed)]  # as from the disk
    found = checked_untrusted(undo_requests(states[0], states[1], {"eth0": 7}))
    assert all(one.type in (19, 20, 21, 24, 25) for one in found)
    assert undo_requests(states[0], states[1], {}) == b"", "what has vanished needs no undoing"


def test_the_way_back_has_an_order() -> None:
    before: InterfaceState = {
        "up": True, "mtu": 1500, "addresses": {"192.0.2.1/24": None, "10.0.0.7/24": 300},
        "routes": [("0.0.0.0/0", "192.0.2.9", 0, "static")],
    }  # fmt: skip
    changed: InterfaceState = {
        "up": False, "mtu": 1300, "addresses": {"10.8.0.1/24": None},
        "routes": [("10.9.0.0/16", "10.8.0.2", 50, "117")],
    }  # fmt: skip
    found = checked_untrusted(undo_requests({"eth0": before}, {"eth0": changed}, {"eth0": 7}))
    assert [one.type for one in found] == [19, 19, 20, 20, 24, 25, 21]  # MTU, up, addresses, route; what is to go
    assert attributes_untrusted(found[0].body[16:]) == {4: struct.pack("=I", 1500)}
    assert found[1].body[8:16] == struct.pack("=II", 1, 1)  # IFF_UP, and no other flag
    assert attributes_untrusted(found[3].body[8:])[6] == struct.pack("=4I", 300, 300, 0, 0)  # a lease stays one
    route = attributes_untrusted(found[4].body[12:])
    assert route == {4: struct.pack("=I", 7), 5: socket.inet_aton("192.0.2.9")} and found[4].body[5] == 4  # static
    assert found[4].flags == 0x600 and found[5].flags == 0
    down = checked_untrusted(undo_requests({"eth0": changed}, {"eth0": before}, {"eth0": 7}))
    assert down[-1].body[8:16] == struct.pack("=II", 0, 1) and 24 not in [one.type for one in down]
