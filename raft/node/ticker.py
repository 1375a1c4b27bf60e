"""Converts elapsed time into ticks.

Owns how many ticks pass, and when the node has to wake for one. A process that was stopped does not make
up for lost time; an idle one is not woken for ticks that change nothing. Knows nothing
of what a tick does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.timers import Timer
from raft.core.types import Role
from raft.node.histogram import Histogram

# Later than this means a stall of the process or the machine, or a very long turn.
LATE_TICKS = 3
BUSY_RATIO = 0.5  # With at least this share of CPU time, the process was busy and not stalled.
SLACK_TICKS = 0.1  # A timer that fires a little early still counts.


class Core(Protocol):
    """A core's clock; all in ticks."""

    role: Role
    election_elapsed: int
    heartbeat_elapsed: int
    randomized_election_ticks: int

    def tick(self) -> None:
        """Let one tick pass."""
        ...


class Ticker:
    """Passes the ticks that are due whenever the node is awake, and wakes it for the next relevant one.

    For a leader that is its next heartbeat, for other nodes their election timeout, which the leader keeps
    postponing. After a stall (SIGSTOP, an overloaded machine), or a long turn, only one tick passes: messages
    that arrived meanwhile must be handled before their senders can count as silent. `late` gets the time,
    and with `busy` whether the process was working.
    """

    def __init__(
        self,
        core: Core,
        *,
        tick_seconds: float,
        heartbeat_ticks: int,
        sleep_ticks_max: int,
        now: Callable[[], float],
        after: Callable[[float, Callable[[], None]], Timer],
        woken: Callable[[float], None],
        late: Callable[..., None],
        worked: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._core = core
        self._tick_seconds = tick_seconds
        self._heartbeat_ticks = heartbeat_ticks
        self._sleep_ticks_max = sleep_ticks_max
        self._now = now
        self._after = after
        self._woken = woken
        self._late = late
        self._worked = worked
        self._worked_before = worked()
        self.lag_seconds = Histogram()
        """Delay of the loop behind its planned wake-ups, at each tick."""
        self.late_by_kind = {"stalled": 0, "busy": 0}
        self._counted_to = now()
        self.due_at = 0.0
        """When the next tick is due."""
        self._late_at = self._wake_at = 0.0
        self._timer: Timer | None = None
        self.plan()

    def pass_time(self, now: float) -> None:
        """Pass the ticks that are due; called before a message of a peer once `due_at` has come."""
        if now < self.due_at:
            return
        if now >= self._late_at:
            overdue_seconds = now - self._late_at + LATE_TICKS * self._tick_seconds
            busy = self._worked() - self._worked_before >= BUSY_RATIO * overdue_seconds
            self.late_by_kind["busy" if busy else "stalled"] += 1
            self._late(now - self._counted_to, busy=busy)
            ticks = 1
            self._counted_to = now
        else:
            ticks = int((now - self._counted_to) / self._tick_seconds + SLACK_TICKS)
            self._counted_to += ticks * self._tick_seconds
        self.due_at = self._counted_to + (1 - SLACK_TICKS) * self._tick_seconds
        self.lag_seconds.observe(max(0.0, now - self._wake_at))
        for _ in range(ticks):
            self._core.tick()
        self._woken(now)
        self._worked_before = self._worked()
        # The node is awake, so the next wake-up can be later than planned.
        self.plan()

    def plan(self) -> None:
        """Plan the next wake-up; call when the role has changed."""
        core = self._core
        if core.role is Role.LEADER:
            ticks = self._heartbeat_ticks - core.heartbeat_elapsed
        else:
            ticks = core.randomized_election_ticks - core.election_elapsed
        ticks = max(1, min(ticks, self._sleep_ticks_max))
        self._wake_at = wake_at = self._counted_to + ticks * self._tick_seconds
        self._late_at = wake_at + LATE_TICKS * self._tick_seconds
        self.due_at = self._counted_to + (1 - SLACK_TICKS) * self._tick_seconds
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._after(max(0.0, wake_at - self._now()), self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.pass_time(self._now())
        if self._timer is None:
            self.plan()  # It was a little early for a tick.
