"""A clock's waits, to be ended by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Wait:
    """A timer that fires when told to; see Waits."""

    def __init__(self, waits: Waits, seconds: float, call: Callable[[], None]) -> None:
        self.waits, self.seconds, self.call = waits, seconds, call

    def cancel(self) -> None:
        if self in self.waits.pending:
            self.waits.pending.remove(self)


class Waits:
    """All timers that have not fired, in the order in which they were set."""

    def __init__(self) -> None:
        self.pending: list[Wait] = []

    def after(self, seconds: float, call: Callable[[], None]) -> Any:
        self.pending.append(Wait(self, seconds, call))
        return self.pending[-1]

    def fire(self) -> float:
        wait = self.pending.pop(0)
        wait.call()
        return wait.seconds
