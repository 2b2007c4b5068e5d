"""A camera in a call: its pictures for the people of the call, while that goes on and is not held. asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from tlsrt import CallError, Component
from tlsrt.loops.external.call import Call
from tlsrt.loops.external.call_party import PersonParty
from tlsrt.loops.external.call_pictures import Picture, SeenPictures, pictures_untrusted

AGAIN_S = 2.0  # a camera that is away, or that this component may not see


async def show_camera(component: Component, camera: str, call: Call) -> None:
    """Let them see LOOP/COMPONENT/SOURCE, for ever; to be cancelled with the call."""
    target, _, source = camera.rpartition("/")
    told = ""
    while True:
        seen = [one.leg.seen for one in call.parties() if isinstance(one, PersonParty) and one.leg.seen is not None]
        if not seen:
            return
        try:
            pictures = pictures_untrusted(component.stream(target, "frames", source))
            async with aclosing(cast(AsyncGenerator[Picture], pictures)) as items:
                async for picture in items:
                    _put(call, seen, picture)
        except CallError as error:
            if error.message != told:
                component.log.warning("no pictures of %s: %s", camera, error.message)
            told = error.message
        await asyncio.sleep(AGAIN_S)


def _put(call: Call, seen: list[SeenPictures], picture: Picture) -> None:
    for one in seen:
        if not call.holds:
            one.put(picture)
