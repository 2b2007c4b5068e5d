"""What a component is granted of the host beyond its process: devices, settings and events. Also one with nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any, Literal, Protocol, cast, overload

from tlsrt.channels.control.host_event import Uevent
from tlsrt.channels.control.kernel_record import KernelRecord
from tlsrt.channels.control.network_change import NetworkChange
from tlsrt.channels.control.pressure import Pressure
from tlsrt.channels.control.process_table import ProcessTable
from tlsrt.errors import InvalidArgument, MisuseError
from tlsrt.loops.component.device import Device
from tlsrt.loops.component.host_archive import HostArchive
from tlsrt.loops.component.host_events import HostEvent
from tlsrt.loops.component.runtime_file import FILES_MOST, RuntimeFile
from tlsrt.loops.component.surroundings import Surrounding


class Grants(Protocol):
    """The runtime's side of `Granted`."""

    def device(self, name: str) -> Device:
        """Return a device. Raises MisuseError for one that is not granted."""
        ...

    def set(self, name: str, value: int | str) -> Coroutine[Any, Any, None]:
        """Have a setting set. Raises CallErrors, and MisuseError for one that is not granted."""
        ...

    def unset(self, name: str, value: int | str) -> Coroutine[Any, Any, None]:
        """Have it undone. Raises as `set` does."""
        ...

    def host_events(self, kind: str) -> AsyncIterator[HostEvent]:
        """Return the events of a kind from now on. Raises MisuseError for one that is not granted."""
        ...

    def alert(self, name: str) -> None:
        """Report an anomaly. Raises MisuseError for one that is not granted."""
        ...

    def runtime_do(
        self, act: str, target: str, within_s: float = 0, *, subject: str = "", asked_by: str = ""
    ) -> Coroutine[Any, Any, None]:
        """Have the runtime do something. Raises CallErrors, and MisuseError for what is not granted."""
        ...

    def runtime_targets(self, act: str) -> tuple[str, ...]:
        """Return the components to which an act may be done; ("",) for one that is done to none."""
        ...

    def runtime_states(self) -> Coroutine[Any, Any, dict[str, str]]:
        """Return the states of components. Raises as `runtime_do` does."""
        ...

    def runtime_files(self, kind: str, most: int) -> Coroutine[Any, Any, list[RuntimeFile]]:
        """Return files of logs, open. Raises as `runtime_do` does."""
        ...

    def runtime_archive(self) -> Coroutine[Any, Any, HostArchive]:
        """Return an archive of the host. Raises as `runtime_do` does."""
        ...

    def reach_for(self, caller: str, host: str, port: int) -> Coroutine[Any, Any, list[str]]:
        """Return the addresses at which a caller may reach a host. Raises Denied, Unavailable, and MisuseError."""
        ...


class NoGrants:
    """The grants of a component that has none."""

    def device(self, name: str) -> Device:
        raise MisuseError(f"device {name!r} is not granted: name it under `needs: devices`")

    async def set(self, name: str, value: int | str) -> None:
        raise MisuseError(f"setting {name!r} is not granted: name it under `needs: settings`")

    unset = set

    def host_events(self, kind: str) -> AsyncIterator[HostEvent]:
        raise MisuseError(f"events {kind!r} are not granted: name them under `needs: events`")

    def alert(self, name: str) -> None:
        raise MisuseError(f"alert {name!r} is not granted: name it under `needs: alerts`")

    async def runtime_do(
        self, act: str, target: str, within_s: float = 0, *, subject: str = "", asked_by: str = ""
    ) -> None:
        raise MisuseError(f"{act} {target}".rstrip() + " is not granted: name it under `needs: runtime`")

    def runtime_targets(self, act: str) -> tuple[str, ...]:
        return ()

    async def runtime_states(self) -> dict[str, str]:
        raise MisuseError("no component is granted to be listed: name some under `needs: runtime`")

    async def runtime_files(self, kind: str, most: int) -> list[RuntimeFile]:
        raise MisuseError(f"to read {kind} is not granted: name it under `needs: runtime`")

    async def runtime_archive(self) -> HostArchive:
        raise MisuseError("an archive of the host is not granted: ask for `backup` under `needs: runtime`")

    async def reach_for(self, caller: str, host: str, port: int) -> list[str]:
        raise MisuseError("it reaches nothing for others: name `relay` under its needs")


