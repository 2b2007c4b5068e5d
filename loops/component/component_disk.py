"""What a component has on its disk, as the runtime begins and ends it: threads that wait for it, and its database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tlsrt.loops.component.component import Component
from tlsrt.loops.disk_thread import DiskThread


def disk_threads_of(component: Component) -> Sequence[DiskThread]:
    """Return the threads that wait for a disk on its behalf."""
    database = component._tlsrt_database
    return component.disk_threads if database is None else (*component.disk_threads, database.disk)


async def open_database(component: Component, max_bytes: int) -> None:
    """Open the database that it declares, if any, before its `start`. Raises ConfigError."""
    if component._tlsrt_database is not None:
        await component._tlsrt_database.open(component.address, component.state, max_bytes)


async def close_database(component: Component) -> None:
    """Close its database, after its `stop`."""
    if component._tlsrt_database is not None:
        await component._tlsrt_database.close()


def start_disks(components: Iterable[Component]) -> None:
    """Start the threads that write and sync for these components."""
    for component in components:
        for disk in disk_threads_of(component):
            disk.start()
