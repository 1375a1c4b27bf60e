"""Ticks: how many pass, and when a node wakes for one."""

from __future__ import annotations

import pytest

from actors.clock import ManualClock
from raft.core.types import Role
from raft.node.ticker import Ticker
from tests.node.waits import Waits


class Clockwork:
    """A core that only counts its ticks, under a pace that the test drives."""

    def __init__(self, role: Role = Role.FOLLOWER) -> None:
        self.role = role
        self.ticks = self.election_elapsed = self.heartbeat_elapsed = 0
        self.randomized_election_ticks = 15
        self.clock = ManualClock(100.0)
        self.waits = Waits()
        self.stalls: list[float] = []
        self.busy: list[float] = []
        self.worked_seconds = 0.0
        self.ticker = Ticker(
            self,
            tick_seconds=0.025,
            heartbeat_ticks=2,
            sleep_ticks_max=5,
            now=self.clock.now,
            after=self.waits.after,
            woken=lambda now: None,
            late=lambda seconds, *, busy: (self.busy if busy else self.stalls).append(seconds),
            worked=lambda: self.worked_seconds,
        )

    def tick(self) -> None:
        self.ticks += 1
        self.election_elapsed += 1
        self.heartbeat_elapsed = (self.heartbeat_elapsed + 1) % 2

    def wake(self, late_seconds: float = 0.0) -> float:
        seconds = self.waits.pending[0].seconds
        self.clock.advance(seconds + late_seconds)
        self.waits.fire()
        return seconds


def test_the_number_of_ticks_follows_the_clock_in_spite_of_rounding() -> None:
    for role in Role:
        core = Clockwork(role)
        while core.clock.now() < 110.0:
            core.wake(late_seconds=0.001)
        assert core.ticks in (399, 400, 401)
        assert core.stalls == []


def test_a_leader_wakes_for_its_heartbeats_and_a_follower_only_when_its_timeout_may_be_near() -> None:
    assert Clockwork(Role.LEADER).wake() == pytest.approx(0.050)
    follower = Clockwork()
    assert follower.wake() == pytest.approx(0.125)
    follower.election_elapsed = 13
    follower.ticker.plan()
    assert follower.wake() == pytest.approx(0.050)


def test_due_ticks_pass_before_a_message_is_handled() -> None:
    core = Clockwork()
    core.clock.advance(0.060)
    core.ticker.pass_time(core.clock.now())
    assert core.ticks == 2
    core.ticker.pass_time(core.clock.now())
    assert core.ticks == 2


def test_after_a_stall_one_tick_passes_and_its_length_is_reported() -> None:
    core = Clockwork()
    core.wake(late_seconds=5.0)
    assert core.ticks == 1
    assert core.stalls == [pytest.approx(5.125)]
    core.wake()
    assert core.ticks == 6
    assert len(core.stalls) == 1


def test_a_stall_is_reported_before_the_next_message_is_handled() -> None:
    core = Clockwork(Role.LEADER)
    core.clock.advance(1.0)
    core.ticker.pass_time(core.clock.now())
    assert core.stalls == [1.0]
