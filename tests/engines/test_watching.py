"""Alerts and the dashboard, checked by Prometheus's own tools where they are installed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from raft.engines.alerts import ALERTS, alert_rules
from raft.engines.dashboard import PANELS, dashboard, expressions
from raft.exporter.families import every_family

ROOT = Path(__file__).resolve().parents[2]
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed"
)

# Name, labels without the cluster, values a sample each 5 s, in promtool's notation.
Series = tuple[str, str, str]
_BUCKETS = 'raft_fsync_seconds_bucket{cluster="c",node="1",le="%s"}'


def case(*series: Series, at: str, fires: dict[str, list[str]]) -> str:
    """One test for `promtool test rules`: which alerts fire at a moment, each by the labels it fires for."""
    lines = ["  - interval: 5s", "    input_series:"]
    for name, labels, values in series:
        full = ",".join(filter(None, ['cluster="c"', labels]))
        lines += [f"      - series: {json.dumps(f'{name}{{{full}}}')}", f"        values: {values}"]
    lines.append("    alert_rule_test:")
    by_name = {alert.name: alert for alert in ALERTS}
    for name, labels_of in fires.items():
        lines += [f"      - eval_time: {at}", f"        alertname: {name}"]
        lines.append("        exp_alerts:" if labels_of else "        exp_alerts: []")
        for labels in labels_of:
            lines.append(f"          - exp_labels: {{severity: {by_name[name].severity}{labels}}}")
    return "\n".join(lines)


C = ', cluster: "c"'
NODES = [("raft_node_up", f'node="{node}"', "1x300") for node in (1, 2, 3)]
VOTERS = [("raft_voters", 'node="1"', "3x300")]
FOLLOW = [("raft_node_role", f'node="{node}",role="learner"', "0x300") for node in (1, 2, 3)]
LED = ("raft_is_leader", 'node="1"', "1x300")

CASES: dict[str, tuple[tuple[Series, ...], str, dict[str, list[str]]]] = {
    "well": (
        (*NODES, *VOTERS, *FOLLOW, LED), "5m",
        {"RaftNoLeader": [], "RaftMemberDown": [], "RaftQuorumAtRisk": [], "RaftNoMetrics": []}),
    "a leader that is lost for a moment": (
        (*NODES, ("raft_is_leader", 'node="1"', "1x5 0x2 1x100")), "40s", {"RaftNoLeader": []}),
    "no leader": ((*NODES, ("raft_is_leader", 'node="1"', "1x5 0x20 1x100")), "50s", {"RaftNoLeader": [C]}),
    "a leader again": (
        (*NODES, ("raft_is_leader", 'node="1"', "1x5 0x20 1x100")), "3m", {"RaftNoLeader": []}),
    "all nodes down": (
        tuple(("raft_node_up", f'node="{node}"', "0x100") for node in (1, 2, 3)), "1m30s",
        {"RaftNoLeader": [C], "RaftMemberDown": [f'{C}, node: "{node}"' for node in (1, 2, 3)]}),
    "a leader that changes and changes": (
        (("raft_leader_changes_total", 'node="1"', "0+1x60"),), "5m", {"RaftManyLeaderChanges": [C]}),
    "two leaders in a quarter of an hour": (
        (("raft_leader_changes_total", 'node="1"', "1x60 2x60"),), "10m", {"RaftManyLeaderChanges": []}),
    "slow writes": (
        (("raft_fsync_seconds_bucket", 'node="1",le="0.1"', "0x200"),
         ("raft_fsync_seconds_bucket", 'node="1",le="0.25"', "0+10x200"),
         ("raft_fsync_seconds_bucket", 'node="1",le="+Inf"', "0+10x200")),
        "10m", {"RaftSlowFsync": [f'{C}, node: "1"']}),
    "quick writes": (
        (("raft_fsync_seconds_bucket", 'node="1",le="0.1"', "0+10x200"),
         ("raft_fsync_seconds_bucket", 'node="1",le="+Inf"', "0+10x200")), "10m", {"RaftSlowFsync": []}),
    "slow commits": (
        (("raft_commit_seconds_bucket", 'node="1",le="0.25"', "0x200"),
         ("raft_commit_seconds_bucket", 'node="1",le="0.5"', "0+10x200"),
         ("raft_commit_seconds_bucket", 'node="1",le="+Inf"', "0+10x200")), "10m", {"RaftSlowCommits": [C]}),
    "one of three down": (
        (*NODES[:2], ("raft_node_up", 'node="3"', "0x300"), *VOTERS, *FOLLOW[:2]), "2m",
        {"RaftMemberDown": [f'{C}, node: "3"'], "RaftQuorumAtRisk": [C]}),
    "a learner is no voter": (
        (*NODES, *VOTERS, *FOLLOW[:2], ("raft_node_role", 'node="3",role="learner"', "1x300")), "2m",
        {"RaftQuorumAtRisk": [C]}),
    "one of five down": (
        (("raft_voters", 'node="1"', "5x300"),
         *(("raft_node_role", f'node="{node}",role="learner"', "0x300") for node in (1, 2, 3, 4))), "2m",
        {"RaftQuorumAtRisk": []}),
    "a full disk": (
        (("raft_disk_full", 'node="2"', "1x10"),), "10s", {"RaftOutOfSpace": [f'{C}, node: "2"']}),
    "a quota that is used up": (
        (("raft_out_of_space", 'node="2"', "1x10"),), "10s", {"RaftOutOfSpace": [f'{C}, node: "2"']}),
    "a quota of which little is left": (
        (("raft_state_bytes", 'node="2"', "90x200"), ("raft_quota_bytes", 'node="2"', "100x200")), "6m",
        {"RaftSpaceLow": [f'{C}, node: "2"']}),
    "a member that does not catch up": (
        (("raft_peer_lag_entries", 'node="1",peer="3"', "20000x200"),), "6m",
        {"RaftMemberLags": [f'{C}, peer: "3"']}),
    "a clock that runs fast": (
        (("raft_node_clock_seconds", 'node="1"', "100+5.5x200"), ("raft_incarnation", 'node="1"', "1x200")),
        "10m", {"RaftClockRate": [f'{C}, node: "1"']}),
    "a clock that keeps time, and one of a host that was started again": (
        (("raft_node_clock_seconds", 'node="1"', "100+5x200"), ("raft_incarnation", 'node="1"', "1x200"),
         ("raft_node_clock_seconds", 'node="2"', "9000+5x100 0+5x100"),
         ("raft_incarnation", 'node="2"', "1x100 2x100")), "11m", {"RaftClockRate": []}),
    "no metrics": ((), "3m", {"RaftNoMetrics": [""]}),
}  # fmt: skip


@needs_promtool
def test_promtool_takes_the_rules_and_each_alert_fires_when_it_should_and_not_otherwise(
    tmp_path: Path,
) -> None:
    rules, tests = tmp_path / "raft.rules.yml", tmp_path / "tests.yml"
    rules.write_text(alert_rules())
    # Annotations are words; promtool would compare them, too.
    bare = re.sub(r"\n +annotations:(\n {10}.*)+", "", alert_rules())
    (tmp_path / "bare.yml").write_text(bare)
    cases = "\n".join(case(*series, at=at, fires=fires) for series, at, fires in CASES.values())
    tests.write_text(f"rule_files: [bare.yml]\nevaluation_interval: 5s\ntests:\n{cases}\n")
    for words in (["check", "rules", str(rules)], ["test", "rules", str(tests)]):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    fired = {name for _, _, fires in CASES.values() for name, labels in fires.items() if labels}
    assert fired == {alert.name for alert in ALERTS}


def test_alerts_and_dashboard_ask_for_metrics_that_there_are() -> None:
    names = {
        f"{family.name}{ending}"
        for family in every_family()
        for ending in (("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",))
    }
    for text in (*expressions(), *(alert.expr for alert in ALERTS)):
        assert set(re.findall(r"raft_\w+", text)) <= names, text


def test_every_alert_is_in_the_chapter_on_operations() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert [alert.name for alert in ALERTS if f"#### {alert.name}\n" not in text] == []


def test_the_dashboard_is_what_grafana_imports() -> None:
    made = json.loads(dashboard())
    assert made["schemaVersion"] >= 36
    assert [variable["name"] for variable in made["templating"]["list"]] == ["datasource", "cluster"]
    assert len(made["panels"]) == len(PANELS) == len({panel["id"] for panel in made["panels"]})
    places = set()
    for panel in made["panels"]:
        at = panel["gridPos"]
        places.add((at["x"], at["y"]))
        assert at["x"] + at["w"] <= 24
        assert panel["targets"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all("$cluster" in target["expr"] for target in panel["targets"])
    assert len(places) == len(PANELS)
