"""The simulation notices when a guard is gone."""

from __future__ import annotations

import pytest

from raft.lab.shrinking import shrink
from raft.lab.simulation.faults.plan import Fault, Kind
from raft.lab.simulation.guards import SABOTAGES
from raft.lab.simulation.patches import replaced
from raft.lab.simulation.sabotage import hunt
from raft.lab.simulation.simulation import simulate_seed

QUICK = (
    "no-sync", "no-directory-sync", "vote-before-sync", "acknowledge-before-sync", "count-itself-early",
    "answer-before-commit", "read-anywhere", "apply-twice", "no-sessions-in-snapshot",
    "no-fence", "lease-cut-short", "own-machine-on-the-loop", "removed-leader-goes", "foreign-node-added",
)  # fmt: skip


# What is tried at the end of runs needs no long ones.
AT_THE_END = ("rolled-back-goes-on", "majority-followed")


@pytest.mark.parametrize("name", AT_THE_END)
def test_a_missing_guard_against_disks_that_go_back_is_noticed(name):
    sabotage = next(sabotage for sabotage in SABOTAGES if sabotage.name == name)
    assert hunt(sabotage, seeds=20, seconds=1.0, nodes=3).reason is not None


@pytest.mark.parametrize("name", QUICK)
def test_a_missing_guard_is_noticed(name):
    sabotage = next(sabotage for sabotage in SABOTAGES if sabotage.name == name)
    assert hunt(sabotage, seeds=40, seconds=30.0).reason is not None


def test_every_guard_is_back_afterwards():
    before = simulate_seed(5, seconds=3.0).digest
    for sabotage in SABOTAGES:
        with sabotage.patch():
            pass
    assert simulate_seed(5, seconds=3.0).digest == before


def test_what_was_replaced_comes_back_even_after_an_error():
    class Owner:
        value = 1

    with pytest.raises(KeyError), replaced(Owner, "value", 2):
        assert Owner.value == 2
        raise KeyError
    assert Owner.value == 1


def test_a_plan_is_shrunk_to_the_faults_that_matter():
    plan = [Fault(float(number), Kind.KILL, (1,), 1.0, 0.5) for number in range(40)]

    def fails(part):
        moments = {fault.at_seconds for fault in part}
        return {7.0, 31.0} <= moments

    assert [fault.at_seconds for fault in shrink(plan, fails)] == [7.0, 31.0]


def test_shrinking_ends_after_so_many_runs():
    plan = [Fault(float(number), Kind.KILL, (1,), 1.0, 0.5) for number in range(64)]
    runs = []

    def fails(part):
        runs.append(part)
        return len(part) >= 40

    assert len(shrink(plan, fails, runs_max=10)) >= 40
    assert len(runs) == 10
