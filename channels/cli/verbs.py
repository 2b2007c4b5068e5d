"""What the verbs of the `tlsrt` command do, once it is known what is asked."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

from tlsrt.channels.cli.arguments import arguments_of, signature
from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.channels.client.event_line import event_line, is_coloured
from tlsrt.channels.client.events import Event, Journal, follow, look_back, may_hear
from tlsrt.channels.client.lock import lock_host, unlock_host
from tlsrt.errors import Denied, NotFound
from tlsrt.output import INDENT, records, to_json, to_line, to_text
from tlsrt.text import printable


class Options(NamedTuple):
    """What every verb takes."""

    bundle: str | None
    address: str | None
    timeout_s: float
    json: bool
    wait_locked_s: float = 0.0

    def client(self) -> AsyncClient:
        return AsyncClient(
            self.bundle, self.address, connect_timeout_s=min(self.timeout_s, 10.0), wait_locked=self.wait_locked_s
        )


async def renew(options: Options) -> None:
    """Renew this client's certificate, and come once with the new one, which ends the old one."""
    from tlsrt.channels.client.enroll import ends_of

    async with options.client() as client:
        await client.renew()
        bundle = client.bundle
    async with options.client() as client:
        ends = ends_of(bundle)
        said = {"client": client.subject, "ends": ends}
        print(to_json(said) if options.json else f"{client.subject} has another certificate, good until {ends}")


async def call(options: Options, target: str, method: str, words: Sequence[str]) -> None:
    """Call a method and print its result, item by item if it streams."""
    async with options.client() as client:
        methods = (await client.describe(target, timeout_s=options.timeout_s))[target].get("methods", {})
        spec = methods.get(method)
        if spec is None and method not in ("describe", "subscribe"):
            client.show_attempt(target, method)
        if spec is None and not _may(client, target, method):
            raise Denied(f"this client may not call {method} of {target}" + _instead(methods))
        if spec is None and method not in ("describe", "subscribe"):
            raise NotFound(f"{target} has no method {method}" + _instead(methods))
        args, kwargs = arguments_of(words, spec)
        spec = spec or {"stream": method == "subscribe"}
        if spec.get("stream"):
            items = client.stream(target, method, *args, timeout_s=options.timeout_s, **kwargs)
            async with aclosing(items):
                async for item in items:
                    _print_item(item, options)
        elif spec.get("upload"):
            data = sys.stdin.buffer
            _print(await client.upload(target, method, data, *args, timeout_s=options.timeout_s, **kwargs), options)
        else:
            repeat = bool(spec.get("idempotent"))
            _print(
                await client.call(target, method, *args, timeout_s=options.timeout_s, idempotent=repeat, **kwargs),
                options,
            )


def _may(client: AsyncClient, target: str, method: str) -> bool:
    methods = client.rights.get(target, ())
    return method in methods or "*" in methods or method == "describe"


def _instead(methods: Mapping[str, Any]) -> str:
    return f"; there is {', '.join(map(printable, methods))}" if methods else ""


async def describe(options: Options, target: str | None) -> None:
    """Print what this client may use."""
    async with options.client() as client:
        components = await client.describe(target, timeout_s=options.timeout_s)
    if options.json:
        print(to_json(components, indent=2))
        return
    print("\n\n".join("\n".join(_described(name, component)) for name, component in components.items()))


def _described(name: str, component: Mapping[str, Any]) -> list[str]:
    if "error" in component:
        return [f"{printable(name)}  (no answer: {printable(str(component['error']))})"]
    lines = [f"{printable(name)}  {printable(_first_line(component))}".rstrip()]
    for method, spec in component.get("methods", {}).items():
        lines.append(INDENT + printable(method + signature(spec)))
        lines += [INDENT * 3 + printable(line) for line in str(spec.get("doc", "")).splitlines() if line.strip()]
    for topic, text in component.get("topics", {}).items():
        lines.append(INDENT + printable(f"topic {topic}: {text}"))
    return lines


def _first_line(component: Mapping[str, Any]) -> str:
    return str(component.get("doc", "")).partition("\n")[0]


async def events(options: Options, kinds: Sequence[str], since: int, *, is_followed: bool) -> None:
    """Print the events of the host that are kept, and those to come if they are followed."""
    colour = is_coloured(sys.stdout.isatty(), os.environ)

    def tell(event: Event) -> None:
        print(to_json(event) if options.json else event_line(event, colour=colour), flush=is_followed)

    async with options.client() as client:
        heard = may_hear(client, kinds, live=is_followed)
        journal = Journal(heard, since)
        if not is_followed:
            for event in await look_back(client, journal, options.timeout_s):
                tell(event)
            return
        async with aclosing(follow(client, heard, journal, options.timeout_s)) as stream:
            async for event in stream:
                tell(event)


async def whoami(options: Options) -> None:
    """Print who this client is to the host."""
    async with options.client() as client:
        info: dict[str, Any] = {**client.session_info, "server": f"{client.host}:{client.port}"}
        rights = {target: list(methods) for target, methods in client.rights.items()}
    if options.json:
        print(to_json({**info, "rights": rights}, indent=2))
        return
    ends = info.pop("session_ends_in_ms") // 60_000
    print(to_text({**info, "session ends in": f"{ends} min"}))
    rows = [{"target": target, "methods": " ".join(methods)} for target, methods in sorted(rights.items())]
    print("\n".join(("", *records(rows))) if rows else "no rights: no policy line names this client")


def _print(value: object, options: Options) -> None:
    """Print a result; bytes go out raw unless a person is reading."""
    if options.json:
        print(to_json(value, indent=2))
    elif isinstance(value, bytes) and not sys.stdout.isatty():
        sys.stdout.buffer.write(value)
    elif isinstance(value, str) and not sys.stdout.isatty():
        print(value)
    elif value is not None:
        print(to_text(value))


def _print_item(item: object, options: Options) -> None:
    if isinstance(item, bytes) and not options.json and not sys.stdout.isatty():
        sys.stdout.buffer.write(item)
        sys.stdout.buffer.flush()
    else:
        print(to_json(item) if options.json else to_line(item), flush=True)


async def lock(options: Options, reason: str) -> None:
    """Lock the host."""
    is_new = await lock_host(reason, options.bundle, options.address, timeout_s=options.timeout_s)
    _print_lock(options, {"locked": True, "already": not is_new}, "locked" if is_new else "it was locked already")


async def unlock(options: Options) -> None:
    """Unlock the host."""
    await unlock_host(options.bundle, options.address, timeout_s=options.timeout_s)
    _print_lock(options, {"locked": False}, "unlocked, and there are sessions again")


def _print_lock(options: Options, document: Mapping[str, Any], sentence: str) -> None:
    print(to_json(document, indent=2) if options.json else sentence)
