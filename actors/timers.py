"""Things to do at a moment: a heap of deadlines in monotonic seconds.

Owns when; knows nothing of what is done.
"""

from __future__ import annotations


class Timer:
    """One deadline, once or periodic."""

    def cancel(self) -> None:
        """Never fire (again); does nothing when it has fired or was cancelled."""
        raise NotImplementedError
