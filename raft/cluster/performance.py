"""A short load on a running cluster, and its assessment.

Owns the load (closed-loop callers), its figures and the checks on them. It writes keys of its own, and
deletes them again. Knows nothing of how figures are shown.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from raft.client.asyncio_client import AsyncClient
from raft.client.errors import ClientError

KEYS = 100
SLOWEST_SECONDS_MAX = 0.5
SPREAD_SECONDS_MAX = 0.1  # One standard deviation. Both limits are those of `etcdctl check perf`.
PROGRESS_SECONDS = 0.2


class Load(Struct, frozen=True, kw_only=True):
    """The load to apply; `at_least` is a number of operations per second."""

    seconds: float
    callers: int
    value_bytes: int
    reads: bool
    at_least: float


class Check(Struct, frozen=True):
    """One requirement, and whether it is met."""

    ok: bool
    says: str


class Figures(Struct, frozen=True, kw_only=True):
    """The result; durations are those of successful operations."""

    operations: int
    failed: int
    seconds: float
    per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    deviation_ms: float
    first_failure: str

    def checks(self, load: Load) -> list[Check]:
        """The requirements for any healthy cluster."""
        what = "reads" if load.reads else "writes"
        slowest_ms, spread_ms = 1000 * SLOWEST_SECONDS_MAX, 1000 * SPREAD_SECONDS_MAX
        return [
            Check(
                self.per_second >= load.at_least,
                f"throughput is {self.per_second:,.0f} {what}/s (at least {load.at_least:,.0f})",
            ),
            Check(
                self.max_ms <= slowest_ms,
                f"the slowest took {self.max_ms:.1f} ms (at most {slowest_ms:.0f} ms)",
            ),
            Check(
                self.deviation_ms <= spread_ms,
                f"the standard deviation is {self.deviation_ms:.2f} ms (at most {spread_ms:.0f} ms)",
            ),
            Check(
                not self.failed,
                f"{self.failed:,} of {self.operations + self.failed:,} failed"
                + (f", the first: {self.first_failure}" if self.failed else ""),
            ),
        ]


class _Tally:
    """The callers' results so far."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.failed = 0
        self.first_failure = ""

    def note(self, error: ClientError) -> None:
        """An operation failed."""
        self.failed += 1
        self.first_failure = self.first_failure or str(error)

    def figures(self, seconds: float) -> Figures:
        """The final figures."""
        latencies = sorted(self.latencies) or [0.0]
        return Figures(
            operations=len(self.latencies),
            failed=self.failed,
            seconds=seconds,
            per_second=len(self.latencies) / seconds,
            p50_ms=1000 * percentile(latencies, 0.50),
            p90_ms=1000 * percentile(latencies, 0.90),
            p99_ms=1000 * percentile(latencies, 0.99),
            max_ms=1000 * latencies[-1],
            deviation_ms=1000 * statistics.pstdev(latencies),
            first_failure=self.first_failure,
        )


def percentile(ordered: Sequence[float], share: float) -> float:
    """By nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def run_load(
    endpoints: dict[int, str],
    cluster: str,
    load: Load,
    told: Callable[[float, int], None],
    keys: str | None = None,
) -> Figures:
    """Apply the load; `told` is called regularly with the share of the time elapsed and the operations done.

    Raises a ClientError if no leader can be reached at the beginning.
    """
    prefix = f"check-perf/{secrets.token_hex(4)}/"
    tally, value = _Tally(), b"x" * load.value_bytes
    async with AsyncClient(endpoints, cluster=cluster, keys=keys, timeout_seconds=5.0) as client:
        await client.leader()
        names = [f"{prefix}{number}" for number in range(KEYS)]
        try:
            await asyncio.gather(*(client.put(key, value) for key in names))
            began = time.monotonic()
            telling = asyncio.ensure_future(_tell(tally, began, load.seconds, told))
            try:
                callers = range(load.callers)
                await asyncio.gather(
                    *(_call(client, load, names, caller, tally, began + load.seconds) for caller in callers)
                )
            finally:
                telling.cancel()
            return tally.figures(time.monotonic() - began)
        finally:
            await asyncio.gather(*(client.delete(key) for key in names), return_exceptions=True)


async def _call(
    client: AsyncClient, load: Load, keys: Sequence[str], caller: int, tally: _Tally, ends: float
) -> None:
    value, number = b"x" * load.value_bytes, caller
    while (asked := time.monotonic()) < ends:
        key = keys[number % len(keys)]
        number += load.callers
        try:
            if load.reads:
                await client.get(key)
            else:
                await client.put(key, value)
        except ClientError as error:
            tally.note(error)
        else:
            tally.latencies.append(time.monotonic() - asked)


async def _tell(tally: _Tally, began: float, seconds: float, told: Callable[[float, int], None]) -> None:
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        told(min(1.0, (time.monotonic() - began) / seconds), len(tally.latencies))
