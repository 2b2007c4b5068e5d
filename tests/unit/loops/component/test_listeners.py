"""Sockets that a component inherits, and one that its program has at the same time."""

from __future__ import annotations

import os
import socket

import pytest

from tlsrt.config.listeners import Interface
from tlsrt.errors import MisuseError, Unavailable
from tlsrt.loops.component.listeners import InheritedListeners


def test_a_look_at_a_socket_changes_nothing_for_the_program_that_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as made:
        found = InheritedListeners("third/program", {"web": made.fileno()})
        with found.look_at("web") as looked_at:
            assert looked_at.getsockname() == made.getsockname()
        assert os.get_blocking(made.fileno())
        with found.get("web") as own:
            assert own.gettimeout() == 0 and not os.get_blocking(made.fileno())


def test_a_name_that_needs_do_not_have_is_said_with_the_nearest_one() -> None:
    found = InheritedListeners("third/program", {"web": 99})
    for ask in (found.get, found.look_at):
        with pytest.raises(MisuseError, match="no listener 'wed', did you mean 'web'"):
            ask("wed")


def test_a_listener_of_a_group_has_an_interface_and_no_other_one_has() -> None:
    near = Interface("eth0", 2, ("192.0.2.7/24",))
    found = InheritedListeners("third/a", {"mdns": 9, "gone": 9, "web": 9}, {"mdns": near, "gone": None})
    assert found.interface("mdns") is near
    with pytest.raises(Unavailable, match="of listener 'gone' was not there"):
        found.interface("gone")
    with pytest.raises(MisuseError, match="'web' of third/a has no `group`"):
        found.interface("web")
    with pytest.raises(MisuseError, match="no listener 'mdn'"):
        found.interface("mdn")
