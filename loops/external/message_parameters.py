"""Types of the parameters of messages, with what a wrong value is told."""

from __future__ import annotations

import re
from typing import Annotated

from tlsrt import Length, Pattern, Range
from tlsrt.loops.external.message import CONTENT_TYPE, FILE_NAME, ID, ID_RULE, TO, TO_RULE, TOPIC

_SHA256 = re.compile(r"[0-9a-f]{64}")
To = Annotated[str, Pattern(TO, TO_RULE)]
Id = Annotated[str, Pattern(ID, ID_RULE)]
IdPart = Annotated[str, Pattern(re.compile(r"[0-9a-f]{4,32}"), "the id of a message, or its first digits, at least 4")]
Topic = Annotated[str, Pattern(TOPIC, "a name such as house.door")]
ContentType = Annotated[str, Pattern(CONTENT_TYPE, "a type such as text/plain or image/jpeg")]
FileName = Annotated[str, Pattern(FILE_NAME, "letters, digits, dot, dash and underscore, at most 127")]
Sha256 = Annotated[str, Pattern(_SHA256, "64 hexadecimal digits in small letters")]
Size = Annotated[int, Range(0, 1 << 40)]
Offset = Annotated[int, Range(0, 1 << 62)]
Position = Annotated[int, Range(0, 1 << 53)]
Limit = Annotated[int, Range(1, 100)]
FilePath = Annotated[str, Length(200)]
Sender = Annotated[str, Length(200, 1)]
