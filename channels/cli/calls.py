"""`tlsrt call`, `describe` and `whoami`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import Any

from tlsrt.channels.cli.arguments import arguments_of, check_put_off, signature
from tlsrt.channels.cli.client import client_of, hinting
from tlsrt.channels.cli.jobs import time_of
from tlsrt.channels.cli.standard_input import standard_input
from tlsrt.channels.client.async_client import AsyncClient
from tlsrt.channels.client.tracing import traced
from tlsrt.channels.frames.frame import BODY_MAX
from tlsrt.command_line.table import Document
from tlsrt.config.files import read_bounded
from tlsrt.errors import ConfigError, Denied, InvalidArgument, NotFound
from tlsrt.output import INDENT, records, to_json, to_line, to_text
from tlsrt.text import did_you_mean, printable


async def call(arguments: argparse.Namespace) -> None:
    """Call a method and print its result, item by item if it streams.

    The description of the target comes first: words become arguments by the types of its parameters.
    """
    with traced(arguments.traceparent) if arguments.traceparent else nullcontext():
        await _call(arguments)


async def _call(arguments: argparse.Namespace) -> None:
    target, method, timeout_s = arguments.target, arguments.method, arguments.timeout
    async with client_of(arguments) as client:
        with hinting(client, target):
            methods = (await client.describe(target, timeout_s=timeout_s))[target].get("methods", {})
        spec = methods.get(method)
        if spec is None and method not in ("describe", "metrics", "subscribe"):
            client.show_attempt(target, method)
        if spec is None and not _may(client, target, method):
            raise Denied(f"this client may not call {method} of {target}{_instead(method, methods)}")
        if spec is None and method not in ("describe", "metrics", "subscribe"):
            raise NotFound(f"{target} has no method {method}{_instead(method, methods)}")
        args, kwargs = arguments_of(arguments.words, spec, _content)
        spec = spec or {"stream": method == "subscribe"}
        if when := time_of(arguments):
            check_put_off(kwargs)
            job = await client.put_off(
                when,
                target,
                method,
                *args,
                missed=arguments.missed,
                jitter=arguments.jitter or None,
                keep_result=arguments.keep_result,
                timeout_s=timeout_s,
                **kwargs,
            )
            _print(job, as_json=arguments.json)
            return
        if spec.get("stream"):
            items = (
                client.exchange(target, method, standard_input(), *args, timeout_s=timeout_s, **kwargs)
                if spec.get("upload")
                else client.stream(target, method, *args, timeout_s=timeout_s, **kwargs)
            )
            async with aclosing(items):
                async for item in items:
                    _print_item(item, as_json=arguments.json)
        elif spec.get("upload"):
            result = await client.upload(target, method, standard_input(), *args, timeout_s=timeout_s, **kwargs)
            _print(result, as_json=arguments.json)
        else:
            repeat = bool(spec.get("idempotent"))
            result = await client.call(target, method, *args, timeout_s=timeout_s, idempotent=repeat, **kwargs)
            _print(result, as_json=arguments.json)


def _content(name: str) -> bytes:
    """Return what is in a file, for an argument; larger ones are for methods that take data. Raises InvalidArgument."""
    try:
        return read_bounded(Path(name), BODY_MAX, "the file")
    except ConfigError as error:
        raise InvalidArgument(f"@{name}: {error}") from None


def _may(client: AsyncClient, target: str, method: str) -> bool:
    methods = client.rights.get(target, ())
    return method in methods or "*" in methods or method == "describe"


def _instead(method: str, methods: Mapping[str, Any]) -> str:
    return did_you_mean(method, methods) or (f"; there is {', '.join(map(printable, methods))}" if methods else "")


async def describe(arguments: argparse.Namespace) -> Document:
    """Ask for what this client may use."""
    async with client_of(arguments) as client:
        with hinting(client, arguments.target):
            return await client.describe(arguments.target, timeout_s=arguments.timeout)


def describe_lines(components: Document) -> list[str]:
    return ["\n\n".join("\n".join(_described(name, component)) for name, component in components.items())]


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


async def whoami(arguments: argparse.Namespace) -> Document:
    """Ask for this client's session and rights."""
    async with client_of(arguments) as client:
        rights = {target: list(methods) for target, methods in client.rights.items()}
        return {**client.session_info, "server": f"{client.host}:{client.port}", "rights": rights}


def whoami_lines(answer: Document) -> list[str]:
    info = dict(answer)
    rights, ends = info.pop("rights"), info.pop("session_ends_in_ms") // 60_000
    rows = [{"target": target, "methods": " ".join(methods)} for target, methods in sorted(rights.items())]
    return [
        to_text({**info, "session ends in": f"{ends} min"}),
        *(["", *records(rows)] if rows else ["no rights: no policy line names this client"]),
    ]


def _print(value: object, *, as_json: bool) -> None:
    """Print a result; bytes go out raw unless a person is reading."""
    if as_json:
        print(to_json(value, indent=2))
    elif isinstance(value, bytes) and not sys.stdout.isatty():
        sys.stdout.buffer.write(value)
    elif isinstance(value, str) and not sys.stdout.isatty():
        print(value)
    elif value is not None:
        print(to_text(value))


def _print_item(item: object, *, as_json: bool) -> None:
    if isinstance(item, bytes) and not as_json and not sys.stdout.isatty():
        sys.stdout.buffer.write(item)
        sys.stdout.buffer.flush()
    else:
        print(to_json(item) if as_json else to_line(item), flush=True)
