"""This project's actors at the work of `task`."""

import os
import signal
import time
from typing import Any

import msgspec

from actors import Actor, Backoff, MailboxPolicy, ProcessSystem, Request, RestartPolicy, answers, handles
from benchmarks.actor_peers import task


class Ping(Request[int], frozen=True):
    """Asks for a pid."""


class Note(msgspec.Struct, frozen=True):
    """Is counted."""

    number: int


class Count(Request[int], frozen=True):
    """Asks how many notes came."""


class Job(Request[int], frozen=True):
    """Asks for something to be computed."""

    number: int


class Breed(Request[int], frozen=True):
    """Asks for so many child actors."""

    count: int


class Worker(Actor):
    """Does all of it."""

    def __init__(self) -> None:
        self.count = 0

    @answers(Ping)
    def ping(self, ping: Ping) -> int:
        """Tell the pid."""
        return os.getpid()

    @handles(Note)
    def note(self, note: Note) -> None:
        """Count a note."""
        self.count += 1

    @answers(Count)
    def tell_count(self, count: Count) -> int:
        """Tell the count."""
        return self.count

    @answers(Job)
    def job(self, job: Job) -> int:
        """Compute."""
        return task.compute()

    @answers(Breed)
    def breed(self, breed: Breed) -> int:
        """Start children."""
        for number in range(breed.count):
            self.context.spawn(Worker, f"child{number}")
        return breed.count


def main() -> None:
    """Do the work."""
    policy = RestartPolicy(max_restarts=100, backoff=Backoff(first_seconds=0.001))
    with ProcessSystem([Ping, Note, Count, Job, Breed, int], supervision=policy) as system:
        runtime = system.runtime
        roomy = MailboxPolicy(messages_max=10 * task.TELLS)  # No tell is refused.
        worker = system.spawn_process(Worker, "worker", mailbox=roomy)
        system.ask(worker, Ping())

        def ask() -> None:
            pending = runtime.ask(worker, Ping(), 10.0)
            runtime.run_until(pending, 10.0)
            pending.result()

        task.tell_latencies([task.timed(ask) for _ in range(task.ASKS)])

        def ask_many() -> None:
            asked = [runtime.ask(worker, Ping(), 10.0) for _ in range(task.WINDOW)]
            runtime.run_until(lambda: all(pending.done for pending in asked), 10.0)
            for pending in asked:
                pending.result()

        best = min(task.timed(ask_many) for _ in range(task.ROUNDS))
        task.tell(asks_per_second=task.WINDOW / best)

        def tell_many() -> None:
            for number in range(task.TELLS):
                runtime.tell(worker, Note(number))
                if number % 1000 == 999:
                    runtime.run_turn()
            while system.ask(worker, Count()) % task.TELLS:
                pass

        task.tell(tells_per_second=task.TELLS / min(task.timed(tell_many) for _ in range(3)))

        def killed() -> float:
            pid = system.ask(worker, Ping())
            os.kill(pid, signal.SIGKILL)
            started = time.perf_counter()
            system.run_until(lambda: "worker" not in runtime.peers)
            assert system.ask(worker, Ping()) != pid
            return time.perf_counter() - started

        task.tell(back_ms=min(killed() for _ in range(task.KILLS)) * 1000)
        pool = system.spawn_pool(Worker, "pool", 2)
        jobs: list[Any] = [Job(number) for number in range(task.JOBS)]
        list(pool.map(jobs[:4]))
        task.tell(pool_seconds=min(task.timed(lambda: list(pool.map(jobs))) for _ in range(3)))
        pool.resize(0)
    with ProcessSystem([Ping, Note, Count, Job, Breed, int]) as system:

        def start() -> None:
            hosts = [system.spawn_process(Worker, f"host{number}") for number in range(4)]
            for host in hosts:
                system.wait_for(host.process)
            asked = [system.runtime.ask(host, Breed(task.MANY // 4), 10.0) for host in hosts]
            system.run_until(lambda: all(pending.done for pending in asked))

        seconds = task.timed(start)
        task.tell(many_start_seconds=seconds, many_mib=task.memory_mib(task.children()))


if __name__ == "__main__":
    main()
