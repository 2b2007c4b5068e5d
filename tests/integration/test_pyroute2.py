"""pyroute2 as it is, in a real sealed process with the host's network: it reads, and changes nothing."""

from __future__ import annotations

import asyncio
import importlib
import os
import socket
import sys
from pathlib import Path

import pytest

from tlsrt import Denied
from tlsrt.testing import running
from tlsrt.testing.running import use_way
from tlsrt.testing.sealed import SealedRun

PACKAGE = Path(__file__).resolve().parents[1] / "hosts" / "sealed_package"
NEEDS = {"network": {"why": "it shows routes"}, "threads": 1}


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of a supervisor without root is in its network namespace")
def test_it_reads_routes_and_changes_none_and_nothing_of_it_is_refused() -> None:
    sys.path.append(str(PACKAGE))
    run = SealedRun()
    use_way(run.way)
    kind = importlib.import_module("sealable.network").Network

    async def main() -> None:
        async with asyncio.timeout(60), running(kind, needs=NEEDS) as it:
            here = {name for _, name in socket.if_nameindex()}
            assert set(await it.call("interfaces")) == here
            assert set(await it.call("interfaces_by_a_thread")) == here
            assert "127.0.0.1" in await it.call("routes")
            with pytest.raises(Denied, match="Operation not permitted"):
                await it.call("change")
            assert it.refused == []

    try:
        asyncio.run(main())
    finally:
        use_way(None)
        run.close()
        sys.path.remove(str(PACKAGE))
