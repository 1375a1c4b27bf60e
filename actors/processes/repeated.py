"""An actor that does one thing again and again, for callers that are no actors themselves.

Owns a timer. What is done, and what becomes of its errors, is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from actors.actor import Actor, Handlers


class Repeated(Actor):
    """Calls `task` every `period_seconds`, on the loop of its runtime."""

    def __init__(self, period_seconds: float, task: Callable[[], object]) -> None:
        self._period_seconds = period_seconds
        self._task = task

    def on_start(self) -> None:
        """Begin; the first call comes after one period."""
        self.context.every(self._period_seconds, lambda: self._task() and None)

    handlers: ClassVar[Handlers] = {}
