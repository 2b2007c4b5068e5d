"""third/status as an operator adds it: what clients see of a real host is what `status --json` says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hosts.running_host import RunningHost, running

from tlsrt import Busy, Denied, InvalidArgument

STATUS, PROCESS = "third/status", "third.status"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    for host in running(request, clients=["kiosk"]):
        added = host.cli("component", "add", STATUS, "--yes", "--allow", 'client/admin: "*"')
        assert added.returncode == 0 and "it shows how all processes are" in added.stdout, added.stderr
        yield host


def test_a_client_sees_what_the_operator_sees(host: RunningHost) -> None:
    shown, own = host.client().call(STATUS, "show"), host.status()
    assert shown.keys() == own.keys()
    for mine, theirs in zip(shown["loops"], own["loops"], strict=True):
        same = ("name", "pid", "state", "restarts", "sandbox", "programs", "violations")
        assert [mine[key] for key in same] == [theirs[key] for key in same]


def test_a_watch_shows_the_end_of_a_process_and_its_return(host: RunningHost) -> None:
    watch = host.client().stream(STATUS, "watch", interval_s=1)

    def third(document: dict[str, list[dict[str, object]]]) -> dict[str, object]:
        return next(one for one in document["loops"] if one["name"] == "third")

    before = third(next(watch))
    host.respawn("third")
    after = next(row for row in map(third, watch) if row["state"] == "active" and row["pid"] != before["pid"])
    assert after["restarts"] == int(str(before["restarts"])) + 1 and after["last_death"] is not None


def test_streams_of_a_caller_are_bounded_and_who_may_not_call_gets_nothing(host: RunningHost) -> None:
    client = host.client()
    held = [client.stream(STATUS, "watch") for _ in range(4)]
    assert all("loops" in next(stream) for stream in held)
    with pytest.raises(Busy, match="at most 4 streams"):
        next(client.stream(STATUS, "watch"))
    with pytest.raises(Denied):
        host.client("kiosk").call(STATUS, "show")


def test_many_callers_cost_one_reading_a_second_which_the_audit_log_has_once(host: RunningHost) -> None:
    client = host.client()
    assert all(
        client.call(STATUS, "show")["loops"] for _ in range(100)
    )  # the runtime would answer 8 and then 2 a second
    records = host.cli("audit", "tail", "-n", "500", "--json").stdout.splitlines()
    assert sum("runtime_act" in line and STATUS in line for line in records) == 1
    assert json.loads(records[0]) and host.loop(PROCESS)["violations"] == 0


def test_the_policy_is_that_of_the_configuration_in_force(host: RunningHost) -> None:
    client = host.client()
    policy = client.call(STATUS, "policy")
    assert ["client/admin", STATUS, ["*"]] in policy["lines"] and policy["left_out"] == 0
    said = host.cli("policy", "graph", "--wide").stdout
    assert all(source in said and target in said for source, target, _ in policy["lines"])
    with pytest.raises(Denied):
        host.client("kiosk").call(STATUS, "policy")


def test_the_last_hour_is_kept_by_the_service_itself_and_is_a_right_of_its_own(host: RunningHost) -> None:
    """Samples come on the turns of its own health, every 10 s, whether anybody looks or not."""
    client = host.client()
    host.until(lambda status: bool(client.call(STATUS, "history")["ages_s"]), "first sample")
    found = client.call(STATUS, "history")
    assert found["period_s"] == 10 and found["lasts_s"] == 3600 and max(found["ages_s"]) < 120
    memory, active = found["series"]["memory"], found["series"]["active"]
    assert memory["least"][0] <= memory["mean"][0] <= memory["most"][0] and memory["least"][0] > 10 << 20
    assert active["most"][-1] == sum(one["state"] == "active" for one in host.status()["loops"])
    assert found["series"]["frames"]["most"][-1] > 0
    assert client.call(STATUS, "history", "day")["period_s"] == 300
    with pytest.raises(InvalidArgument):
        client.call(STATUS, "history", "year")
    with pytest.raises(Denied):
        host.client("kiosk").call(STATUS, "history")
