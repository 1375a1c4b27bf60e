"""Waiting for a condition of the cluster, without blocking.

Owns the list of open waits. Conditions are checked after every turn in which the supervisor received
something, and each wait ends exactly once.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.context import Context
from actors.timers import Timer


class _Wait:
    def __init__(self, holds: Callable[[], bool], then: Callable[[bool], None]) -> None:
        self.holds = holds
        self.then = then
        self.timer: Timer | None = None


class Conditions:
    """The open waits of one actor."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._waits: list[_Wait] = []

    def wait(
        self, holds: Callable[[], bool], timeout_seconds: float | None, then: Callable[[bool], None]
    ) -> None:
        """Call `then(True)` as soon as `holds()`, or `then(False)` when the time is up first."""
        wait = _Wait(holds, then)
        self._waits.append(wait)
        if timeout_seconds is not None:
            wait.timer = self._context.after(timeout_seconds, lambda: self._end(wait, False))

    def check(self) -> None:
        """End every wait whose condition holds now, and those whose condition holds as a consequence."""
        while due := [wait for wait in self._waits if wait.holds()]:
            for wait in due:
                self._end(wait, True)

    def _end(self, wait: _Wait, held: bool) -> None:
        if wait not in self._waits:
            return
        self._waits.remove(wait)
        if wait.timer is not None:
            wait.timer.cancel()
        wait.then(held)
