"""What the OpenAPI document says of jobs: the query of a call that is put off, and the paths below /v1/jobs. Pure."""

from __future__ import annotations

from typing import Any

from tlsrt.loops.http.request import JSON, PREFIX

Document = dict[str, Any]
PROBLEM = "#/components/responses/Problem"
_RESPONSES: Document = {"default": {"$ref": PROBLEM}}
_ID: Document = {
    "name": "job", "in": "path", "required": True, "description": "the id of a job, or its first digits",
    "schema": {"type": "string", "pattern": "^[0-9a-f]{4,16}$"},
}  # fmt: skip
_TIME: Document = {"type": "integer", "description": "ms since 1970, 0 for none"}
_JOB: Document = {
    "type": "object",
    "required": ["id", "target", "method", "when", "missed", "next", "runs", "last", "outcome"],
    "properties": {
        **{name: {"type": "string"} for name in ("id", "target", "method", "when", "missed")},
        "next": _TIME, "last": _TIME, "runs": {"type": "integer"},
        "outcome": {"type": "string", "description": "done, running, unknown, paused, or the code of an error"},
    },
}  # fmt: skip
_SILENT: Document = {  # a target that does not answer now
    "type": "object", "required": ["target", "error"],
    "properties": {"target": {"type": "string"}, "error": {"type": "string"}},
}  # fmt: skip
_END: Document = {
    "type": "object",
    "properties": {"began": _TIME, "took_ms": {"type": "integer"}, "outcome": {"type": "string"}},
}
_SHOWN: Document = {
    **_JOB,
    "properties": {
        **_JOB["properties"], "paused_by": {"type": "string"}, "upcoming": {"type": "array", "items": _TIME},
        "history": {"type": "array", "items": _END}, "args": {"type": "array"}, "kwargs": {"type": "object"},
    },
}  # fmt: skip

_EMPTY: Document = {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}


def _later(name: str, text: str) -> Document:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}


def _answer(text: str, schema: Document) -> Document:
    return {"200": {"description": text, "content": {JSON: {"schema": schema}}}, **_RESPONSES}


def _changed(done: str) -> Document:
    return _answer(f"the job is {done}", {"type": "object", "properties": {done: {"type": "string"}}})


def _change(verb: str, done: str) -> Document:
    return {
        "parameters": [_ID],
        "post": {"operationId": f"jobs.{verb}", "summary": f"{verb} a job", "requestBody": _EMPTY,
                 "responses": _changed(done)},
    }  # fmt: skip


LATER: list[Document] = [
    _later("at", "have the call made then: five fields of cron(8), or an ISO time with its zone"),
    _later("in", "have the call made after so long: 90s, 10m, 2h or 7d"),
    _later("every", "have the call made again and again, so long apart"),
    _later("missed", "of a run that is late: once (made up for), skip, or how late it may be, as in 1h"),
    _later("jitter", "delay the runs by chance, by up to so much"),
]
PUT: Document = {
    "202": {
        "description": "the call is put off, as a job (with at, in or every)",
        "headers": {"Location": {"schema": {"type": "string"}}},
        "content": {JSON: {"schema": {"type": "object", "properties": {"job": {"type": "string"}}}}},
    }
}
JOB_PATHS: Document = {
    f"{PREFIX}/jobs": {
        "get": {
            "operationId": "jobs.list", "summary": "list the jobs of this client",
            "responses": _answer("the jobs", {"type": "object", "properties": {
                "jobs": {"type": "array", "items": {"anyOf": [_JOB, _SILENT]}},
            }}),
        },
    },
    f"{PREFIX}/jobs/{{job}}": {
        "parameters": [_ID],
        "get": {"operationId": "jobs.show", "summary": "show a job", "responses": _answer("the job", _SHOWN)},
        "delete": {"operationId": "jobs.remove", "summary": "remove a job", "responses": _changed("removed")},
    },
    f"{PREFIX}/jobs/{{job}}/pause": _change("pause", "paused"),
    f"{PREFIX}/jobs/{{job}}/resume": _change("resume", "resumed"),
}  # fmt: skip
