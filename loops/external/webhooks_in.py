"""Messages by webhooks: others post to this host, signed, and each delivery is one message. Needs `http` (h11).

It is another process than external/webhooks: what the network reaches has neither the keys by which this host signs,
nor a way out. A delivery is answered with 200 once `send` has answered and it is remembered on the disk, so nothing
that was answered is lost, and a repetition is told from it, also after kill -9. What is not signed is told 403 and
nothing else, whatever was wrong, whether there is such a path or not.
"""

from __future__ import annotations

import hashlib
import os
import re
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

# OpenSSL reads the key from a file, so it is written there encrypted: loaded here, before the seal.
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key

from tlsrt import (
    CallError,
    Component,
    ConfigError,
    Length,
    Pattern,
    Range,
    database,
    handler,
    load_key_pair,
)
from tlsrt.loops.external.address_rates import AddressRates
from tlsrt.loops.external.hook_attachment import HookAttachment
from tlsrt.loops.external.hook_request import HookRequest
from tlsrt.loops.external.hook_server import HookAnswer, HookServer
from tlsrt.loops.external.hook_signature import STYLES, NotGenuineError, keys_of
from tlsrt.loops.external.message import BODY_BYTES, CONTENT_TYPE, TO, TO_RULE, TOPIC
from tlsrt.loops.external.taken_deliveries import STEP, TakenDeliveries

_ = BestAvailableEncryption, load_pem_private_key
MESSAGES = "external/messages"
_REFUSED = HookAnswer(403)
_TOLD_EACH_S = 60.0
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9_.~-]{0,127}){1,8}")
_PATH_RULE = "a path such as /hooks/github, of letters, digits, _ - . and ~"


@dataclass(frozen=True, kw_only=True)
class IncomingOptions:
    """A path that others post to."""

    to: Annotated[str, Pattern(TO, TO_RULE), "Whose mailbox it is for."]
    path: Annotated[str, Length(1024), "Where it is posted; empty for / and the name of the hook."] = ""
    style: Annotated[Literal["standard", "github"], "Whose signature: Standard Webhooks, or X-Hub-Signature-256."] = (
        "standard"
    )
    secret: Annotated[str, Length(64, 1), "The secret with its keys, one a line; each hook has its own."] = "key"  # noqa: S105
    topic: Annotated[str, Length(88), "The topic of its messages; empty for the name of the hook."] = ""
    # What it lets in within twice the tolerance of a signature is less than what is remembered.
    per_minute: Annotated[int, Range(1, 1000), "Deliveries in the long run, and as many at once."] = 120

    def __post_init__(self) -> None:
        if self.path and not _PATH.fullmatch(self.path):
            raise ValueError(f"{self.path[:80]!r} is no path: write {_PATH_RULE}")
        if self.topic and not TOPIC.fullmatch(self.topic):
            raise ValueError(f"{self.topic!r} is no topic: write a name such as house.door")


