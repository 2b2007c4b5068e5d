"""Metrics and health of a real host, over HTTP without a certificate, as curl, promtool and Prometheus read them."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hosts.running_host import RunningHost, free_port, running
from tools.programs import need

from tlsrt import CallError, NotFound
from tlsrt.errors import EX_LOCKED
from tlsrt.supervisor.metrics.families import FAMILIES, Source

PORT = free_port()
PACKAGE = Path(__file__).parents[1] / "hosts" / "counting_package" / "counting"
COMPONENT = "third/counting"
RULES = Path(__file__).parents[2] / "docs" / "guide" / "prometheus-alerts.yaml"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[RunningHost]:
    components = {COMPONENT: {"class": "counting:Counting"}}
    for host in running(
        request, components=components, policy={f"client/admin -> {COMPONENT}": "*"}, packages=[PACKAGE],
        extra={"metrics": {"listen": f"127.0.0.1:{PORT}"}},
    ):  # fmt: skip
        host.until(lambda status: (status["metrics"] or {}).get("state") == "active", "the metrics process")
        host.until(lambda status: all(loop["lateness_ms"] is not None for loop in status["loops"]), "all beats")
        yield host


def get(path: str, **headers: str) -> tuple[int, str, str]:
    """Return status, kind and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=30)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read().decode()
    finally:
        connection.close()


def value(text: str, series: str) -> float:
    return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{series} ")))


def test_health(host: RunningHost) -> None:
    assert get("/livez")[::2] == (200, "ok\n")
    assert get("/readyz")[::2] == (200, f"ok: {len(host.status()['loops'])} processes serve\n")
    assert get("/else")[0] == 404


def test_both_formats_say_what_status_says(host: RunningHost) -> None:
    status, kind, text = get("/metrics", Accept=OPENMETRICS)
    assert (status, kind) == (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert text.endswith("\n# EOF\n")
    _, kind, plain = get("/metrics")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    checked = subprocess.run(
        [need("promtool"), "check", "metrics"], input=plain, text=True, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    for loop in host.status()["loops"]:
        assert value(plain, f'tlsrt_process_active{{process="{loop["name"]}"}}') == 1
        assert value(plain, f'tlsrt_process_resident_memory_bytes{{process="{loop["name"]}"}}') > 1 << 20
    assert value(plain, "tlsrt_ready") == 1 and value(plain, "tlsrt_locked") == 0
    served = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    expected = {name for name, one in FAMILIES.items() if one.source is Source.SUPERVISOR}
    # None of them is in a host that is well and new, or without egress rules.
    sometimes = {"tlsrt_component_ready", "tlsrt_component_healthy"}
    sometimes |= {f"tlsrt_egress_{name}" for name in ("connections", "open_connections", "denied")}
    assert expected - served <= sometimes
    assert value(plain, 'tlsrt_certificate_not_after_seconds{certificate="door"}') > time.time()


def test_calls_and_what_a_component_counts(host: RunningHost) -> None:
    def labels(*more: str) -> str:
        return ",".join(['process="third.counting",component="counting"', *more])

    with host.client() as client:
        for number in range(1, 6):
            client.call(COMPONENT, "add", "rain", float(number))
        for _ in range(2):
            with pytest.raises(NotFound):
                client.call(COMPONENT, "fail")
        with pytest.raises(CallError):
            client.call(COMPONENT, "such_a_method")
    counted = f"tlsrt_component_counted_total{{{labels('name=' + chr(34) + 'rain.sum' + chr(34))}}}"
    host.until(lambda status: f"\n{counted} 15.0\n" in get("/metrics")[2], "what it has counted")
    text = get("/metrics", Accept=OPENMETRICS)[2]

    def one(family: str, **more: str) -> float:
        return value(text, f"{family}{{{labels(*(f'{key}={chr(34)}{word}{chr(34)}' for key, word in more.items()))}}}")

    assert one("tlsrt_calls_total", method="add", outcome="result") == 5
    assert one("tlsrt_calls_total", method="fail", outcome="error") == 2
    assert one("tlsrt_calls_total", method="other", outcome="error") == 1
    assert one("tlsrt_call_duration_seconds_count", method="add") == 5
    assert one("tlsrt_call_duration_seconds_bucket", method="add", le="+Inf") == 5
    assert 0 < one("tlsrt_call_duration_seconds_sum", method="add") < 5
    assert one("tlsrt_component_value", name="rain.last") == 5
    assert one("tlsrt_component_time_seconds_count", name="rain.time") == 5
    passed = 'tlsrt_gate_frames_total{verdict="passed"}'  # which Primary tells in a beat of its own
    host.until(lambda status: value(get("/metrics", Accept=OPENMETRICS)[2], passed) > 10, "frames")
    assert value(text, "tlsrt_door_handshakes_total") >= 1


def test_a_stopped_supervisor_is_told(host: RunningHost) -> None:
    pid = host.status()["supervisor"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        while (found := get("/livez")) and found[0] == 200:  # figures are good for a second
            pass
        assert found[::2] == (503, "the supervisor does not answer\n")
        assert get("/metrics")[0] == 503
    finally:
        os.kill(pid, signal.SIGCONT)
    host.until(lambda status: get("/livez")[0] == 200, "an answer")


def checked(host: RunningHost) -> tuple[int, str]:
    """Return code and output of `status --check`."""
    done = host.cli("status", "--check")
    return done.returncode, done.stdout


def test_prometheus_scrapes_it_and_judges_it_by_the_rules(host: RunningHost, tmp_path: Path) -> None:
    port = free_port()
    scrape = {"job_name": "tlsrt", "static_configs": [{"targets": [f"127.0.0.1:{PORT}"]}]}
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": [scrape],
        "rule_files": [str(RULES)],
    }  # fmt: skip
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(settings))
    command = [
        need("prometheus"), f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
    ]  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)

    def asked(path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", f"/api/v1/{path}")
            return json.loads(connection.getresponse().read())["data"]
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return {}
        finally:
            connection.close()

    def one(query: str) -> float | None:
        found = asked(f"query?query={quote(query)}").get("result")
        return float(found[0]["value"][1]) if found else None

    try:
        host.until(lambda status: one("up") == 1 and one("tlsrt_ready") == 1, "a scrape", timeout_s=30)
        assert one("count(tlsrt_process_active)") == len(host.status()["loops"]) + 3  # and two services, and itself
        histograms = one("count(tlsrt_call_duration_seconds_count)")
        assert histograms and one('count(tlsrt_call_duration_seconds_bucket{le="+Inf"})') == histograms
        host.until(
            lambda status: {
                rule["health"] for group in asked("rules").get("groups", ()) for rule in group["rules"]
            } == {"ok"}, "the rules", timeout_s=30,
        )  # fmt: skip
    finally:
        process.kill()
        process.wait()
        print(log.read_text())


def test_a_locked_host_is_not_ready(host: RunningHost) -> None:
    assert [*checked(host)] == [0, f"ok: {len(host.status()['loops'])} processes serve\n"]
    host.cli("lock", "--reason", "a test")
    host.until(lambda status: get("/readyz")[::2] == (503, "locked: a test\n"), "the lock")
    assert value(get("/metrics")[2], "tlsrt_locked") == 1
    assert [*checked(host)] == [EX_LOCKED, "locked: a test\n"]
    host.cli("unlock")
    host.until(lambda status: get("/readyz")[0] == 200, "the unlock")
