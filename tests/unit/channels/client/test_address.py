"""Why a host was not reached, in words for its operator."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from tlsrt.channels.client.address import why_unreachable

REFUSED, NO_ROUTE = os.strerror(errno.ECONNREFUSED), os.strerror(errno.EHOSTUNREACH)
FROM_ASYNCIO = OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 7443)")
OF_THREE = (
    f"Multiple exceptions: {FROM_ASYNCIO}, [Errno {errno.EHOSTUNREACH}] Connect call failed ('::1', 7443, 0, 0), "
    f"{FROM_ASYNCIO}"
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, REFUSED), REFUSED),
        (FROM_ASYNCIO, REFUSED),
        (OSError(OF_THREE), f"{REFUSED}, {NO_ROUTE}"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (OSError("no more"), "no more"),
    ],
)
def test_the_reason_is_the_systems_and_says_what_to_do(error: OSError, reason: str) -> None:
    assert why_unreachable(error) == f"{reason}; check the address, and that tlsrt runs there"
