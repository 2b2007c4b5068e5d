"""Flags that many verbs share."""

from __future__ import annotations

from tlsrt.command_line.table import json_flag

REPORT = json_flag("the report as one JSON document")
ANSWER = json_flag("the answer as one JSON document")
SAME = json_flag("the same as one JSON document")
