"""The alert rules and the dashboard of the guide: what they ask for is there, and real tools take them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tools.programs import need

from tlsrt.supervisor.metrics.families import FAMILIES, Family, Kind

GUIDE = Path(__file__).parents[4] / "docs" / "guide"
RULES, DASHBOARD = GUIDE / "prometheus-alerts.yaml", GUIDE / "grafana-dashboard.json"
# Names of labels that are no metric's: Prometheus adds them.
ADDED = {"instance", "job", "alertstate", "alertname", "le"}


def series_of(family: Family) -> set[str]:
    more = {Kind.HISTOGRAM: ("_bucket", "_count", "_sum"), Kind.SUMMARY: ("_count", "_sum")}
    return {family.name + ending for ending in more[family.kind]} if family.kind in more else {family.series}


SERIES = {series: family for family in FAMILIES.values() for series in series_of(family)}


def rule_queries() -> Iterator[str]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def dashboard_queries() -> Iterator[str]:
    document = json.loads(DASHBOARD.read_text())
    for panel in document["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]
    for variable in document["templating"]["list"]:
        if isinstance(variable["query"], dict):
            yield variable["query"]["query"]


@pytest.mark.parametrize("query", [*rule_queries(), *dashboard_queries()])
def test_every_query_asks_for_metrics_and_labels_that_there_are(query: str) -> None:
    names = re.findall(r"\btlsrt_\w+", query)
    assert names or "up{" in query
    known: set[str] = set(ADDED)
    for name in names:
        assert name in SERIES, f"{name} is no series: {query}"
        known |= set(SERIES[name].labels)
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=(?!=))\s*\"", query))
    labels |= {word.strip() for inside in re.findall(r"\bby \(([^)]*)\)", query) for word in inside.split(",")}
    assert labels <= known, f"{labels - known}: {query}"


def test_what_a_legend_and_a_summary_show_is_there() -> None:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= {
                word.strip() for inside in re.findall(r"\bby \(([^)]*)\)", target["expr"]) for word in inside.split(",")
            }


def test_prometheus_takes_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"dashboard:{number}", "expr": query.replace("$__rate_interval", "1m").replace("$instance", ".*")}
        for number, query in enumerate(dashboard_queries()) if not query.startswith("label_values")
    ]  # fmt: skip
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = subprocess.run([need("promtool"), "check", "rules", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0 and f"{len(rules)} rules found" in checked.stdout, checked.stderr


def test_the_rules_say_what_they_should_and_nothing_else(tmp_path: Path) -> None:
    checked = subprocess.run([need("promtool"), "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    file = tmp_path / "test.yaml"
    cases = Path(__file__).with_name("alerts_test.yaml").read_text()
    file.write_text(cases.replace("RULES", json.dumps(str(RULES))))
    tested = subprocess.run([need("promtool"), "test", "rules", file], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr
