"""A captured component as far as a page can tell: wherever it may say a text, the text wants to be markup."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

from tlsrt import Component, handler
from tlsrt.errors import Conflict

TEXTS = (
    "<img src=x onerror=ran=1>",
    "<script>ran=1</script>",
    "</script><script>ran=1</script>",
    "</pre></textarea></title></style><svg onload=ran=1>",
    "<iframe srcdoc='<script>parent.ran=1</script>'></iframe>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=x onerror=ran=1&gt;'>",
    "<a href='javascript:ran=1' autofocus onfocus=ran=1>x</a>",
    "<details open ontoggle=ran=1>x</details>",
    "<base href='https://evil.example/'><link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=javascript:ran=1'>",
    "<form action='//evil.example'><button formaction='javascript:ran=1'>x</button></form>",
    "javascript:ran=1",
    "\"' onmouseover=ran=1 style=position:fixed;inset:0 x='",
    "{{constructor.constructor('ran=1')()}} ${ran=1} <%= ran=1 %>",
    "__proto__",
    "\\x3cimg src=x onerror=ran=1\\x3e &#60;img src=x onerror=ran=1&#62;",
    "url(https://evil.example/x) expression(ran=1) @import '//evil.example'",
)
_log = logging.getLogger(__name__)


class Hostile(Component):
    __doc__ = " ".join(TEXTS)

    @handler
    async def give(self) -> Any:
        return {"list": [*TEXTS], "rows": [{text: text} for text in TEXTS], **{text: text for text in TEXTS}}

    @handler
    async def items(self) -> AsyncIterator[str]:
        for text in TEXTS:
            yield text

    @handler
    async def fail(self) -> None:
        raise Conflict(" ".join(TEXTS)[:900])

    @handler
    async def say(self) -> None:
        for text in TEXTS:
            _log.warning("%s", text)
            self.publish("said", text)

    @handler
    async def die(self) -> None:
        print(" ".join(TEXTS), file=sys.stderr, flush=True)
        os._exit(3)


for _handler in (Hostile.give, Hostile.items, Hostile.fail, Hostile.say, Hostile.die):
    _handler.__doc__ = " ".join(TEXTS)