class Runtime:
    """What a component may ask of the runtime itself: `self.runtime`; each act is granted under `needs: runtime`."""

    def __init__(self, grants: Grants) -> None:
        self._grants = grants

    async def pause(self, component: str, *, asked_by: str = "") -> None:
        """Stop the process of a component, and return when it is down; its state stays. Calls get `Unavailable`.

        The audit log has it before it is done. It lasts until `resume`, until the operator starts the process, or
        until the host starts anew. `asked_by` is the caller for whom it is, `self.caller`: the audit log names it, and
        nothing is done if it has no session or may not call this component. Raises Denied with the reason, Busy,
        Unavailable if it could not be recorded, and OutcomeUnknown.
        """
        await self._grants.runtime_do("pause", component, asked_by=asked_by)

    async def resume(self, component: str, *, asked_by: str = "") -> None:
        """Start again what was paused, and return when it is active. What the operator has stopped stays down."""
        await self._grants.runtime_do("resume", component, asked_by=asked_by)

    async def restart(self, component: str, *, asked_by: str = "") -> None:
        """Restart the process of a component, as `tlsrt-supervisor restart`, and return when it is active again.

        What runs in the same process restarts with it. What the operator has stopped stays down: Denied. Raises as
        `pause` does; 16 restarts, locks, releases and revocations at once and one in 2 s, then Busy.
        """
        await self._grants.runtime_do("restart", component, asked_by=asked_by)

    async def lock(self, *, asked_by: str = "") -> None:
        """Lock the host: all sessions end, also the caller's, until an operator unlocks it. Raises as `pause` does."""
        await self._grants.runtime_do("lock", "", asked_by=asked_by)

    async def release(self, subject: str, *, asked_by: str) -> None:
        """End what attack response does about `client/NAME`, a component, a loop or an address.

        It is always for a caller. Denied for one about whom nothing is done, for the caller itself, and for this
        component and its process. Raises as `pause` does.
        """
        await self._grants.runtime_do("release", "", subject=subject, asked_by=asked_by)

    async def revoke(self, client: str, *, asked_by: str) -> None:
        """End the enrolled client `client/NAME` for good, as `tlsrt-supervisor client revoke`; always for a caller.

        Denied for the caller itself, for a client that the configuration lists, and for one that may lock, unlock or
        operate the host. Raises as `pause` does.
        """
        await self._grants.runtime_do("revoke", "", subject=client, asked_by=asked_by)

    def targets(self, act: str) -> tuple[str, ...]:
        """Return the components to which `pause`, `resume` or `restart` may be done; ("",) for `lock` and such."""
        return self._grants.runtime_targets(act)

    async def states(self) -> dict[str, str]:
        """Return the states of the components that are granted by `may: list`: active, paused, backoff, absent..."""
        return await self._grants.runtime_states()

    async def shutdown(self, *, within_s: float | None = None) -> None:
        """End the host in order: External, Third, Secondary, Primary, Forth. Returns before it begins.

        `within_s` (1 to 600) is how long that may take: each process has at most half of what is left, and what does
        not end in it is killed. Without it each has `limits.stop_timeout_s`. In Forth, a process with this right ends
        last: what it holds, such as a lock of logind, lasts until the others have ended. Raises as `pause` does.
        """
        if within_s is not None and not 1 <= within_s <= 600:
            raise InvalidArgument(f"within_s must be 1 to 600 seconds, not {within_s}")
        await self._grants.runtime_do("shutdown", "", within_s or 0)

    async def log_files(self, most: int = FILES_MOST) -> list[RuntimeFile]:
        """Return the log files of all processes, open to be read, if granted by `may: logs`; the caller closes them.

        What has grown is read on by the same descriptor. A log that was moved away stays what the descriptor reads:
        ask again after some seconds, and compare `identity`. Raises Busy, Failed, and Unavailable if the audit log did
        not take that this component reads them, which is recorded once in the life of its process.
        """
        return await self._grants.runtime_files("logs", most)

    async def audit_files(self, most: int = FILES_MOST) -> list[RuntimeFile]:
        """Return the files of the audit log, the newest first, if granted by `may: audit`; see `log_files`."""
        return await self._grants.runtime_files("audit", most)

    async def status_file(self) -> RuntimeFile:
        """Return what `tlsrt-supervisor status --json` says now, as JSON to be read, if granted by `may: status`.

        It is a copy in memory: ask again for a later one. Raises as `log_files` does.
        """
        return (await self._grants.runtime_files("status", 1))[0]

    async def backup(self) -> HostArchive:
        """Have an archive of the host made, and return it to be read: configuration, boot token, clients, all state.

        No key is in it, and it is sealed under the host's master_key: nothing of it can be read here, and who restores
        it knows that this host has written it. A restore of it was tried when this returns. One at a time in the whole
        host, else Busy; Failed with where the reason stands, such as a disk that is full; OutcomeUnknown.

            with await self.runtime.backup() as archive:
                for piece in archive.pieces():  # waits for a pipe: in a thread of `disk_threads`
                    file.write(piece)
        """
        return await self._grants.runtime_archive()


