"""How a process tells people what has befallen it: a line with a level, the name of an event, and a message.

Owns the form of that call, and the way to loguru's logger for processes that have no log of their own. Knows
nothing of files; see actors.processes.logs.
"""

from __future__ import annotations

from typing import Protocol


class Log(Protocol):
    """Takes a line."""

    def __call__(self, level: str, event: str, message: str, /, **values: object) -> None:
        """Write a line; `level` is one of DEBUG, INFO, WARNING and ERROR, `values` are further fields."""
        ...


def log_by_loguru(level: str, event: str, message: str, /, **values: object) -> None:
    """Write a line with loguru's `logger`, as the program has set it up."""
    # Imported for the first line: it loads asyncio and more, a fourth of what a node would load to start.
    from loguru import logger

    logger.bind(event=event, **values).log(level, message)
