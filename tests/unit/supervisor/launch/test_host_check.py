"""What `sandbox check` says about a finding, and which findings become waivers. Pure.

The trial itself is tried for real in tests/integration/install/test_less_than_the_host.py.
"""

from __future__ import annotations

import json

from tlsrt.supervisor.cli.needed_waivers import _sorted
from tlsrt.supervisor.launch.host_check import CANNOT, ENFORCED, GIVEN_UP, WAIVED, HostCheck, LayerResult, report

HELD = LayerResult("session", ENFORCED)
REFUSED = LayerResult(
    "net_namespace", CANNOT, "unshare: Operation not permitted", "the host's network is shared", "ask"
)
FATAL = LayerResult("landlock", CANNOT, "ended (SIGSYS)", "files", "allow it", fatal=True)
CLOSED = LayerResult("code", CANNOT, "uid 771001 cannot read /home/x", "", "make it readable")
NO_GROUP = LayerResult("cgroup", CANNOT, "read-only", "no freeze", "mount it")
ACCEPTED = LayerResult("uts_namespace", WAIVED, "unshare: Operation not permitted", "names", "ask")
NATURE = LayerResult("uid", GIVEN_UP, "without root there is only one uid", "one uid", "start as root")


def checkup(*rows: LayerResult, needless: tuple[str, ...] = ()) -> HostCheck:
    return HostCheck(1000, True, rows, needless, {"mseal": "yes"}, "memory by rlimits")


def test_nothing_is_missing() -> None:
    found = checkup(HELD, NATURE)
    lines = report(found)
    assert lines[0] == "as uid 1000, without root:"
    assert lines[1:3] == ["  session  enforced", "  uid      given up  without root there is only one uid"]
    assert lines[-1] == "every layer can be enforced: nothing to do"
    assert found.document()["missing"] == []


def test_what_is_missing_is_explained_with_what_to_do() -> None:
    lines = report(checkup(HELD, REFUSED, ACCEPTED))
    assert "  net_namespace  cannot  unshare: Operation not permitted" in lines
    assert "  uts_namespace  waived  unshare: Operation not permitted" in lines
    assert "without net_namespace: the host's network is shared. To have it: ask." in lines
    assert lines[-1].startswith("a start refuses until these are there")


def test_a_host_whose_gaps_are_all_accepted_starts() -> None:
    lines = report(checkup(HELD, ACCEPTED, NO_GROUP))
    assert not any("refuses" in line for line in lines)


def test_a_needless_waiver_is_said_in_its_row() -> None:
    lines = report(checkup(HELD, needless=("session",)))
    assert lines[1] == "  session  enforced  waived, but this host can give it: remove the waiver"


def test_waivers_are_for_what_a_waiver_mends() -> None:
    document = json.loads(json.dumps(checkup(HELD, REFUSED, FATAL, CLOSED, NO_GROUP).document()))
    waivers, sentences = _sorted(document)
    assert [waiver.layer for waiver in waivers] == ["net_namespace"]
    assert sentences == [
        "no start will work yet: landlock: ended (SIGSYS): allow it",
        "no start will work yet: code: uid 771001 cannot read /home/x: make it readable",
    ]
