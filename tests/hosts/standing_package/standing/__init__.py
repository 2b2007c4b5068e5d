"""Components in the places of secondary/services and secondary/updates: hostile in their words, and honest in what was
called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Component, Conflict, handler

TEXTS = (
    "<img src=x onerror=ran=1>",
    "<script>ran=1</script>",
    "</pre></code><svg onload=ran=1>",
    "\"' onmouseover=ran=1 style=position:fixed;inset:0 x='",
    "javascript:ran=1",
    "__proto__",
    "\u202egnp.exe\u200b\x07",
    "a" * 4096,
)
PLAN = "5f" * 16


class Services(Component):
    """Units whose words are hostile."""

    @handler(idempotent=True)
    async def list(self) -> list[dict[str, Any]]:
        rows = [
            {"unit": text, "description": text, "load": text, "active": text, "sub": text, "actions": [text]}
            for text in TEXTS
        ]
        state = getattr(self, "unit_state", "active")
        kettle = {"unit": "kettle.service", "description": "Kettle", "load": "loaded", "active": state, "sub": state}
        return [{**kettle, "actions": ["start", "stop"]}, *rows]

    @handler(idempotent=True)
    async def status(self, unit: str) -> dict[str, Any]:
        return {"unit": unit, **{text: text for text in TEXTS}}

    @handler
    async def stop_unit(self, unit: str) -> dict[str, Any]:
        self.unit_state = "inactive"
        self._note(["stop_unit", unit])
        return {"unit": unit}

    @handler
    async def start_unit(self, unit: str) -> dict[str, Any]:
        self._note(["start_unit", unit])
        raise Conflict(" ".join(TEXTS)[:900])

    @handler(idempotent=True)
    async def jobs(self) -> Any:
        descale = {"job": "descale", "argv": ["/usr/bin/descale", *TEXTS], "words": ["[a-z]+"], "seconds": 10}
        return [descale, {"job": TEXTS[0], "argv": [TEXTS[1]], "words": [], "seconds": TEXTS[2]}]

    @handler
    async def run_job(self, job: str, words: tuple[str, ...] = ()) -> dict[str, Any]:
        self._note(["run_job", job, *words])
        return {"unit": "descale.service", "output": " ".join(TEXTS)}

    @handler(idempotent=True)
    async def called(self) -> Any:
        return getattr(self, "calls", [])

    def _note(self, call: Any) -> None:
        self.calls = [*getattr(self, "calls", []), call]


class Updates(Component):
    """Plans whose words are hostile."""

    @handler(idempotent=True)
    async def plan(self) -> dict[str, Any]:
        steps = [
            {"name": text, "architecture": text, "installed": text, "version": text, "security": True, "origins": text}
            for text in TEXTS
        ]
        return {"id": PLAN, "steps": steps}

    @handler(idempotent=True)
    async def status(self) -> dict[str, Any]:
        return {
            "pending": TEXTS[0], "security": TEXTS[1], "lists_age_s": TEXTS[2], "reboot": TEXTS[3], "can_apply": True,
        }  # fmt: skip

    @handler
    async def apply(self, plan: str) -> dict[str, Any]:
        self.calls = [*getattr(self, "calls", []), plan]
        return {"state": "running", "order": f"apply {plan}"}

    @handler(idempotent=True)
    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        for text in TEXTS:
            yield {"said": text + "\n"}
        yield {"state": "done", "order": TEXTS[0], "message": TEXTS[1]}

    @handler(idempotent=True)
    async def called(self) -> Any:
        return getattr(self, "calls", [])
