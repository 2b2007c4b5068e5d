"""OpenAPI 3.1 of what one client may call, from the descriptions of the components. Pure.

The schemas are the components' own (JSON Schema 2020-12, which OpenAPI 3.1 takes as it is).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tlsrt.loops.component.types import anchored
from tlsrt.loops.http.openapi_jobs import JOB_PATHS, LATER, PROBLEM, PUT
from tlsrt.loops.http.query import TIMEOUT_MAX_S, TIMEOUT_MIN_S, TIMEOUT_S
from tlsrt.loops.http.request import EVENTS, JSON, KEY, KEY_MAX, PREFIX
from tlsrt.loops.http.response import MEDIA_TYPE

Document = dict[str, Any]


def is_sound(description: object) -> bool:
    """Tell whether a document can be made of a description: it is the word of a loop, which may be captured."""
    try:
        json.dumps(openapi({"loop/component": description}, "", ""))  # type: ignore[dict-item]  # that is the question
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return False
    return isinstance(description, Mapping) and "methods" in description


def openapi(descriptions: Mapping[str, Mapping[str, Any]], version: str, server: str) -> Document:
    """Return the document. `descriptions` are by target, and hold only methods that the client may call.

    `server` is the name of this host that the client used, or empty.
    """
    paths: Document = {}
    for target, description in sorted(descriptions.items()):
        for name, method in sorted(description.get("methods", {}).items()):
            if not method.get("upload"):
                paths[f"{PREFIX}/call/{target}/{name}"] = {"post": _operation(target, name, method)}
        for topic, doc in sorted(description.get("topics", {}).items()):
            paths[f"{PREFIX}/events/{target}/{topic}"] = {"get": _subscription(target, topic, str(doc))}
    paths |= JOB_PATHS
    return {
        "openapi": "3.1.0",
        "info": {"title": "tlsrt", "version": version, "description": "What this client may call on this host."},
        "servers": [{"url": f"https://{server}" if server else "/"}],
        "security": [{"mutualTLS": []}],
        "tags": [
            {"name": target, "description": str(one.get("doc", ""))} for target, one in sorted(descriptions.items())
        ],
        "paths": paths,
        "components": {
            "securitySchemes": {"mutualTLS": {"type": "mutualTLS", "description": "a client enrolled with http: true"}},
            "schemas": {"Problem": _PROBLEM},
            "responses": {
                "Problem": {
                    "description": "refused or failed (RFC 9457); a type ends with the error code",
                    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }


def _operation(target: str, name: str, method: Mapping[str, Any]) -> Document:
    parameters = list(method.get("parameters", ()))
    required = [parameter["name"] for parameter in parameters if parameter.get("required")]
    body: Document = {
        "type": "object",
        "properties": {parameter["name"]: _with_default(parameter) for parameter in parameters},
        "additionalProperties": False,
    }
    if required:
        body["required"] = required
    doc = str(method.get("doc", ""))
    return {
        "operationId": f"{target}/{name}".replace("/", "."),
        "tags": [target],
        "summary": doc.partition("\n")[0],
        "description": doc,
        "parameters": [_TIMEOUT, _KEY, *([] if method.get("stream") else LATER)],
        "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
        "responses": {
            "200": _success(method), **({} if method.get("stream") else PUT), "default": {"$ref": PROBLEM}
        },
    }  # fmt: skip


def _success(method: Mapping[str, Any]) -> Document:
    schema = dict(method.get("returns", {}).get("schema", {}))
    if method.get("stream"):
        return {
            "description": "items as server-sent events `item`, then `end`",
            "content": {EVENTS: {"schema": schema}},
        }
    return {"description": "the result", "content": {JSON: {"schema": schema}}}


def _subscription(target: str, topic: str, doc: str) -> Document:
    return {
        "operationId": f"{target}/subscribe/{topic}".replace("/", "."),
        "tags": [target],
        "summary": doc.partition("\n")[0],
        "responses": {
            "200": {"description": "events as they happen", "content": {EVENTS: {}}},
            "default": {"$ref": PROBLEM},
        },
    }


def _with_default(parameter: Mapping[str, Any]) -> Document:
    schema = dict(parameter.get("schema", {}))
    if not parameter.get("required"):
        schema["default"] = parameter.get("default")
    return schema


_TIMEOUT: Document = {
    "name": "timeout_s", "in": "query", "description": "how long the call may take, in seconds",
    "schema": {"type": "number", "minimum": TIMEOUT_MIN_S, "maximum": TIMEOUT_MAX_S, "default": TIMEOUT_S},
}  # fmt: skip
_KEY: Document = {
    "name": "Idempotency-Key", "in": "header",
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX, "pattern": anchored(KEY)},
    "description": "repetitions with one key run once; with other arguments a key is a conflict",
}  # fmt: skip
_PROBLEM: Document = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
