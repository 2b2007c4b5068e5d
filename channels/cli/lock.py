"""`tlsrt lock` and `unlock`."""

from __future__ import annotations

import argparse

from tlsrt.channels.cli.contexts import chosen
from tlsrt.channels.client.lock import lock_host, unlock_host
from tlsrt.command_line.table import Document


async def lock(arguments: argparse.Namespace) -> Document:
    is_new = await lock_host(arguments.reason, *chosen(arguments), timeout_s=arguments.timeout)
    return {"locked": True, "already": not is_new}


async def unlock(arguments: argparse.Namespace) -> Document:
    await unlock_host(*chosen(arguments), timeout_s=arguments.timeout)
    return {"locked": False}


def lock_lines(answer: Document) -> list[str]:
    if not answer["locked"]:
        return ["unlocked"]
    return ["already locked" if answer["already"] else "locked"]
