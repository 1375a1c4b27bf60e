"""Pools, names and groups of real processes, which are really killed."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors import Address, Backoff, ProcessSystem, RestartPolicy
from actors.errors import NoWorkers, TargetDown
from actors.patterns.pool import Pool
from tests.actors.workers import TAGS, Done, Job, Member, Where, Worker

pytestmark = pytest.mark.processes
QUICK = RestartPolicy(max_restarts=20, backoff=Backoff(first_seconds=0.01))


@pytest.fixture(scope="module")
def system() -> Iterator[ProcessSystem]:
    with ProcessSystem(TAGS) as system:
        yield system


@pytest.fixture(scope="module")
def pool(system: ProcessSystem) -> Pool:
    pool = system.spawn_pool(Worker, "pool", 2, policy=QUICK)
    for member in pool.members:
        system.wait_for(member.process)
    return pool


def numbers(results: Iterator[Done]) -> list[int]:
    return [done.number for done in results]


def test_results_come_in_order_from_all_workers_and_messages_are_taken_as_there_is_room(pool: Pool) -> None:
    taken: list[int] = []
    messages = (taken.append(number) or Job(number) for number in itertools.count())
    results = pool.map(messages)
    first = list(itertools.islice(results, 20))
    assert [done.number for done in first] == list(range(20))
    assert len({done.pid for done in first}) == 2
    assert len(taken) < 100
    results.close()  # type: ignore[attr-defined]


def test_a_pool_grows_and_shrinks_while_it_works(system: ProcessSystem, pool: Pool) -> None:
    def messages() -> Iterator[Job]:
        for number in range(60):
            if number == 10:
                pool.resize(3)
            if number == 40:
                pool.resize(1)
            yield Job(number)

    assert numbers(pool.map(messages())) == list(range(60))
    assert pool.members == (Address("pool-1", "main"),)
    assert system.run_until(lambda: "pool-2" not in system.processes)
    assert system.run_until(lambda: system.members("pool") == pool.members)
    pool.resize(2)
    assert system.run_until(lambda: len(system.members("pool")) == 2)


def test_a_job_in_a_dead_workers_hands_fails_or_is_done_again(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(TargetDown):
        pool.ask(Job(1, str(tmp_path / "one")))
    assert pool.ask(Job(2, str(tmp_path / "two")), retries=1).number == 2
    jobs = [Job(number, str(tmp_path / f"job {number}") if number % 5 == 0 else "") for number in range(20)]
    assert numbers(pool.map(jobs, retries=20)) == list(range(20))


def test_a_pool_without_workers_says_so(system: ProcessSystem) -> None:
    empty = system.spawn_pool(Worker, "empty", 0)
    with pytest.raises(NoWorkers, match="the pool empty has no members"):
        empty.ask(Job(1))
    with pytest.raises(NoWorkers):
        list(empty.map([Job(1)]))


def test_names_and_groups_follow_processes_that_die_and_come_back(system: ProcessSystem) -> None:
    one, two = (
        system.spawn_process(Member, name, arguments={"name": "speaker"}, groups=("friends",))
        for name in ("one", "two")
    )
    assert system.run_until(lambda: len(system.members("friends")) == 2)
    holder = system.where_is("speaker")
    assert holder in (one, two)
    assert system.run_until(lambda: {one, two} == set(system.members("friends")))
    while system.ask(one, Where()).count("main") != 2:
        pass
    system.kill_process("two")
    assert system.run_until(lambda: "two" in system.runtime.peers)
    assert system.run_until(lambda: set(system.members("friends")) == {one, two})
    assert system.where_is("missing") is None


def test_a_killed_worker_does_not_stop_a_map_that_may_retry(system: ProcessSystem, pool: Pool) -> None:
    pids = {done.pid for done in pool.map(Job(number) for number in range(10))}
    results = pool.map((Job(number) for number in range(200)), retries=3)
    first = next(results)
    os.kill(next(iter(pids)), signal.SIGKILL)
    assert [first.number, *numbers(results)] == list(range(200))