class Granted:
    """The part of a component that reaches what it is granted of the host."""

    _tlsrt_grants: Surrounding[Grants] = Surrounding()

    def device(self, name: str) -> Device:
        """Return a device that is granted under `needs: devices`; see `Device`."""
        return self._tlsrt_grants.device(name)

    async def set(self, name: str, value: int | str) -> None:
        """Have a setting of the kernel made that is granted under `needs: settings`, after the audit log has it.

        `value` is a number for a file, an address (`"10.0.0.5%eth1"`) for a route, an element (`"192.0.2.7"`, a port)
        for a set of nftables. Raises InvalidArgument outside its range, Busy, Unavailable if it could not be recorded,
        Failed with the kernel's reason, OutcomeUnknown if the helper ended over it: it may have been made.
        """
        await self._tlsrt_grants.set(name, value)

    async def unset(self, name: str, value: int | str) -> None:
        """Have a route, or an element of a set, removed again: `await self.unset("block", "192.0.2.7")`.

        What is not there is removed already. Raises as `set` does, and MisuseError for a file: that has always one.
        """
        await self._tlsrt_grants.unset(name, value)

    @overload
    def host_events(self, kind: Literal["uevents"]) -> AsyncIterator[Uevent]: ...
    @overload
    def host_events(self, kind: Literal["pressure"]) -> AsyncIterator[Pressure]: ...
    @overload
    def host_events(self, kind: Literal["kernel_log"]) -> AsyncIterator[KernelRecord]: ...
    @overload
    def host_events(self, kind: Literal["network"]) -> AsyncIterator[NetworkChange]: ...
    @overload
    def host_events(self, kind: Literal["processes"]) -> AsyncIterator[ProcessTable]: ...
    def host_events(self, kind: str) -> AsyncIterator[Any]:
        """Return what the kernel tells from now on, if granted under `needs: events`.

        Of `uevents` that is a `Uevent` for each device that comes, goes or changes, of `pressure` a `Pressure`
        whenever tasks have waited for longer than the grant says, of `kernel_log` each `KernelRecord` that passes the
        grant's filter, of `network` a `NetworkChange` of each link, address and route, of `processes` a `ProcessTable`
        every few seconds. What is not taken in time is lost, and `dropped` counts it.

            async for event in self.host_events("pressure"):
                self.log.warning("%s: %.1f %% of the last 10 s", event.resource, event.avg10)
        """
        return cast("AsyncIterator[Any]", self._tlsrt_grants.host_events(kind))

    def alert(self, name: str) -> None:
        """Report an anomaly of the host that is granted under `needs: alerts`: `self.alert("intruder")`.

        It is a security event and a record of the audit log, and counts where the operator has the detector
        `alert_warning` or `alert_critical` act. Never waits: of many at once the later ones are told with the next one.
        """
        self._tlsrt_grants.alert(name)

    @property
    def runtime(self) -> Runtime:
        """What it may ask of the runtime itself, see `Runtime`: `await self.runtime.pause("secondary/ai")`."""
        return Runtime(self._tlsrt_grants)

    async def reach_for(self, caller: str, host: str, port: int) -> list[str]:
        """Return the addresses at which a caller may reach a host and port over TCP, if `needs: relay` is granted.

        They are judged by the caller's own egress rules: connect to one of them, and to no other. Raises Denied with a
        sentence if no rule of the caller lists the host, Unavailable if its name has no address now.

            addresses = await self.reach_for(self.caller, "api.example.org", 443)
        """
        return await self._tlsrt_grants.reach_for(caller, host, port)
