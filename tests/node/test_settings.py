"""The settings of a node, from a program, a launcher or a command line, and the configuration they make."""

from __future__ import annotations

import pytest

from raft.cluster.spec import ClusterSpec
from raft.durations import Duration
from raft.node.config import NodeConfig
from raft.node.process.command_line import parse
from raft.node.settings import ProcessSettings, configure
from raft.node.tuning import Tuning

WORDS = "--id 1 --listen ipc:///n1 --data-dir d"


def test_what_is_left_out_has_the_configurations_own_default() -> None:
    default = NodeConfig(node=1, listen="ipc:///n1", data_dir="d", first_start=True)
    assert configure(1, "ipc:///n1", "d") == default
    assert parse(WORDS.split()) == default
    of_launcher = configure(1, "ipc:///n1", "d", **ClusterSpec().node_settings())
    assert of_launcher == default


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("--peer 2=ipc:///n2 --peer 3=ipc:///n3", {"peers": {2: "ipc:///n2", 3: "ipc:///n3"}}),
        ("--heartbeat 20ms --election-timeout 1s-2s", {"heartbeat": 0.02, "election_timeout": (1, "2s")}),
        ("--fsync-warn 1m", {"fsync_warn": 60.0}),
        ("--existing --join", {"existing": True, "join": True}),
        ("--tune priority=-1", {"tuning": Tuning(priority=-1)}),
        ("--no-pre-vote --no-check-quorum", {"pre_vote": False, "check_quorum": False}),
        ("--no-lease-reads --ephemeral-log", {"lease_reads": False, "ephemeral_log": True}),
        ("--machine a.b:C --log-file n1.log", {"machine": "a.b:C", "log_path": "n1.log"}),
    ],
)  # fmt: skip
def test_a_command_line_makes_the_same_configuration_as_a_program(
    words: str, settings: ProcessSettings
) -> None:
    assert parse(f"{WORDS} {words}".split()) == configure(1, "ipc:///n1", "d", **settings)


def test_the_settings_of_a_cluster_reach_the_configuration_of_each_node() -> None:
    spec = ClusterSpec(
        heartbeat_seconds=0.1,
        election_seconds_min=1.0,
        election_seconds_max=2.0,
        tune=("priority=3",),
        check_quorum=False,
        pre_vote=False,
        lease_reads=False,
        ephemeral_log=True,
        machine="package.module:Class",
        trace="t",
    )
    config = configure(1, "ipc:///n1", "d", **spec.node_settings())
    assert (config.heartbeat_seconds, config.election_seconds_min, config.election_seconds_max) == (0.1, 1, 2)
    assert (config.tuning, config.machine, config.trace) == (Tuning(priority=3), "package.module:Class", "t")
    assert not (config.check_quorum or config.pre_vote or config.lease_reads or config.sync)


@pytest.mark.parametrize("heartbeat", ["soon", -1.0, True])
def test_a_duration_that_cannot_be_read_is_refused(heartbeat: Duration) -> None:
    with pytest.raises((ValueError, TypeError)):
        configure(1, "ipc:///n1", "d", heartbeat=heartbeat)
