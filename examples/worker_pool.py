"""A pool of workers in processes, of which one is killed and one hangs: `python examples/worker_pool.py`.

In OTP's words, a supervisor starts a worker again when it ends, one for one, and the workers just crash. In
Akka's, the pool asks a worker, and its ask fails when the target is down. What such a worker had in its hands
is done again: perhaps for the second time, since no one can know how far it came. Each job has one result.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import ClassVar

import msgspec

from actors import Actor, Address, Backoff, Handlers, ProcessSystem, RestartPolicy
from actors.errors import AskFailed, TargetDown

WORKERS = ("ann", "ben", "cid")
JOBS = 60
JOB_SECONDS = 0.01
AGAIN_SECONDS = 0.05


class Job(msgspec.Struct):
    """Asks for the square of a number."""

    number: int


class Result(msgspec.Struct):
    """Answers a job."""

    number: int
    square: int
    pid: int


class Worker(Actor):
    """Does one job after the other; what comes meanwhile waits in its mailbox."""

    def on_job(self, job: Job) -> None:
        """Compute, which keeps this process busy and no other."""
        time.sleep(JOB_SECONDS)
        self.context.reply(Result(job.number, job.number**2, os.getpid()))

    handlers: ClassVar[Handlers] = {Job: on_job}


class Pool(Actor):
    """Gives each worker one job at a time until all have results."""

    def __init__(self, workers: Sequence[Address], jobs: Iterable[Job]) -> None:
        self.workers = workers
        self.jobs = deque(jobs)
        self.results: dict[int, Result] = {}

    def on_start(self) -> None:
        """Give work to all."""
        for worker in self.workers:
            self.give_work(worker)

    def give_work(self, worker: Address) -> None:
        """Ask for one job to be done; while there is none, look again: another worker may lose one."""
        if not self.jobs:
            self.context.after(AGAIN_SECONDS, partial(self.give_work, worker))
            return
        job = self.jobs.popleft()
        self.context.ask(worker, job, timeout_seconds=10.0).then(
            partial(self.keep, worker), partial(self.take_back, worker, job)
        )

    def keep(self, worker: Address, result: Result) -> None:
        """A job is done."""
        self.results[result.number] = result
        self.give_work(worker)

    def take_back(self, worker: Address, job: Job, failure: AskFailed) -> None:
        """Let the job be done by whichever worker is free next; this one gets another when it is up again."""
        if isinstance(failure, TargetDown):  # Else it has not even reached the worker.
            print(f"{worker.process} went down with job {job.number} in its hands")
        self.jobs.appendleft(job)
        self.context.after(AGAIN_SECONDS, partial(self.give_work, worker))


def main() -> None:
    """Kill a worker and pause another one while they work."""
    policy = RestartPolicy(backoff=Backoff(first_seconds=0.01))
    with ProcessSystem({1: Job, 2: Result}, supervision=policy, unresponsive_seconds=1.0) as system:
        workers = [system.spawn_process(Worker, name) for name in WORKERS]
        pids = [system.ask(worker, Job(0)).pid for worker in workers]
        pool = Pool(workers, map(Job, range(JOBS)))
        system.runtime.spawn(lambda: pool, "pool")
        system.run_until(lambda: len(pool.results) > JOBS // 4)
        os.kill(pids[0], signal.SIGKILL)
        os.kill(pids[1], signal.SIGSTOP)
        system.run_until(lambda: len(pool.results) == JOBS)
        total = sum(result.square for result in pool.results.values())
        print(f"{len(pool.results)} jobs are done, and the sum of their results is {total}")
        again = [system.ask(worker, Job(0)).pid for worker in workers]
    print(len(set(again) - set(pids)), "workers were started again")


if __name__ == "__main__":
    main()