class WebhooksIn(Component):
    """Takes messages that are posted by webhooks."""

    @dataclass(frozen=True)
    class Options:
        """Options: the hooks, and bounds of the server."""

        hooks: Annotated[dict[str, IncomingOptions], Length(8), "By name, which is the topic of its messages."] = field(
            default_factory=dict[str, IncomingOptions]
        )
        body_kb: Annotated[int, Range(1, 1024), "Largest body, KiB; what has more than 64 comes as attachment."] = 1024
        within_s: Annotated[float, Range(1, 60), "For one connection from its begin to its end, seconds."] = 15.0
        address_per_s: Annotated[float, Range(0.1, 1000), "Connections of an address a second in the long run."] = 10.0
        address_burst: Annotated[int, Range(1, 1000), "Connections of an address at once."] = 50

        def __post_init__(self) -> None:
            paths: dict[str, str] = {}
            secrets: dict[str, str] = {}
            for name, one in self.hooks.items():
                if not _NAME.fullmatch(name):
                    raise ValueError(f"hooks: {name!r} is no name: write a-z, 0-9, _ and -")
                if (other := paths.setdefault(one.path or f"/{name}", name)) != name:
                    raise ValueError(f"hooks: {name} has the path of {other}: give each its own")
                if (other := secrets.setdefault(one.secret, name)) != name:
                    raise ValueError(
                        f"hooks: {name} has the secret of {other}: name another one, also under `needs: secrets`, "
                        "as what is signed for one would be taken for the other"
                    )

    db = database(steps=[STEP])

    def wall_s(self) -> int:
        """The wall clock, in a method of its own so that a test can set it."""
        return int(time.time())

    async def start(self) -> None:
        options = self.options
        self._names = {one.path or f"/{name}": name for name, one in options.hooks.items()}
        self._keys = {name: self._keys_of(one.secret) for name, one in options.hooks.items()}
        self._nobody = [os.urandom(32)]  # what is posted to no hook is verified too, so an answer takes as long
        self._refuse_shared_keys()
        self._rates = {name: AddressRates(one.per_minute / 60, one.per_minute) for name, one in options.hooks.items()}
        self._figures = {name: Counter[str]() for name in options.hooks}
        self._last_refusal: dict[str, str] = {}
        self._told_s: dict[str, float] = {}
        self._away = ""
        self._remembered = TakenDeliveries(self.db)
        self._large = HookAttachment(self)
        context = self._context()
        self._server = HookServer(
            context, self._take, AddressRates(options.address_per_s, options.address_burst), options.body_kb << 10,
            options.within_s, self.count, self.log,
        )  # fmt: skip
        self.spawn(self._serve, name="server")

    async def _serve(self) -> None:
        await self._server.serve(self.listener("https"))

    async def healthy(self) -> str | None:
        if trouble := await self.db.check():
            return trouble
        return f"deliveries are put off: {self._away}" if self._away else None

    @handler(idempotent=True)
    async def hooks(self) -> dict[str, dict[str, Any]]:
        """The hooks: path, recipient, what was taken, repeated, put off and refused, and why the last was refused."""
        return {
            name: {
                "path": path, "to": self.options.hooks[name].to, "last_refusal": self._last_refusal.get(name),
                **{what: self._figures[name][what] for what in ("taken", "repeated", "put_off", "refused")},
            }
            for path, name in self._names.items()
        }  # fmt: skip

    # -- one delivery -----------------------------------------------------------------------------------------

    async def _take(self, request: HookRequest) -> HookAnswer:
        name = self._names.get(request.target, "") if request.method == "POST" else ""
        verify = STYLES[self.options.hooks[name].style if name else "standard"]
        try:
            genuine = verify(self._keys.get(name, self._nobody), request.headers, request.body, self.wall_s())
            if not name:
                raise NotGenuineError("there is no such hook")
        except NotGenuineError as error:
            self._is_refused(name, str(error))
            return _REFUSED
        delivery = hashlib.sha256(f"{name}\0{genuine.unique}".encode()).digest()[:16]
        try:
            return await self._keep(name, delivery, genuine.event, request)
        except CallError as error:
            self._counted(name, "put_off")
            self._tell(f"messages {error.message}", f"hook {name}: a delivery is put off: {error.message}")
            self._away = error.message
            return HookAnswer(503, 30)

    async def _keep(self, name: str, delivery: bytes, event: str, request: HookRequest) -> HookAnswer:
        """Send a delivery that is signed, once. Raises CallError."""
        hook = self.options.hooks[name]
        if await self._remembered.has(name, delivery):
            self._counted(name, "repeated")
            return HookAnswer(200)
        if not self._rates[name].take("", time.monotonic()):
            self._counted(name, "put_off")
            return HookAnswer(429, 60)
        topic = hook.topic or name
        topic = f"{topic}.{event}" if event else topic
        kind = _content_type(request.headers.get("content-type", []))
        if len(request.body) > BODY_BYTES:
            await self._large.send(hook.to, request.body, kind, topic, delivery.hex(), self.options.within_s)
        else:
            await self.call(
                MESSAGES, "send", hook.to, _text_or_bytes(request.body), id=delivery.hex(), topic=topic,
                timeout_s=self.options.within_s, content_type=kind,
            )  # fmt: skip
        await self._remembered.add(name, delivery)
        self._away = ""
        self._counted(name, "taken")
        return HookAnswer(200)

    def _counted(self, name: str, what: str) -> None:
        self._figures[name][what] += 1
        self.count(what)

    def _is_refused(self, name: str, why: str) -> None:
        self.count("refused")
        if name:
            self._figures[name]["refused"] += 1
            self._last_refusal[name] = why
        self._tell(name, f"hook {name}: a delivery is refused: {why}" if name else "a delivery to no hook is refused")

    def _tell(self, key: str, words: str) -> None:
        """Log it once a minute for each key: strangers must not fill the log."""
        now_s = time.monotonic()
        if now_s - self._told_s.get(key, -_TOLD_EACH_S) < _TOLD_EACH_S:
            return
        if len(self._told_s) > 64:
            self._told_s.clear()
        self._told_s[key] = now_s
        self.log.warning("%s", words)

    # -- secrets ----------------------------------------------------------------------------------------------

    def _keys_of(self, secret: str) -> list[bytes]:
        try:
            return keys_of(self.secret(secret))
        except ValueError as error:
            again = f"`tlsrt-supervisor secret set {self.address} {secret}`"
            raise ConfigError(f"the secret {secret} has no keys of a webhook: {error}; {again}") from None

    def _refuse_shared_keys(self) -> None:
        seen: dict[bytes, str] = {}
        for name, keys in self._keys.items():
            for key in keys:
                if (other := seen.setdefault(key, name)) != name:
                    raise ConfigError(
                        f"hooks {other} and {name} have the same key: what is signed for one would be taken for the "
                        "other; have a sender make another key"
                    )

    def _context(self) -> ssl.SSLContext:
        """Return a context for TLS 1.3 with the secret `tls`. Raises ConfigError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0  # who comes again proves nothing by it
        context.set_alpn_protocols(["http/1.1"])
        try:
            load_key_pair(context, self.secret("tls"), self.state)
        except (ValueError, TypeError, OSError) as error:
            raise ConfigError(
                "the secret tls is no private key (PEM, without a password) followed by its certificates, the own one "
                f"first: `cat key.pem certificate.pem | tlsrt-supervisor secret set {self.address} tls`"
            ) from error
        return context


def _text_or_bytes(body: bytes) -> str | bytes:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return body


def _content_type(given: list[str]) -> str:
    """Return a type as messages have it: what is said, or what says nothing."""
    return given[0] if len(given) == 1 and CONTENT_TYPE.fullmatch(given[0]) else "application/octet-stream"
