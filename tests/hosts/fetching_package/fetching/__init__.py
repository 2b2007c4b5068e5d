"""A component that needs the network, as an operator would write one."""

from __future__ import annotations

import asyncio
import errno

from tlsrt import Component, handler


class Fetcher(Component):
    """Asks an echo server."""

    @handler
    async def fetch(self, host: str, port: int) -> str:
        """Send a word and return the answer, or the name of the error."""
        try:
            async with asyncio.timeout(10):
                reader, writer = await asyncio.open_connection(host, port)
                writer.write(b"ping")
                answer = (await reader.readexactly(4)).decode()
                writer.close()
                return answer
        except OSError as error:
            return errno.errorcode[error.errno or 0]
