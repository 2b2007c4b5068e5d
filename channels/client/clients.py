"""The clients of a running host: `AsyncClient`, and `Client` for code without asyncio."""

from __future__ import annotations

from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.channels.client.sync_client import Client

__all__ = ["AsyncClient", "Client"]
