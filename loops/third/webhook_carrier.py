"""A webhook as a carrier: JSON by POST through external/fetch, by the egress rules of this component."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from tlsrt import CallError, Length, Range
from tlsrt.loops.third.notice import CarrierAwayError, Message, UndeliverableError

_NEVER = frozenset({400, 413, 422})  # the message itself is refused; other answers may change
Request = Callable[..., Coroutine[Any, Any, dict[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class WebhookOptions:
    """A URL that takes notifications."""

    url: Annotated[str, Length(4096, 8), "Where it is sent; `needs: egress` must list the host."]
    secret: Annotated[str, Length(64), "The secret that is sent as a bearer token; empty for none."] = ""
    ca: Annotated[str, Length(64), "An authority of the options of external/fetch; empty for those of the host."] = ""
    timeout_s: Annotated[float, Range(1, 120), "For one request, seconds."] = 30.0

    def __post_init__(self) -> None:
        if not self.url.startswith("https://"):
            raise ValueError(f"{self.url[:80]!r} is no URL that begins with https://")


class WebhookCarrier:
    """Posts each message; an answer of 2xx takes it."""

    def __init__(self, options: WebhookOptions, token: str, request: Request) -> None:
        self.timeout_s = options.timeout_s + 5
        self._options = options
        self._token = token
        self._request = request

    async def deliver(self, message: Message) -> None:
        headers = {"content-type": "application/json", "idempotency-key": message.delivery}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        body = json.dumps(message.told(), ensure_ascii=True).encode()
        options = self._options
        try:
            answer = await self._request(
                "POST", options.url, headers=headers, body=body, within_s=options.timeout_s, ca=options.ca
            )
        except CallError as error:
            raise CarrierAwayError(error.message) from None
        status = answer["status"]
        if status in _NEVER:
            raise UndeliverableError(f"the webhook refuses the notification: status {status}")
        if not 200 <= status < 300:
            raise CarrierAwayError(f"the webhook answers with status {status}")

    def take_back(self, number: int) -> None:
        """What was posted stays."""
