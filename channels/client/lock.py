"""`unlock_host` and `lock_host`: what a client that may do so does with the whole host. asyncio.

    asyncio.run(unlock_host("var/ops.tlsrt"))

Neither needs a session. That the host is unlocked is believed when there is a session again, and that it is locked when
its door says so.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tlsrt.channels.client.address import parse_address
from tlsrt.channels.client.async_client import CONNECT_TIMEOUT_S, AsyncClient
from tlsrt.channels.client.connection import client_context
from tlsrt.channels.client.lock_connection import LOCKED, LOST, NOT_LOCKED, try_lock
from tlsrt.channels.session.opening import identity_of
from tlsrt.channels.tls.message_stream import REASON_MAX
from tlsrt.config.bundle import Bundle, read_bundle
from tlsrt.config.search_path import find_bundle
from tlsrt.errors import Busy, CallError, Conflict, InvalidArgument, OutcomeUnknown, Rejected, ServerLocked, Unavailable

LOOK_S = 0.1  # between two looks whether the host is locked by now
NO_REASON = "no reason was given"
_GONE = ("unlocked", "draining", LOST)  # the Primary that was asked has ended, or is about to

Source = Bundle | Path | str | None


async def unlock_host(bundle: Source = None, address: str | None = None, *, timeout_s: float = 30.0) -> None:
    """Unlock the host, and wait until it gives sessions again.

    Raises Conflict if it is not locked, Rejected if this client may not, Unavailable or ServerLocked if it stays so.
    """
    end = asyncio.get_running_loop().time() + timeout_s
    found = _bundle_of(bundle)
    word = await _try(found, address, None, timeout_s)
    if word == NOT_LOCKED:
        raise Conflict("the host is not locked")
    if word not in _GONE:
        raise _error_of(word, "unlock")
    left = max(1.0, end - asyncio.get_running_loop().time())
    async with AsyncClient(found, address, wait_locked=left):
        return


async def lock_host(
    reason: str = "", bundle: Source = None, address: str | None = None, *, timeout_s: float = 10.0
) -> bool:
    """Lock the host; return whether it was not locked before. Raises InvalidArgument, Rejected, or OutcomeUnknown."""
    if len(reason) > REASON_MAX:
        raise InvalidArgument(f"a reason has at most {REASON_MAX} characters")
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    found = _bundle_of(bundle)
    word = await _try(found, address, reason or NO_REASON, timeout_s)
    if word == LOCKED:
        return False
    if word != LOST:
        raise _error_of(word, "lock")
    while loop.time() < end:
        try:
            async with AsyncClient(found, address):
                await asyncio.sleep(LOOK_S)
        except ServerLocked:
            return True
    raise OutcomeUnknown("the connection ended before the host had answered, and it is not locked")


def _bundle_of(source: Source) -> Bundle:
    return source if isinstance(source, Bundle) else read_bundle(find_bundle(None if source is None else str(source)))


async def _try(bundle: Bundle, address: str | None, reason: str | None, timeout_s: float) -> str:
    host, port = parse_address(address) if address else (bundle.host, bundle.port)
    return await try_lock(
        host, port, bundle.server_name, client_context(bundle), identity_of(bundle), reason,
        min(timeout_s, CONNECT_TIMEOUT_S),
    )  # fmt: skip


def _error_of(word: str, what: str) -> CallError:
    if word == "unchanged":
        return Unavailable("the host stays locked: it cannot write its state, or record that it is unlocked")
    if word == "busy":
        return Busy("too many tries to lock or unlock the host now: try again in a second")
    return Rejected(
        f"this client may not {what} the host: it needs `may: [{what}]` in the host's configuration, or `client set`"
    )
