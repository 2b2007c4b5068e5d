"""A handler that has begun and then raises Busy or Away has begun once: nothing repeats it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fakes.linked_components import CONSOLE, STORE, LinkedComponents, run

from tlsrt.errors import Away, Busy, CallError, Unavailable
from tlsrt.loops.component.component import Component, handler
from tlsrt.loops.component.peers import DeclaredPeer, Peer

PASSED_ON: dict[str, tuple[CallError, type[CallError]]] = {
    "busy": (Busy("no thread is free"), Busy),
    "away": (Away("third/other is starting"), Unavailable),
    "code": (CallError("third/other is starting", code="away"), Unavailable),
}


class Counts(Component):
    """Changes something, and then raises what another component told it."""

    def __init__(self) -> None:
        self.begun = 0

    @handler
    async def at_once(self, name: str) -> None:
        self.begun += 1
        raise PASSED_ON[name][0]

    @handler
    async def later(self, name: str) -> None:
        self.begun += 1
        await self.call(CONSOLE, "get", "x")
        raise PASSED_ON[name][0]

    @handler
    async def items(self, name: str) -> AsyncIterator[int]:
        self.begun += 1
        raise PASSED_ON[name][0]
        yield 1


@pytest.mark.parametrize("name", PASSED_ON)
@pytest.mark.parametrize("method", ["at_once", "later", "items"])
@pytest.mark.parametrize("is_idempotent", [False, True])
def test_a_peer_runs_it_once(method: str, name: str, is_idempotent: bool) -> None:
    async def test(wired: LinkedComponents) -> None:
        declared = DeclaredPeer(STORE, None, 0.2, 8.0, (method,) if is_idempotent else ())
        call = getattr(Peer(declared, None, wired.hosts[CONSOLE]), method)(name)
        with pytest.raises(CallError) as caught:
            await (anext(aiter(call)) if method == "items" else call)
        assert type(caught.value) is PASSED_ON[name][1] and caught.value.is_told
        assert wired.store.begun == 1

    run(test, Counts)
