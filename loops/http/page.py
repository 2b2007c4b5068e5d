"""The one page for people: who the client is, what it may call, and where the document is. Pure.

It has no script, no style and no form, so the strict headers of every answer fit it as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tlsrt.loops.http.request import PREFIX

HTML = "text/html; charset=utf-8"


def page(subject: str, rights: Mapping[str, Sequence[str]], version: str) -> bytes:
    """Return the page. `rights` are target -> methods, `*` for all."""
    rows = "\n".join(
        f"<dt><code>{escape(target)}</code></dt><dd>{escape(', '.join(_methods(methods)))}</dd>"
        for target, methods in sorted(rights.items())
    )
    text = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>tlsrt</title></head>
<body>
<h1>tlsrt {escape(version)}</h1>
<p>Your certificate is that of <b>{escape(subject)}</b>. What it may call:</p>
<dl>
{rows or "<dt>nothing</dt>"}
</dl>
<p>How to call it: <a href="{PREFIX}/openapi.json">OpenAPI document</a>. As JSON: <a href="{PREFIX}/">{PREFIX}/</a>.</p>
</body>
</html>
"""
    return text.encode("utf-8", "replace")


def _methods(methods: Sequence[str]) -> list[str]:
    return ["all methods"] if "*" in methods else sorted(methods)
