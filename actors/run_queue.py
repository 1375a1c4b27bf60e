"""Whose turn it is: the cells that have letters, and those that did something in this turn.

Owns fairness: a cell handles a batch and goes to the back, and a turn ends after so many letters
even if two actors keep each other busy, so that timers and sockets are looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from actors.cell import Cell

BATCH_MESSAGES_MAX: Final = 256
TURN_MESSAGES_MAX: Final = 4096


class Schedule:
    """The cells of one runtime that want to run."""

    def __init__(self) -> None:
        self.ready: deque[Cell] = deque()
        """To be run soon; a cell sees to it that it is here once."""
        self.touched: list[Cell] = []
        """To be called again at the end of the turn, likewise."""

    def run(self, visit: Callable[[Cell, int], int]) -> int:
        """Visit ready cells, with the number of letters that each may handle; returns how many they did."""
        ready = self.ready
        handled = 0
        while ready and handled < TURN_MESSAGES_MAX:
            cell = ready.popleft()
            cell.scheduled = False
            handled += visit(cell, BATCH_MESSAGES_MAX)
            if cell.wants_to_run and not cell.scheduled:
                cell.scheduled = True
                ready.append(cell)
        return handled

    def take_touched(self) -> list[Cell]:
        """The cells that did something since the last call."""
        touched = self.touched
        self.touched = []
        for cell in touched:
            cell.touched = False
        return touched
