"""Documents about what a client may call: the page for people, the list of targets, OpenAPI. asyncio."""

from __future__ import annotations

import json
from importlib.metadata import version

from tlsrt.errors import CallError
from tlsrt.loops.http.openapi import openapi
from tlsrt.loops.http.page import HTML, page
from tlsrt.loops.http.request import JSON, Act, HttpCall
from tlsrt.loops.http.response import HttpResponse, answer
from tlsrt.loops.http.session import DelegatedSession
from tlsrt.loops.http.values import encode_value

VERSION = version("tlsrt")  # read before the seal


async def document(session: DelegatedSession, wish: HttpCall) -> HttpResponse:
    """Return the document that is asked for; components that do not run now are not in it."""
    if wish.act is Act.PAGE:
        return answer(200, HTML, page(session.subject, session.rights, VERSION))
    if wish.act is Act.TARGETS:
        return answer(200, JSON, encode_value({target: list(names) for target, names in session.rights.items()}))
    found = {}
    for target in sorted(session.rights):
        try:
            found[target] = await session.describe(target)
        except CallError:  # it does not run now
            continue
    return answer(200, JSON, json.dumps(openapi(found, VERSION, wish.authority)).encode())
