"""A component that speaks D-Bus by libsystemd's own library, as it is."""

from __future__ import annotations

import os

import sdbus

from tlsrt import Component, handler


class Light(sdbus.DbusInterfaceCommonAsync, interface_name="org.example.Light"):
    """A lamp on the bus."""

    @sdbus.dbus_method_async()
    async def set(self) -> None:
        raise NotImplementedError

    @sdbus.dbus_method_async()
    async def get(self) -> None:
        raise NotImplementedError


class SdbusTalk(Component):
    """Switches a lamp."""

    @handler
    async def switch(self, path: str, name: str) -> list[str]:
        """Call a method that is listed, and one that is not."""
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path={path}"
        light = Light.new_proxy(name, "/thing", sdbus.sd_bus_open_system())
        found: list[str] = []
        for method in (light.set, light.get):
            try:
                await method()
                found.append("done")
            except sdbus.SdBusBaseError as error:
                found.append(type(error).__name__)
        return found
