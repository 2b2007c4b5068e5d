"""The console's page in the audit log: the hash of what a fresh Primary has read, from the files as they lie now.

The supervisor reads the files itself: a captured Primary would say another hash. They are measured with the code.
"""

from __future__ import annotations

from tlsrt.config.console_page import digest_of, read_page
from tlsrt.errors import ConfigError
from tlsrt.supervisor.control.requests import OperatorRequests
from tlsrt.supervisor.supervision.context import Context
from tlsrt.supervisor.supervision.feature import Feature
from tlsrt.supervisor.supervision.loop import Loop


class PageRecord(Feature):
    """Records the page of each Primary that serves it."""

    def __init__(self, context: Context, requests: OperatorRequests) -> None:
        self._context = context
        self._requests = requests

    def loop_active(self, loop: Loop) -> None:
        """Have the hash recorded; a host without the console has no page."""
        if not loop.is_primary or not self._context.current.config.door.console:
            return
        try:
            page = digest_of(read_page())
        except ConfigError as error:
            self._context.console.bad(loop.name, "page", str(error))
            return
        self._requests.ask(lambda answer: None, lambda code, rows: {}, "page_served", page)
