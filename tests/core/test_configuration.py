"""Options are validated together: a contradiction is refused at once, with a message that names it."""

from random import Random

import pytest

from raft.core import Config, Raft, ReadOnlyOption
from raft.core.errors import ConfigError
from raft.core.types import ConfState, Snapshot
from raft.storage.memory import MemoryStorage


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"id": 0}, ["id"]),
        ({"id": 2**64 - 1}, ["id"]),
        ({"heartbeat_ticks": 0}, ["heartbeat_ticks"]),
        ({"election_ticks": 3, "heartbeat_ticks": 3}, ["election_ticks", "heartbeat_ticks"]),
        ({"election_ticks": 5, "election_ticks_max": 5}, ["election_ticks_max", "election_ticks "]),
        ({"applied": -1}, ["applied"]),
        ({"max_size_per_msg": -1}, ["max_size_per_msg"]),
        ({"max_uncommitted_size": -1}, ["max_uncommitted_size"]),
        ({"max_inflight_msgs": 0}, ["max_inflight_msgs"]),
        ({"max_size_per_msg": 100, "max_inflight_bytes": 99}, ["max_inflight_bytes", "max_size_per_msg"]),
        ({"max_size_per_msg": 0}, ["max_size_per_msg", "max_committed_size_per_ready"]),
        ({"read_only": ReadOnlyOption.LEASE_BASED}, ["read_only", "check_quorum"]),
        ({"hand_over_on_removal": True}, ["hand_over_on_removal", "step_down_on_removal"]),
        ({"priority": 1}, ["priority"]),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, named):
    with pytest.raises(ConfigError) as refused:
        Config(**{"id": 1, **options})
    for name in named:
        assert name in str(refused.value)


def test_a_message_size_of_zero_is_fine_when_applying_has_a_limit_of_its_own():
    assert Config(id=1, max_size_per_msg=0, max_committed_size_per_ready=1).applying_size_max == 1


def core(priority: int, seed: int) -> Raft:
    storage = MemoryStorage()
    storage.apply_snapshot(Snapshot(1, 1, ConfState((1, 2, 3))))
    return Raft(Config(id=1, applied=1, election_ticks=10, priority=priority), storage, Random(seed))


@pytest.mark.parametrize("seed", range(20))
def test_a_lower_priority_waits_until_every_higher_one_has_had_its_turn(seed):
    waits = [core(priority, seed + priority).randomized_election_ticks for priority in (0, -1, -2)]
    assert 10 <= waits[0] < 20 <= waits[1] < 30 <= waits[2] < 40
