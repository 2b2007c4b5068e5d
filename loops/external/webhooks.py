"""Messages to webhooks: a carrier with a mailbox, a key and egress rules of its own. Needs external/fetch.

What is sent to `external/webhooks` with the topic HOOK, or HOOK.MORE, is posted to that hook, signed as Standard
Webhooks has it, and acknowledged when the hook has taken it. So it waits in the mailbox while the hook is away, and
goes at least once, under an id that is the same each time. Each hook has a task of its own.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

from tlsrt import CallError, Component, InvalidArgument, Length, Range, handler
from tlsrt.loops.external.carrier import Carrier, NotTaken, Refused

FETCH = "external/fetch"
_NEVER = frozenset({400, 404, 410, 413, 422})  # the message, or the hook, is refused for good
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, kw_only=True)
class HookOptions:
    """A URL that takes messages."""

    url: Annotated[str, Length(4096, 8), "Where it is posted; `needs: egress` must list the host."]
    ca: Annotated[str, Length(64), "An authority of the options of external/fetch; empty for those of the host."] = ""
    timeout_s: Annotated[float, Range(1, 120), "For one request, seconds."] = 30.0

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ValueError(f"{self.url[:80]!r} is no URL that begins with https://")


class Webhooks(Component):
    """Posts messages to webhooks."""

    @dataclass(frozen=True)
    class Options:
        """Options: the hooks."""

        hooks: Annotated[dict[str, HookOptions], Length(8), "By name, which is the topic of its messages."] = field(
            default_factory=dict[str, HookOptions]
        )
        retry_s: Annotated[float, Range(1, 86_400), "Longest pause until a hook is tried again, seconds."] = 300.0

        def __post_init__(self) -> None:
            for name in self.hooks:
                if not _NAME.fullmatch(name):
                    raise ValueError(f"hooks: {name!r} is no name: write a-z, 0-9, _ and -")

    def wall_s(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return int(time.time())

    async def start(self) -> None:
        self._key = key_of(self.secret("key"))
        self._carrier = Carrier(self, self.options.retry_s, "hook")
        for name in self.options.hooks:
            self._carrier.carry(name, partial(self._post, name), name)
        self._carrier.refuse_others(self.options.hooks)

    async def healthy(self) -> str | None:
        return self._carrier.trouble()

    @handler(idempotent=True)
    async def hooks(self) -> dict[str, str | None]:
        """The hooks, and why one is away: what is for it waits meanwhile."""
        return {name: self._carrier.away.get(name) for name in self.options.hooks}

    async def _post(self, name: str, message: dict[str, Any]) -> None:
        """Post a message once. Raises NotTaken, Refused."""
        hook = self.options.hooks[name]
        body = body_of(message)
        headers = signed_headers(self._key, message["id"], self.wall_s(), body)
        try:
            answer = await self.call(
                FETCH, "request", "POST", hook.url, headers=headers, body=body, within_s=hook.timeout_s, ca=hook.ca,
                timeout_s=hook.timeout_s + 5,
            )  # fmt: skip
        except CallError as error:
            raise NotTaken(error.message) from None
        status = answer["status"]
        if status in _NEVER:
            raise Refused(f"the hook {name} refuses this message: status {status}")
        if not 200 <= status < 300:
            raise NotTaken(f"it answers with status {status}")
        self.count("posted")


def key_of(secret: bytes) -> bytes:
    """Return the key of a secret, `whsec_` and base64 as the other side shows it, or bytes. Raises InvalidArgument."""
    text = secret.strip()
    if text.startswith(b"whsec_"):
        try:
            text = base64.b64decode(text[6:], validate=True)
        except binascii.Error:
            raise InvalidArgument("the secret key is no base64 behind whsec_: copy it again") from None
    else:
        text = secret
    if len(text) < 16:
        raise InvalidArgument(f"the secret key has {len(text)} bytes: it takes at least 16")
    return text


def body_of(message: dict[str, Any]) -> bytes:
    """Return the JSON of a message; bytes are base64."""
    names = ("id", "from", "to", "topic", "content_type", "created_ms", "expires_ms", "in_reply_to", "attachments")
    shown = {name: message[name] for name in names}
    body = message["body"]
    if isinstance(body, bytes):
        shown["body_base64"] = base64.b64encode(body).decode()
    else:
        shown["body"] = body
    return json.dumps(shown, ensure_ascii=True).encode()


def signed_headers(key: bytes, id: str, now_s: int, body: bytes) -> dict[str, str]:
    """Return the headers of Standard Webhooks (standardwebhooks.com): HMAC-SHA256 over id, time and body."""
    signature = hmac.digest(key, b"%s.%d.%s" % (id.encode(), now_s, body), "sha256")
    return {
        "content-type": "application/json", "webhook-id": id, "webhook-timestamp": str(now_s),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }  # fmt: skip
