"""Lines of a loop's log: what `extra` says follows as key=value."""

from __future__ import annotations

import json
import logging

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_VALUE_MOST = 512  # characters of one value


class LineFormatter(logging.Formatter):
    """`self.log.info("sent", extra={"to": "a b", "bytes": 3})` becomes `... sent to="a b" bytes=3`."""

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's name
        """Return the line before a traceback. logging.Formatter."""
        line = super().formatMessage(record)
        extra = {name: value for name, value in vars(record).items() if name not in _OWN}
        return f"{line} {' '.join(f'{name}={_shown(value)}' for name, value in extra.items())}" if extra else line


def _shown(value: object) -> str:
    """Return a value in one word, or quoted as in JSON: no value can begin a line or another key."""
    text = str(value)[:_VALUE_MOST]
    return text if text and text.isprintable() and not set(text) & set(' "=\\') else json.dumps(text)
