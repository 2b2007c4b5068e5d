"""The name that a verified certificate is counted under at the door. Pure.

It decides who shares places with whom, and nothing else: what a client may do, and whether its certificate is still
good, is for the authority to find out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from tlsrt.config.setting import NAME

_CLIENT = re.compile(rf"spiffe://tlsrt\.[0-9a-f]{{32}}/(client/{NAME})")


def name_of_client(names: Sequence[str], certificate: bytes) -> str:
    """Return `client/NAME` if the URIs of a certificate are that one, else a name that is this certificate's alone."""
    found = _CLIENT.fullmatch(names[0]) if len(names) == 1 else None
    return found[1] if found else f"certificate/{hashlib.sha256(certificate).hexdigest()[:32]}"
