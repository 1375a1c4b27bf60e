"""Thespian (multiprocTCPBase) at the work of `task`: each actor is a process."""

import os
import signal
import time

import task
from thespian.actors import Actor, ActorSystem

TELLS = task.TELLS // 10  # It is slow, and the figure is a rate.
MANY = 40  # Each actor is a process: a thousand would not fit.


class Worker(Actor):
    """Does all of it."""

    count = 0

    def receiveMessage(self, message, sender):  # noqa: N802
        """A ping, a note, or a job."""
        if message == "note":
            self.count += 1
        elif message == "count":
            self.send(sender, self.count)
        elif message in ("ping", "job"):
            self.send(sender, task.compute() if message == "job" else os.getpid())


def main() -> None:
    """Do the work."""
    system = ActorSystem("multiprocTCPBase", {"Admin Port": 19531})
    try:
        worker = system.createActor(Worker)
        system.ask(worker, "ping", 10)
        task.tell_latencies([task.timed(lambda: system.ask(worker, "ping", 10)) for _ in range(task.ASKS)])

        def ask_many():
            for _ in range(task.WINDOW):
                system.tell(worker, "ping")
            for _ in range(task.WINDOW):
                assert system.listen(10)

        task.tell(asks_per_second=task.WINDOW / min(task.timed(ask_many) for _ in range(3)))

        def tell_many():
            for _ in range(TELLS):
                system.tell(worker, "note")
            while system.ask(worker, "count", 10) % TELLS:
                pass

        task.tell(tells_per_second=TELLS / task.timed(tell_many))
        pool = [system.createActor(Worker) for _ in range(2)]

        def jobs():
            for number in range(task.JOBS):
                system.tell(pool[number % 2], "job")
            for _ in range(task.JOBS):
                assert system.listen(10)

        task.tell(pool_seconds=task.timed(jobs))

        def killed():
            pid = system.ask(worker, "ping", 10)
            started = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            again = system.createActor(Worker)  # A supervisor has to do so itself.
            assert system.ask(again, "ping", 10) != pid
            return time.perf_counter() - started

        task.tell(back_ms=killed() * 1000)
    finally:
        system.shutdown()


if __name__ == "__main__":
    main()
