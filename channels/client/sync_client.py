"""The client for code without asyncio: the same, over an event loop of its own in a private thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from concurrent import futures
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from tlsrt.channels.calls.jobs import JobDetails, JobEntry
from tlsrt.channels.client.async_client import CONNECT_TIMEOUT_S, AsyncClient
from tlsrt.channels.client.files.transfer import PATIENCE_S, Told, Transferred
from tlsrt.config.bundle import Bundle
from tlsrt.errors import Cancelled, Unavailable

Result = TypeVar("Result")
_END = object()


class Client:
    """A client of one host; connects when made. Methods may be called from any thread. Use it in a `with` block.

    Parameters and errors are those of `AsyncClient`.
    """

    def __init__(
        self, bundle: Bundle | Path | str | None = None, address: str | None = None, *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S, wait_locked: float = 0.0,
    ) -> None:  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tlsrt-client", daemon=True)
        self._thread.start()
        self._client: AsyncClient | None = None
        try:
            self._client = self._run(self._start(bundle, address, connect_timeout_s, wait_locked))
        except BaseException:
            self.close()
            raise

    async def _start(
        self, bundle: Bundle | Path | str | None, address: str | None, timeout_s: float, wait_locked: float
    ) -> AsyncClient:
        client = AsyncClient(bundle, address, connect_timeout_s=timeout_s, wait_locked=wait_locked)
        return await client.__aenter__()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session and the thread. May be called twice."""
        if self._loop.is_closed():
            return
        if self._client is not None:
            self._run(self._client.close())
        self._run(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        """Leave no task and no generator behind."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()

    def call(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, idempotent: bool = False,
        **kwargs: object,
    ) -> Any:  # fmt: skip
        """Call a method and return its result; see `AsyncClient.call`."""
        return self._run(self._open.call(target, method, *args, timeout_s=timeout_s, idempotent=idempotent, **kwargs))

    def put_off(
        self, when: str | datetime | timedelta, target: str, method: str, /, *args: object,
        missed: str = "once", jitter: str | timedelta | None = None, keep_result: bool = False,
        timeout_s: float = 30.0, **kwargs: object,
    ) -> str:  # fmt: skip
        """Have a call made later and return the id of the job; see `AsyncClient.put_off`."""
        putting = self._open.put_off(
            when,
            target,
            method,
            *args,
            missed=missed,
            jitter=jitter,
            keep_result=keep_result,
            timeout_s=timeout_s,
            **kwargs,
        )
        return self._run(putting)

    def jobs(self, *, timeout_s: float = 30.0) -> list[JobEntry]:
        """Return what this client has put off; see `AsyncClient.jobs`."""
        return self._run(self._open.jobs(timeout_s=timeout_s))

    def remove_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """End a job by its id, or the first digits of it; return the whole id."""
        return self._run(self._open.remove_job(job, timeout_s=timeout_s))

    def show_job(self, job: str, *, timeout_s: float = 30.0) -> JobDetails:
        """Return all of a job; see `AsyncClient.show_job`."""
        return self._run(self._open.show_job(job, timeout_s=timeout_s))

    def pause_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """Have a job run no more until `resume_job`; return the whole id."""
        return self._run(self._open.pause_job(job, timeout_s=timeout_s))

    def resume_job(self, job: str, *, timeout_s: float = 30.0) -> str:
        """Have a paused job go on; see `AsyncClient.resume_job`."""
        return self._run(self._open.resume_job(job, timeout_s=timeout_s))

    def stream(
        self, target: str, method: str, /, *args: object, timeout_s: float = 30.0, **kwargs: object
    ) -> Iterator[Any]:
        """Iterate the items of a streaming method; ending the iteration early cancels it."""
        return self._iterate(self._open.stream(target, method, *args, timeout_s=timeout_s, **kwargs))

    def exchange(
        self, target: str, method: str, data: bytes | Iterable[bytes], /, *args: object, timeout_s: float = 30.0,
        **kwargs: object,
    ) -> Iterator[Any]:  # fmt: skip
        """Send a stream of bytes and iterate the items that come back meanwhile; see `AsyncClient.exchange`.

        An iterable is read in another thread, so that it may wait for what is iterated here.
        """
        return self._iterate(self._open.exchange(target, method, data, *args, timeout_s=timeout_s, **kwargs))

    def _iterate(self, items: AsyncGenerator[Any, None]) -> Iterator[Any]:
        try:
            while True:
                item = self._run(_next(items))
                if item is _END:
                    return
                yield item
        finally:
            if not self._loop.is_closed():
                self._end(items.aclose())

    def _end(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it, and wait for it if this thread may: a forgotten stream may be collected in the client's own."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._run(work)
        else:
            asyncio.run_coroutine_threadsafe(work, self._loop)

    def upload(
        self, target: str, method: str, data: bytes | Iterable[bytes], /, *args: object, timeout_s: float = 300.0,
        **kwargs: object,
    ) -> Any:  # fmt: skip
        """Call a method that takes a stream of bytes; an iterable is read in another thread."""
        return self._run(self._open.upload(target, method, data, *args, timeout_s=timeout_s, **kwargs))

    def describe(self, target: str | None = None, *, timeout_s: float = 30.0) -> dict[str, Any]:
        """Return what this client may use; see `AsyncClient.describe`."""
        return self._run(self._open.describe(target, timeout_s=timeout_s))

    def put(
        self, file: Path | str, place: str, *, patience_s: float = PATIENCE_S, on_progress: Told | None = None
    ) -> Transferred:
        """Send a file; see `AsyncClient.put`. `on_progress` is called in the client's own thread."""
        return self._run(self._open.put(file, place, patience_s=patience_s, on_progress=on_progress))

    def get(
        self, place: str, file: Path | str, *, patience_s: float = PATIENCE_S, on_progress: Told | None = None
    ) -> Transferred:
        """Fetch a file; see `AsyncClient.get`. `on_progress` is called in the client's own thread."""
        return self._run(self._open.get(place, file, patience_s=patience_s, on_progress=on_progress))

    def renew(self) -> None:
        """Get another certificate; see `AsyncClient.renew`."""
        self._run(self._open.renew())

    @property
    def rights(self) -> dict[str, tuple[str, ...]]:
        """What this session may call: target -> methods, `*` for all."""
        return self._open.rights

    @property
    def subject(self) -> str:
        """Who this client is to the host: "client/NAME"."""
        return self._open.subject

    @property
    def session_info(self) -> dict[str, Any]:
        """The session in plain values: times in ms from now."""
        return self._open.session_info

    @property
    def _open(self) -> AsyncClient:
        if self._client is None or self._loop.is_closed():
            raise Unavailable("the client is closed")
        return self._client

    def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run in the client's thread and wait; an interrupt here cancels it there. Raises Cancelled at a close."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except futures.CancelledError:  # which is not asyncio's
            raise Cancelled("the client was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise


async def _next(items: AsyncGenerator[Any, None]) -> Any:
    return await anext(items, _END)
