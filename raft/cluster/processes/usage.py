"""The resource usage of a node's process, and whether it was stopped from outside.

Owns the questions to the operating system. psutil is imported with the first one, so that starting a
cluster does not wait for it.
"""

from __future__ import annotations

from msgspec import Struct

_INTERVAL_SECONDS_MIN = 0.5


class Usage(Struct, frozen=True):
    """CPU as a share of one core, and resident memory."""

    cpu_percent: float
    rss_bytes: int


class UsageMeter:
    """One process's usage: since its start at first, then since the last reading.

    Readings in quick succession measure from the same time, since rounding would dominate them otherwise.
    """

    def __init__(self, pid: int, started_seconds: float) -> None:
        self._pid = pid
        self._since_seconds = started_seconds
        self._since_cpu_seconds = 0.0

    def read(self, now: float) -> Usage | None:
        """None when the process has gone."""
        import psutil

        try:
            process = psutil.Process(self._pid)
            with process.oneshot():
                times = process.cpu_times()
                resident_bytes = process.memory_info().rss
        except psutil.Error:
            return None
        spent = times.user + times.system
        elapsed = max(now - self._since_seconds, 0.001)
        usage = Usage(round(100 * (spent - self._since_cpu_seconds) / elapsed, 1), resident_bytes)
        if elapsed >= _INTERVAL_SECONDS_MIN:
            self._since_seconds, self._since_cpu_seconds = now, spent
        return usage


def is_stopped(pid: int) -> bool:
    """Was it sent SIGSTOP?"""
    import psutil

    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False
