"""Other hosts in calls: those that ring here, as clients of this one, and the way to those that are rung. asyncio.

A call to another host is a stream of a session with it, which is made for this call alone and ends with it; sound goes
by that stream, too. So it has no port, no address and no key of its own: what ends the session at either host ends the
call, and nothing that comes from elsewhere is of it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path

# OpenSSL reads the key of a bundle from a file, so it is written there encrypted: loaded here, before the seal.
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key

from tlsrt import AsyncClient, Busy, CallError, Denied, TlsrtError, Unavailable
from tlsrt.loops.external.call_leg import HeardPieces, Piece, pieces_of
from tlsrt.loops.external.call_options import CallHostOptions

TARGET = "external/calls"
CONNECT_S = 5.0
_ = BestAvailableEncryption, load_pem_private_key
_REASON = 200


class CallHosts:
    """The hosts of the options. `secret` gives the bundle of a client there, or None; `address` is this component."""

    def __init__(
        self, hosts: Mapping[str, CallHostOptions], secret: Callable[[str], bytes | None], scratch: Path, address: str
    ) -> None:
        self._names = {one.client: name for name, one in hosts.items() if one.client}
        self._bundles = {name: secret(one.secret) for name, one in hosts.items() if one.secret}
        self._scratch = scratch
        lacking = [f"{name}: `tlsrt-supervisor secret set {address} {hosts[name].secret}`" for name in self._bundles
                   if self._bundles[name] is None]  # fmt: skip
        self.wrong = f"there is no way to host {'; '.join(lacking)}" if lacking else ""

    def name_of(self, caller: str) -> str:
        """Return which host a caller is. Raises Denied for one that is none."""
        name = self._names.get(caller)
        if name is None:
            raise Denied(f"{caller} is no host here: the option `hosts` names the clients that are hosts")
        return name

    async def ring(self, address: str, heard: HeardPieces, *, by: str, says: str) -> AsyncIterator[Piece]:
        """Ring NUMBER@HOST, and yield what is said there, as `ring_component` does; it ends where that is declined.

        Raises Busy for who is engaged, and Unavailable where no one answers or the host is not reached.
        """
        number, _, host = address.partition("@")
        if (bundle := self._bundles.get(host)) is None:
            raise Unavailable(self.wrong or f"there is no way to host {host}: it has no `secret` in the options")
        try:
            async with AsyncClient(bundle, scratch=self._scratch, connect_timeout_s=CONNECT_S) as client:
                items = client.exchange(TARGET, "dial_from", heard, number, by, says)
                async with aclosing(items) as said:
                    async for piece in pieces_of(said):
                        yield piece
        except Busy as error:
            raise Busy(_line(error)) from None
        except (TlsrtError, OSError, ValueError) as error:
            raise Unavailable(f"host {host}: {_line(error)}") from None


def _line(error: BaseException) -> str:
    """Return what another host says is wrong as one line: it may say anything."""
    text = error.message if isinstance(error, CallError) else str(error)
    return "".join(each if each.isprintable() else " " for each in text[:_REASON]) or type(error).__name__
