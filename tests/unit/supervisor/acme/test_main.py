"""One job of the ACME process with a CA on loopback; the test is the supervisor, and gives it sockets."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hosts.hostile_ca import HostileCA
from hosts.running_host import free_port

from tlsrt.channels.control.acme import ACME
from tlsrt.channels.control.seqpacket import ControlChannel
from tlsrt.supervisor.authority.door.files import seal_copy
from tlsrt.supervisor.authority.door.issued_chain import der_of, make_key, signing_request
from tlsrt.supervisor.supervision.acme_process import connected_socket

NAME = "kettle.example.org"


@pytest.fixture
def ca() -> Iterator[HostileCA]:
    with HostileCA() as ca:
        yield ca


def order(ca: HostileCA, ports: Sequence[int], *, is_http: bool) -> tuple[str, Any, list[int]]:
    """Return the last word of a process about an order, and the numbers of its connections; `ports`: the CA's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    channel = ControlChannel(ours.detach(), ACME)
    body = f"from tlsrt.supervisor.acme.main import acme_main; acme_main({theirs.fileno()})"
    process = subprocess.Popen([sys.executable, "-c", body], pass_fds=[theirs.fileno()])
    theirs.close()
    numbers: list[int] = []
    try:
        while True:
            assert select.select([channel.fileno()], [], [], 60)[0]
            received = channel.receive("acme", "sealed" if numbers else "new")
            if received is None:
                continue
            name, message, _ = received
            if name == "sealed":
                numbers.append(-1)
                if is_http:
                    with socket.create_server(("127.0.0.1", ca.http_port)) as listener:
                        channel.send("listen", descriptors=[listener.fileno()])
                given = (
                    seal_copy("roots", ca.roots.read_bytes()),
                    seal_copy("key", der_of(ec.generate_private_key(ec.SECP256R1()))),
                )
                request = signing_request(make_key(), [NAME])
                fields = (f"{ca.url}/dir", [NAME], "", request, "", int(is_http))
                channel.send("order", *fields, descriptors=given)
                for descriptor in given:
                    os.close(descriptor)
            elif name == "connect":
                numbers.append(message.number)
                connected = connected_socket("127.0.0.1", ports[message.number % len(ports)])
                channel.send("connected", message.number, descriptors=[connected])
                os.close(connected)
            else:
                return name, message, numbers[1:]
    finally:
        channel.close()
        process.wait(60)


def port_of(ca: HostileCA) -> int:
    return int(ca.url.rpartition(":")[2])


def test_http_01_is_answered_while_a_request_to_the_ca_waits(ca: HostileCA) -> None:
    ca.mode, ca.http_port = "looks_at_once", free_port()
    assert order(ca, [port_of(ca)], is_http=True)[0] == "issued"
    assert ca.is_proved


def test_an_address_of_the_ca_that_is_not_reached_is_left_for_another(ca: HostileCA) -> None:
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))  # and does not listen
        refusing = dead.getsockname()[1]
        name, _, numbers = order(ca, [refusing, port_of(ca)], is_http=False)
        assert name == "issued" and numbers == [0] + [1] * (len(numbers) - 1)
        name, _, numbers = order(ca, [refusing], is_http=False)
        assert name == "failed" and numbers == [0, 1, 2]
