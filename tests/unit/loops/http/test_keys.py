"""What Primary remembers of idempotency keys, and for how long."""

from __future__ import annotations

import pytest

from tlsrt.errors import Busy
from tlsrt.loops.http.keys import KEPT, KEYS_OF, SLACK_MS, IdempotencyKeys


def test_a_key_is_remembered_for_its_client_and_method_alone() -> None:
    keys = IdempotencyKeys()
    use = keys.first_use(("client/a", "x/y", "put", "k"), 1_000, 0)
    use.begin(7)
    assert keys.first_use(("client/a", "x/y", "put", "k"), 2_000, 1) is use
    for other in (("client/b", "x/y", "put", "k"), ("client/a", "x/z", "put", "k"), ("client/a", "x/y", "get", "k")):
        assert keys.first_use(other, 1_000, 0).incarnation is None


def test_one_client_that_fills_its_share_is_refused_and_no_other_and_what_is_over_makes_room() -> None:
    keys = IdempotencyKeys()
    for number in range(KEYS_OF):
        keys.first_use(("client/a", "x/y", "put", str(number)), 1_000, 0)
    with pytest.raises(Busy, match="not executed"):
        keys.first_use(("client/a", "x/y", "put", "one more"), 1_000, 0)
    keys.first_use(("client/b", "x/y", "put", "k"), 1_000, 0)
    assert len(keys) == KEYS_OF + 1
    keys.first_use(("client/a", "x/y", "put", "one more"), 9_000, 1_000 + SLACK_MS)
    assert len(keys) <= KEPT
