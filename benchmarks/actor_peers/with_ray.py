"""Ray at the work of `task`: each actor is a process."""

import os
import signal
import time

import ray
import task

MANY = 40  # Each actor is a process: a thousand would not fit.


@ray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=0)
class Worker:
    """Does all of it."""

    def __init__(self):
        self.count = 0

    def ping(self):
        """Tell the pid."""
        return os.getpid()

    def note(self, number):
        """Count a note."""
        self.count += 1

    def tell_count(self):
        """Tell the count."""
        return self.count

    def job(self, number):
        """Compute."""
        return task.compute()


def main() -> None:
    """Do the work."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    worker = Worker.remote()
    ray.get(worker.ping.remote())
    task.tell_latencies([task.timed(lambda: ray.get(worker.ping.remote())) for _ in range(task.ASKS)])

    def ask_many():
        ray.get([worker.ping.remote() for _ in range(task.WINDOW)])

    task.tell(asks_per_second=task.WINDOW / min(task.timed(ask_many) for _ in range(task.ROUNDS)))
    tells = task.TELLS // 10

    def tell_many():
        for number in range(tells):
            worker.note.remote(number)
        ray.get(worker.tell_count.remote())

    task.tell(tells_per_second=tells / task.timed(tell_many))
    pool = [Worker.remote() for _ in range(2)]
    ray.get([one.ping.remote() for one in pool])

    def jobs():
        ray.get([pool[number % 2].job.remote(number) for number in range(task.JOBS)])

    task.tell(pool_seconds=min(task.timed(jobs) for _ in range(3)))

    def killed():
        pid = ray.get(worker.ping.remote())
        started = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        while ray.get(worker.ping.remote()) == pid:
            pass
        return time.perf_counter() - started

    task.tell(back_ms=min(killed() for _ in range(3)) * 1000)
    ray.shutdown()


if __name__ == "__main__":
    main()
