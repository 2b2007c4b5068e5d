"""The asyncio client of a running host: what people call. How its session is kept is in `session.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from tlsrt.channels.calls.caller import new_idempotency_key
from tlsrt.channels.calls.chunks import parts_of
from tlsrt.channels.calls.jobs import JobCalls, JobDetails, JobEntry
from tlsrt.channels.client.describe import described
from tlsrt.channels.client.files.remote_path import parse_place
from tlsrt.channels.client.files.transfer import PATIENCE_S, Told, Transferred, get_file, put_file
from tlsrt.channels.client.result_secret import result_secret
from tlsrt.channels.client.session import CONNECT_TIMEOUT_S, ClientSession
from tlsrt.config.bundle import Bundle

__all__ = ["CONNECT_TIMEOUT_S", "AsyncClient"]


class AsyncClient:
    """A client of one host, under one session at a time. Use it as an async context manager.

    `bundle` is a Bundle, the path of one, its content as bytes, or None to find one by convention; `address`
    "HOST:PORT" replaces the bundle's. In a component, where there is no /proc, give the content of a bundle that is a
    secret, and as `scratch` the folder `self.state`: `AsyncClient(self.secret("host"), scratch=self.state)`. When
    another issuer key follows the bundle's, its file is renewed; a Bundle is only this object's.
    Entering raises ConfigError, Unavailable, Rejected or ServerLocked if there is no session to be had. While the
    server is locked it is asked again for `wait_locked` seconds (math.inf: for ever), and calls wait for the unlock,
    their own time not counting meanwhile; 0: ServerLocked at once.
    """

    def __init__(
        self, bundle: Bundle | Path | str | bytes | None = None, address: str | None = None, *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S, wait_locked: float = 0.0, scratch: Path | None = None,
    ) -> None:  # fmt: skip
        self._session = ClientSession(
            bundle, address, connect_timeout_s=connect_timeout_s, wait_locked=wait_locked, scratch=scratch
        )

    async def connect(self) -> None:
        """Open a session and keep it open until `close`; raises if the first attempt fails."""
        await self._session.connect()

    async def close(self) -> None:
        """End the session; calls in flight end with Unavailable or OutcomeUnknown."""
        await self._session.close()

    async def renew(self) -> None:
        """Get another certificate and put it into the bundle's file, as happens by itself after two thirds of its life.

        It is used from the next connection on, and then the old one ends. Raises Denied if the host gives none.
        """
        await self._session.renew()

    async def __aenter__(self) -> AsyncClient:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def call(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, idempotent: bool = False,
        **kwargs: object,
    ) -> Any:  # fmt: skip
        """Call a method and return its result; raises a CallError. `timeout_s` is at most 300 s.

        With `idempotent=True` it is repeated after a lost answer, and the recipient runs it once.
        """
        left = await self._session.ready(timeout_s)
        key = new_idempotency_key() if idempotent else None
        return await self._session.caller.call(target, method, args, kwargs, timeout_s=left, idempotency_key=key)

    async def put_off(
        self, when: str | datetime | timedelta, target: str, method: str, /, *args: object,
        missed: str = "once", jitter: str | timedelta | None = None, keep_result: bool = False,
        timeout_s: float = 30.0, **kwargs: object,
    ) -> str:  # fmt: skip
        """Have a call made later, also when this client is not there; return the id of the job once it is on the disk.

        `when` is a time as cron(8) has it (`"30 6 * * *"`), a period (`"every 10m"`), a duration (`"10m"`), an ISO time
        with a time zone, a datetime or a timedelta; times of day are those of the host. Each time runs at most once;
        one at which host or target was away is made up for once, not at all with `missed="skip"`, or with
        `missed="1h"` if it is no later than that. `jitter` delays all runs of the job by the same, which is chosen by
        chance within it. With `keep_result=True` the host keeps the last result, up to 1 KiB, sealed for this
        client's key: `show_job` has it. `timeout_s` is for putting it.
        """
        left = await self._session.ready(timeout_s)
        return await self._jobs.put(
            when, target, method, args, kwargs, missed=missed, timeout_s=left, jitter=jitter, keep_result=keep_result
        )

    async def jobs(self, *, timeout_s: float = 30.0) -> list[JobEntry]:
        """Return what this client has put off, the next first; for a target that does not answer, its `error`."""
        return await self._jobs.entries(timeout_s=await self._session.ready(timeout_s))

    async def remove_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """End a job by its id, or the first digits of it; return the whole id. Raises NotFound."""
        return await self._jobs.change("remove", job, timeout_s=await self._session.ready(timeout_s))

    async def show_job(self, job: str, *, timeout_s: float = 30.0) -> JobDetails:
        """Return all of a job: also its next times, how its last runs ended, and its arguments. Raises NotFound."""
        return await self._jobs.show(job, timeout_s=await self._session.ready(timeout_s))

    async def pause_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """Have a job run no more until `resume_job`; return the whole id. Raises NotFound."""
        return await self._jobs.change("pause", job, timeout_s=await self._session.ready(timeout_s))

    async def resume_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """Have a paused job go on; its times that came meanwhile are left out. Raises NotFound."""
        return await self._jobs.change("resume", job, timeout_s=await self._session.ready(timeout_s))

    async def stream(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, **kwargs: object
    ) -> AsyncGenerator[Any, None]:
        """Iterate the items of a streaming method; `timeout_s` bounds the sending of the request only."""
        left = await self._session.ready(timeout_s)
        items = self._session.caller.stream(target, method, args, kwargs, timeout_s=left)
        async with aclosing(items) as closing:  # type: ignore[type-var] # it is an async generator
            async for item in closing:
                yield item

    async def upload(
        self, target: str, method: str, data: bytes | Iterable[bytes] | AsyncIterable[bytes], /, *args: object,
        timeout_s: float = 300.0, **kwargs: object,
    ) -> Any:  # fmt: skip
        """Call a method that takes a stream of bytes as its last parameter; `data` may be a file or an iterable."""
        left = await self._session.ready(timeout_s)
        return await self._session.caller.upload(target, method, parts_of(data), args, kwargs, timeout_s=left)

    async def exchange(
        self, target: str, method: str, data: bytes | Iterable[bytes] | AsyncIterable[bytes], /, *args: object,
        timeout_s: float = 30.0, **kwargs: object,
    ) -> AsyncGenerator[Any, None]:  # fmt: skip
        """Send a stream of bytes to a method that answers with a stream, and iterate its items meanwhile.

        `timeout_s` bounds the sending of the request only.
        """
        left = await self._session.ready(timeout_s)
        items = self._session.caller.exchange(target, method, parts_of(data), args, kwargs, timeout_s=left)
        async with aclosing(items) as closing:  # type: ignore[type-var] # it is an async generator
            async for item in closing:
                yield item

    async def describe(self, target: str | None = None, *, timeout_s: float = 30.0) -> dict[str, Any]:
        """Return what this client may use: {target: description}, methods without a right left out.

        A target that does not answer has an `error` instead of methods. With `target`, only that one, and its error
        is raised.
        """
        await self._session.ready(timeout_s)
        return await described(self, target, self.rights, timeout_s)

    def show_attempt(self, target: str, method: str) -> None:
        """Let the host see a call that was asked for and is not made, as it cannot succeed: see `denied_probes.py`."""
        self._session.caller.probes.show(target, method)

    async def put(
        self, file: Path | str, place: str, *, patience_s: float = PATIENCE_S, on_progress: Told | None = None
    ) -> Transferred:
        """Send a file to `LOOP/COMPONENT/NAME`; returns when it is on the host's disk, whole and checked.

        A connection that breaks is taken up again where it was, here and in a later call; a CallError comes when no
        byte has moved for `patience_s`. `on_progress` hears (bytes done, bytes in all).
        """
        path = Path(file)
        return await put_file(self, path, parse_place(place, path.name), patience_s, on_progress)

    async def get(
        self, place: str, file: Path | str, *, patience_s: float = PATIENCE_S, on_progress: Told | None = None
    ) -> Transferred:
        """Fetch `LOOP/COMPONENT/NAME` into a file, replaced in one step when all of it is here; as `put` otherwise."""
        return await get_file(self, parse_place(place), Path(file), patience_s, on_progress)

    @property
    def _jobs(self) -> JobCalls:
        return JobCalls(self._session.caller, self._session.clock.now, lambda: result_secret(self.bundle.key_pem))

    @property
    def bundle(self) -> Bundle:
        """Who this client is, and which host it trusts."""
        return self._session.bundle

    @property
    def host(self) -> str:
        """The host that it connects to."""
        return self._session.host

    @property
    def port(self) -> int:
        """The port that it connects to."""
        return self._session.port

    @property
    def connected(self) -> bool:
        """Whether there is a session now; without one, calls wait for the next."""
        return self._session.connected

    @property
    def connections(self) -> int:
        """How many sessions were opened so far."""
        return self._session.connections

    @property
    def refused(self) -> Counter[str]:
        """Frames that were no authentic answers, counted by reason."""
        return self._session.refused

    @property
    def waits_for_unlock(self) -> bool:
        """Whether the server is locked now, and this client still waits for it."""
        return self._session.waits_for_unlock

    @property
    def rights(self) -> dict[str, tuple[str, ...]]:
        """What this session may call: target -> methods, `*` for all."""
        return self._session.endpoint.rights

    @property
    def subject(self) -> str:
        """Who this client is to the host: "client/NAME"; empty before the first session."""
        return self._session.endpoint.subject

    @property
    def session_info(self) -> dict[str, Any]:
        """The session in plain values: times in ms from now."""
        now = self._session.clock.now()
        endpoint = self._session.endpoint
        return {
            "subject": endpoint.subject,
            "session": endpoint.session.hex(),
            "epoch": endpoint.epoch,
            "session_ends_in_ms": max(0, endpoint.session_ends - now),
        }
