"""Random runs: safety holds after every step, and the cluster works again at the end."""

import pytest

from tests.core.explorer import explore

RUNS = 400
RUNS_IN_A_TEST = 20
FAST_RUNS = 80
FIRSTS = [
    pytest.param(first, marks=() if first < FAST_RUNS else pytest.mark.slow)
    for first in range(0, RUNS, RUNS_IN_A_TEST)
]


@pytest.mark.parametrize("first", FIRSTS)
def test_a_random_cluster_stays_safe_and_recovers(first: int):
    for seed in range(first, first + RUNS_IN_A_TEST):
        explore(seed)
