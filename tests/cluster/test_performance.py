"""What `check perf` thinks of figures."""

from __future__ import annotations

import msgspec
import pytest

from raft.cluster.performance import Figures, Load, percentile

LOAD = Load(seconds=5.0, callers=16, value_bytes=16, reads=False, at_least=150.0)
WELL = Figures(
    operations=5_000,
    failed=0,
    seconds=5.0,
    per_second=1_000.0,
    p50_ms=1.0,
    p90_ms=2.0,
    p99_ms=3.0,
    max_ms=4.0,
    deviation_ms=0.5,
    first_failure="",
)


def test_a_cluster_that_is_well_passes_every_check() -> None:
    assert all(check.ok for check in WELL.checks(LOAD))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"per_second": 149.0}, "throughput is 149 writes/s (at least 150)"),
        ({"max_ms": 501.0}, "the slowest took 501.0 ms (at most 500 ms)"),
        ({"deviation_ms": 101.0}, "the standard deviation is 101.00 ms (at most 100 ms)"),
        ({"failed": 2, "first_failure": "no leader"}, "2 of 5,002 failed, the first: no leader"),
    ],
)
def test_each_thing_that_is_wrong_fails_the_check_that_says_so(changed: dict[str, object], said: str) -> None:
    checks = msgspec.structs.replace(WELL, **changed).checks(LOAD)
    assert [check.says for check in checks if not check.ok] == [said]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (percentile(values, 0.5), percentile(values, 0.99)) == (51.0, 100.0)
    assert percentile([7.0], 0.99) == 7.0
