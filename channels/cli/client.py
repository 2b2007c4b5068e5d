"""The client of one command, as its options say."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from tlsrt.channels.cli.contexts import chosen
from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.errors import Denied
from tlsrt.text import did_you_mean

_CONNECT_S = 10.0


def client_of(arguments: argparse.Namespace) -> AsyncClient:
    """Return the client, not yet connected."""
    bundle, address = chosen(arguments)
    return AsyncClient(
        bundle,
        address,
        connect_timeout_s=min(arguments.timeout, _CONNECT_S),
        wait_locked=arguments.wait_locked,
    )


@contextmanager
def hinting(client: AsyncClient, target: str | None) -> Iterator[None]:
    """Add to a denial the target that was probably meant: one that this client has rights for."""
    try:
        yield
    except Denied as error:
        if target is not None and target not in client.rights:
            error.message += did_you_mean(target, client.rights)
        raise
