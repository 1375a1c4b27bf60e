"""The decisions of a supervisor, as arithmetic."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.failures.supervision import (
    Backoff,
    ForgetChild,
    GiveUp,
    Restart,
    RestartChildren,
    RestartPolicy,
    Strategy,
    Supervisor,
)

AT_ONCE = Backoff(first_seconds=0.0, jitter=0.0)


def supervisor(policy: RestartPolicy, *children: str) -> Supervisor:
    it = Supervisor(policy, random.Random(1))
    for name in children:
        it.started(name, 0.0)
    return it


@pytest.mark.parametrize(
    ("strategy", "stop", "start"),
    [
        (Strategy.ONE_FOR_ONE, (), ("b",)),
        (Strategy.ONE_FOR_ALL, ("c", "a"), ("a", "b", "c")),
        (Strategy.REST_FOR_ONE, ("c",), ("b", "c")),
    ],
)
def test_a_strategy_names_who_is_stopped_youngest_first_and_started_oldest_first(
    strategy: Strategy, stop: tuple[str, ...], start: tuple[str, ...]
) -> None:
    it = supervisor(RestartPolicy(strategy=strategy, backoff=AT_ONCE), "a", "b", "c")
    assert it.ended("b", 1.0, failed=True) == RestartChildren(stop, start, 0.0)


@pytest.mark.parametrize(
    ("restart", "after_failure", "after_end"),
    [(Restart.PERMANENT, True, True), (Restart.TRANSIENT, True, False), (Restart.TEMPORARY, False, False)],
)
def test_a_restart_rule_names_the_endings_after_which_a_child_is_started_again(
    restart: Restart, after_failure: bool, after_end: bool
) -> None:
    for failed, again in ((True, after_failure), (False, after_end)):
        it = supervisor(RestartPolicy(restart=restart), "a")
        assert isinstance(it.ended("a", 1.0, failed=failed), RestartChildren if again else ForgetChild)
        assert it.children == (("a",) if again else ())


def test_a_temporary_child_that_is_taken_along_stays_away() -> None:
    it = Supervisor(RestartPolicy(strategy=Strategy.ONE_FOR_ALL, backoff=AT_ONCE), random.Random(1))
    it.started("a", 0.0)
    it.started("b", 0.0, Restart.TEMPORARY)
    assert it.ended("a", 1.0, failed=True) == RestartChildren(("b",), ("a",), 0.0)
    assert it.children == ("a",)


@given(
    st.lists(st.floats(0, 5, width=16), min_size=1, max_size=40),
    st.integers(0, 4),
    st.floats(0.5, 10, width=16),
)
def test_no_window_ever_holds_more_restarts_than_allowed(
    gaps: list[float], max_restarts: int, window_seconds: float
) -> None:
    policy = RestartPolicy(max_restarts=max_restarts, window_seconds=window_seconds, backoff=AT_ONCE)
    it = supervisor(policy, "a")
    now, restarts = 0.0, []
    for gap in gaps:
        now += gap
        in_window = [moment for moment in restarts if moment > now - window_seconds]
        decision = it.ended("a", now, failed=True)
        assert isinstance(decision, GiveUp) == (len(in_window) >= max_restarts)
        if isinstance(decision, RestartChildren):
            restarts.append(now)


def test_the_restarts_of_all_children_count_together() -> None:
    it = supervisor(RestartPolicy(max_restarts=2, window_seconds=10), "a", "b", "c")
    assert isinstance(it.ended("a", 1.0, failed=True), RestartChildren)
    assert isinstance(it.ended("b", 2.0, failed=True), RestartChildren)
    assert it.ended("c", 3.0, failed=True) == GiveUp("c ended after 2 restarts within 10 seconds")


def test_the_wait_doubles_up_to_its_maximum_and_starts_anew_after_a_long_incarnation() -> None:
    backoff = Backoff(first_seconds=1.0, max_seconds=5.0, jitter=0.0, reset_seconds=60.0)
    it = supervisor(RestartPolicy(max_restarts=100, backoff=backoff), "a")
    waits = []
    for now in (1.0, 2.0, 3.0, 4.0, 63.9, 124.0, 125.0):
        decision = it.ended("a", now, failed=True)
        assert isinstance(decision, RestartChildren)
        waits.append(decision.after_seconds)
        it.started("a", now)
    assert waits == [1.0, 2.0, 4.0, 5.0, 5.0, 1.0, 2.0]


@given(st.integers(0, 2000), st.floats(0, 1), st.integers())
def test_jitter_shortens_the_wait_by_no_more_than_its_part(before: int, jitter: float, seed: int) -> None:
    backoff = Backoff(first_seconds=0.5, max_seconds=8.0, jitter=jitter)
    full = min(0.5 * 2 ** min(before, 10), 8.0)
    assert full * (1 - jitter) <= backoff.seconds(before, random.Random(seed)) <= full


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Backoff(first_seconds=6.0, max_seconds=5.0),
        lambda: Backoff(first_seconds=-1.0),
        lambda: Backoff(jitter=1.5),
        lambda: RestartPolicy(max_restarts=-1),
        lambda: RestartPolicy(window_seconds=0),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        wrong()  # type: ignore[operator]
