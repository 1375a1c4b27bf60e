"""Whole clusters, broken in every way, for some hundred seeds."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter

import pytest

from raft.lab.simulation.faults.plan import Kind, draw_plan
from raft.lab.simulation.setting import draw_setting
from raft.lab.simulation.simulation import World, simulate, simulate_seed

SECONDS = 20.0
STORY_SECONDS = 6.0
SHORT_SECONDS = 12.0


@pytest.mark.parametrize("block", range(10))
def test_every_promise_is_kept(block):
    for seed in range(10_000 + 5 * block, 10_000 + 5 * block + 5):
        failure = simulate_seed(seed, seconds=SHORT_SECONDS).failure
        assert failure is None, f"seed {seed}: {failure}"


@pytest.mark.parametrize("seed", range(11_000, 11_008))
def test_every_promise_is_kept_for_longer(seed):
    failure = simulate_seed(seed, seconds=2 * SECONDS).failure
    assert failure is None, f"seed {seed}: {failure}"


@pytest.mark.parametrize("nodes", [1, 2, 3, 4])
def test_a_cluster_of_any_size_keeps_its_promises(nodes):
    for seed in range(20_000, 20_002):
        failure = simulate_seed(seed, nodes=nodes, seconds=SECONDS).failure
        assert failure is None, f"seed {seed}, {nodes} nodes: {failure}"


def test_disks_that_go_back_are_noticed_and_never_followed():
    counts = Counter()
    for seed in range(30_000, 30_008):
        result = simulate_seed(seed, nodes=3, seconds=1.0)
        assert result.failure is None, f"seed {seed}: {result.failure}"
        counts.update(result.counts)
    assert counts["rolled-back nodes repaired"] > 0
    assert counts["majorities rolled back"] > 0


def digest_in_another_process(seed, hash_seed):
    code = (
        "from raft.lab.simulation.simulation import simulate_seed; "
        f"result = simulate_seed({seed}, seconds={STORY_SECONDS}); print(result.digest, result.failure)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[0]


def test_the_same_seed_tells_the_same_story_in_every_process():
    here = simulate_seed(7, seconds=STORY_SECONDS).digest
    assert digest_in_another_process(7, 1) == here
    assert digest_in_another_process(7, 2) == here


def test_a_world_that_has_ended_leaves_nothing_behind():
    simulate_seed(9, seconds=STORY_SECONDS)
    gc.collect()
    # A structure that is hidden from the collector must hold nothing that leads back to its owner.
    assert not [thing for thing in gc.get_objects() if isinstance(thing, World)]


def test_a_story_that_is_listened_to_is_the_same_story():
    lines = []
    told = simulate_seed(8, seconds=STORY_SECONDS, listener=lines.append)
    assert told.digest == simulate_seed(8, seconds=STORY_SECONDS).digest
    assert any("leads term" in line for line in lines)


def test_another_seed_tells_another_story():
    assert simulate_seed(1, seconds=STORY_SECONDS).digest != simulate_seed(2, seconds=STORY_SECONDS).digest


def test_a_fault_less_leaves_the_others_where_they_are():
    setting = draw_setting(3, nodes=5, seconds=30.0)
    plan = draw_plan(setting)
    assert len(plan) > 5
    assert simulate(setting, plan[:1]).counts.get(f"fault: {plan[0].kind.value}") == 1


def test_every_kind_of_fault_is_drawn():
    kinds = {
        fault.kind for seed in range(100) for fault in draw_plan(draw_setting(seed, nodes=5, seconds=60.0))
    }
    assert kinds == set(Kind)


def test_a_minority_of_the_disks_is_damaged_at_most():
    for seed in range(300):
        plan = draw_plan(draw_setting(seed, nodes=5, seconds=60.0))
        assert len({node for fault in plan if fault.kind is Kind.BIT_FLIP for node in fault.nodes}) <= 2
