"""What a sealed loop reaches, in the host's network namespace or an empty one: what its egress rules list."""

from __future__ import annotations

from typing import Any

import pytest
from probes.sandbox_runner import SandboxRunner

EXPECTED = {
    "blocking": "allowed", "not blocking": "allowed", "mapped": "allowed", "asyncio": "allowed", "udp": "allowed",
    "closed": "ECONNREFUSED", "still blocking": "yes", "addresses": "allowed", "names": "allowed",
    "other port": "EACCES", "other host": "EACCES", "other family": "EACCES", "udp to a tcp port": "EACCES",
    "pair": "allowed", "source": "allowed", "again": "allowed", "door": "EPERM", "door to all": "EPERM",
    "door on a port": "EACCES", "bad pointer": "EFAULT", "bad length": "EINVAL", "no socket": "ENOTSOCK",
    "no descriptor": "EBADF",
}  # fmt: skip


@pytest.fixture(scope="module", params=["brokered", "brokered_from_outside"])
def facts(shared_stage: SandboxRunner, request: pytest.FixtureRequest) -> dict[str, Any]:
    return shared_stage.run(request.param)


@pytest.mark.parametrize("probe", sorted(EXPECTED))
def test_it_reaches_what_is_listed_and_nothing_else(facts: dict[str, Any], probe: str) -> None:
    assert facts["end"] == "exit 0" and facts[probe] == EXPECTED[probe]


def test_the_supervisor_hears_of_what_was_not_listed(facts: dict[str, Any]) -> None:
    said = [sentence for sentence, wanted in facts["violations"] if wanted]
    assert len(said) == 3 and all("no egress rule lists it" in sentence for sentence in said)
    assert any("127.0.0.2" in sentence for sentence in said) and any("[::1]" in sentence for sentence in said)
    assert not any("/udp" in sentence for sentence in said)  # the resolver tries every address so


def test_only_what_opens_a_door_is_a_violation(facts: dict[str, Any]) -> None:
    """Neither a host that no rule lists, however often it is tried, nor what libraries do before they connect."""
    said = [sentence for sentence, wanted in facts["violations"] if not wanted]
    assert len(said) == 3 and sum(sentence.startswith("listen(") for sentence in said) == 2
    assert any("bind 0.0.0.0:8443" in sentence and "`listen`" in sentence for sentence in said)


def test_the_supervisor_keeps_no_descriptor_of_what_it_looked_at(facts: dict[str, Any]) -> None:
    assert facts["leaked"] == 0
