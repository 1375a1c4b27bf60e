"""The core's limits and options, as a node's configuration sets them."""

from __future__ import annotations

import re

import pytest

from raft.cluster.failures import BadUsage
from raft.cluster.spec import ClusterSpec
from raft.node.config import BadConfig, NodeConfig
from raft.node.environment import core_config
from raft.node.process.command_line import parse
from raft.node.tuning import BadTuning, Tuning, parse_tuning


def test_every_setting_but_the_quota_reaches_the_core() -> None:
    words = {
        "append_bytes_max": ("1000", "max_size_per_msg", 1000),
        "apply_bytes_max": ("2000", "max_committed_size_per_ready", 2000),
        "uncommitted_bytes_max": ("3000", "max_uncommitted_size", 3000),
        "inflight_appends_max": ("4", "max_inflight_msgs", 4),
        "inflight_bytes_max": ("5000", "max_inflight_bytes", 5000),
        "priority": ("-2", "priority", -2),
        "conf_change_validation": ("false", "disable_conf_change_validation", True),
        "step_down_on_removal": ("true", "step_down_on_removal", True),
        "hand_over_on_removal": ("false", "hand_over_on_removal", False),
    }
    assert set(words) == set(Tuning.__struct_fields__) - {"quota_bytes"}
    tuning = parse_tuning(f"{name}={text}" for name, (text, _, _) in words.items())
    core = core_config(NodeConfig(node=1, listen="", data_dir="", tuning=tuning), applied=0)
    assert {option: getattr(core, option) for _, option, _ in words.values()} == {
        option: value for _, option, value in words.values()
    }


def test_a_tuned_configuration_reaches_the_process() -> None:
    config = NodeConfig(node=1, listen="", data_dir="", tuning=Tuning(priority=-1))
    assert NodeConfig.decode(config.encode()) == config


@pytest.mark.parametrize("word", ["colour=red", "priority", "priority=high", "append_bytes_max=1.5"])
def test_an_unknown_setting_is_refused_by_name(word: str) -> None:
    with pytest.raises(BadTuning, match=re.escape(word.partition("=")[0])):
        parse_tuning([word])


def test_limits_that_contradict_each_other_are_refused_before_a_cluster_starts() -> None:
    with pytest.raises(BadUsage, match=r"max_inflight_bytes .* max_size_per_msg"):
        ClusterSpec(tune=("inflight_bytes_max=10",)).check()
    with pytest.raises(BadConfig):
        core_config(NodeConfig(node=1, listen="", data_dir="", tuning=Tuning(priority=1)), applied=0)


def test_a_single_node_process_has_the_same_settings(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--id", "1", "--listen", "ipc:///tmp/n1", "--data-dir", "/tmp/n1", "--tune"]
    assert parse([*words, "priority=-3"]).tuning == Tuning(priority=-3)
    with pytest.raises(SystemExit) as refused:
        parse([*words, "colour=red"])
    assert refused.value.code == 2
    assert "colour=red" in capsys.readouterr().err
