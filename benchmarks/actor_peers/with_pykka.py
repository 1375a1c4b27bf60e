"""pykka at the work of `task`: actors are threads of one process, so that nothing can be killed."""

import os
import time

import pykka
import task


class Worker(pykka.ThreadingActor):
    """Does all of it."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def on_receive(self, message):
        """A ping, a note, or a job."""
        if message == "note":
            self.count += 1
            return None
        if message == "count":
            return self.count
        return task.compute() if message == "job" else os.getpid()


def main() -> None:
    """Do the work."""
    worker = Worker.start()
    task.tell_latencies([task.timed(lambda: worker.ask("ping")) for _ in range(task.ASKS)])

    def ask_many():
        pykka.get_all([worker.ask("ping", block=False) for _ in range(task.WINDOW)])

    task.tell(asks_per_second=task.WINDOW / min(task.timed(ask_many) for _ in range(task.ROUNDS)))

    def tell_many():
        for _ in range(task.TELLS):
            worker.tell("note")
        worker.ask("count")

    task.tell(tells_per_second=task.TELLS / min(task.timed(tell_many) for _ in range(3)))
    pool = [Worker.start() for _ in range(2)]

    def jobs():
        pykka.get_all([pool[number % 2].ask("job", block=False) for number in range(task.JOBS)])

    task.tell(pool_seconds=task.timed(jobs))
    started = time.perf_counter()
    many = [Worker.start() for _ in range(task.MANY)]
    pykka.get_all([one.ask("ping", block=False) for one in many])
    task.tell(many_start_seconds=time.perf_counter() - started, many_mib=task.memory_mib(task.children()))
    pykka.ActorRegistry.stop_all()


if __name__ == "__main__":
    main()
