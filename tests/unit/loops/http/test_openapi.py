"""The document is valid OpenAPI 3.1, whatever a component offers."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from typing import Annotated, Any, Literal

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tlsrt import Component, handler
from tlsrt.loops.component.describe import describe
from tlsrt.loops.component.surroundings import give
from tlsrt.loops.component.types import Mismatch
from tlsrt.loops.component.validate import Range
from tlsrt.loops.facts.kernel import Kernel
from tlsrt.loops.http.openapi import is_sound, openapi
from tlsrt.loops.http.request import wish_untrusted
from tlsrt.loops.http.response import Problem
from tlsrt.loops.http.site import HostNames
from tlsrt.loops.secondary.store import Store
from tlsrt.loops.third.io import InputOutput


class Everything(Component):
    """One of each."""

    topics = {"moved": "it moved"}  # noqa: RUF012

    @handler
    async def turn(self, angle: Annotated[float, Range(0, 360)], how: Literal["fast", "slow"] = "slow") -> bytes:
        """Turn it.

        More about that.
        """
        return b""

    @handler
    async def count(self, to: int) -> list[dict[str, int | None]]:
        return []


def described(kind: type[Component], address: str) -> dict[str, Any]:
    component = kind.__new__(kind)
    give(component, address=address)
    return describe(component)


def document() -> dict[str, Any]:
    found = {
        address: described(kind, address)
        for address, kind in (("third/everything", Everything), ("secondary/store", Store), ("third/io", InputOutput))
    }
    return openapi(found, "1.2.3", "kitchen.example:7443")


def test_it_is_valid() -> None:
    made = json.loads(json.dumps(document()))
    assert list(OpenAPIV31SpecValidator(made).iter_errors()) == []


def test_it_says_what_a_method_takes_and_gives() -> None:
    operation = document()["paths"]["/v1/call/third/everything/turn"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert operation["summary"] == "Turn it." and body["required"] == ["angle"]
    assert body["properties"]["how"] == {"enum": ["fast", "slow"], "default": "slow"}
    result = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert result == {"type": "string", "contentEncoding": "base64"}


def test_a_body_is_required_and_a_key_and_a_time_have_their_bounds() -> None:
    for path, each in document()["paths"].items():
        if "post" not in each:
            continue
        assert each["post"]["requestBody"]["required"] is True, path
        if path.startswith("/v1/jobs"):
            continue
        time, key, *later = (parameter["schema"] for parameter in each["post"]["parameters"])
        assert len(later) == (0 if "text/event-stream" in json.dumps(each["post"]["responses"]) else 5), path
        assert (time["minimum"], time["maximum"]) == (0.001, 300)
        assert re.search(key["pattern"], "a key") and not re.search(key["pattern"], "\u00e4")
    assert openapi({}, "1", "")["servers"] == [{"url": "/"}]


@pytest.mark.parametrize(
    ("path", "name", "good", "bad"),
    [
        ("third/io/write", "name", ["a", "a.b-c_1", "a" * 127], ["", ".a", "-a", "a/b", "a\nb", "\u00e4"]),
        ("third/io/begin_put", "sha256", ["0a" * 32], ["0A" * 32, "0a" * 31, "x" * 64]),
        ("secondary/store/put", "key", ["a key", "\u00e4"], ["a\nb", "\x7f", "\u2028"]),
        ("primary/kernel/sysctl", "name", ["vm.swappiness"], ["vm", "vm..x", "../vm.x", "VM.x"]),
    ],
)
def test_a_text_has_the_pattern_that_the_method_checks(path: str, name: str, good: list[str], bad: list[str]) -> None:
    address, method = path.rsplit("/", 1)
    kind = {"third/io": InputOutput, "secondary/store": Store, "primary/kernel": Kernel}[address]
    operation = openapi({address: described(kind, address)}, "1", "")["paths"][f"/v1/call/{path}"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]["properties"][name]
    check = next(one for one in kind.__tlsrt_methods__[method].parameters if one.name == name).shape.check
    for text in good:
        assert re.search(schema["pattern"], text) and check(text) == text
    for text in bad:
        assert not re.search(schema["pattern"], text)
        with pytest.raises(Mismatch, match="expected "):
            check(text)


@pytest.mark.parametrize("key", ["k", "a key", "~" * 128, "", " k", "k ", "\u00e4", "a\tb", "k" * 129])
def test_a_key_has_the_pattern_that_the_door_checks(key: str) -> None:
    schema = document()["paths"]["/v1/call/secondary/store/get"]["post"]["parameters"][1]["schema"]
    fits = re.search(schema["pattern"], key) is not None and len(key) <= schema["maxLength"]
    headers = [("host", "h"), ("content-type", "application/json"), ("idempotency-key", key)]
    with nullcontext() if fits else pytest.raises(Problem, match="printable characters of ASCII"):
        assert wish_untrusted("POST", "/v1/call/a/b/c", headers, HostNames()).idempotency_key == key


def test_it_lists_topics_and_leaves_uploads_out() -> None:
    paths = document()["paths"]
    assert "/v1/events/third/everything/moved" in paths
    uploads = [name for name, method in described(InputOutput, "third/io")["methods"].items() if method["upload"]]
    assert uploads and not any(f"/v1/call/third/io/{name}" in paths for name in uploads)


@pytest.mark.parametrize(
    "description",
    [
        None, [], {}, {"methods": []}, {"methods": {"a": {"parameters": [1]}}}, {"methods": {"a": {"returns": 5}}},
        {"methods": {}, "topics": []}, {"methods": {"a": {"returns": {"schema": {"x": b"1"}}}}},
        {"methods": {1: {}, "a": {}}},
    ],
)  # fmt: skip
def test_what_a_captured_loop_says_of_itself_is_looked_at_first(description: object) -> None:
    """Else it would take the document of all other targets from everybody."""
    assert not is_sound(description)


def test_a_description_without_surprises_is_sound() -> None:
    assert is_sound({"methods": {}}) and is_sound({"doc": "", "methods": {"a": {"doc": "", "parameters": []}}})
