"""The network of the host as pyroute2 sees it."""

from __future__ import annotations

import pyroute2

from tlsrt import Component, Denied, handler


class Network(Component):
    """Interfaces and routes, read."""

    @handler(idempotent=True)
    async def interfaces(self) -> list[str]:
        async with pyroute2.AsyncIPRoute() as ip:
            return [one.get("ifname") async for one in await ip.get_links()]

    @handler(idempotent=True)
    async def interfaces_by_a_thread(self) -> list[str]:
        return await self.work(self.ask)

    def ask(self) -> list[str]:
        with pyroute2.IPRoute() as ip:
            return [one.get("ifname") for one in ip.get_links()]

    @handler(idempotent=True)
    async def routes(self) -> list[str]:
        async with pyroute2.AsyncIPRoute() as ip:
            return [one.get("dst") or "default" async for one in await ip.get_routes(family=2)]

    @handler
    async def change(self) -> None:
        async with pyroute2.AsyncIPRoute() as ip:
            try:
                await ip.link("set", index=1, state="up")
            except pyroute2.NetlinkError as error:
                raise Denied(str(error)) from None
