"""The key in use: after a number of steps, a new one.

Owns the names and the count. The history of each key stays short enough to be checked.
"""

from __future__ import annotations

from collections import Counter


class Keys:
    """Keys in groups; each group uses one key at a time."""

    def __init__(self, prefix: str, steps_per_key: int) -> None:
        self._prefix = prefix
        self._steps_per_key = steps_per_key
        self._steps: Counter[int] = Counter()

    def next(self, group: int = 0) -> str:
        """The key for the next step of a group."""
        self._steps[group] += 1
        return self._name(group, (self._steps[group] - 1) // self._steps_per_key)

    def used(self) -> list[str]:
        """All keys so far."""
        return [
            self._name(group, number)
            for group, steps in sorted(self._steps.items())
            for number in range(-(-steps // self._steps_per_key))
        ]

    def _name(self, group: int, number: int) -> str:
        return f"{self._prefix}{group}.{number}"
