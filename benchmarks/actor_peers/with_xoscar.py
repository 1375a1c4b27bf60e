"""xoscar at the work of `task`: a pool of processes, each with many actors."""

import asyncio
import os
import signal
import time

import task
import xoscar as xo


class Worker(xo.Actor):
    """Does all of it."""

    def __init__(self):
        super().__init__()
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


async def elapsed(awaitable):
    """How many seconds something takes."""
    started = time.perf_counter()
    await awaitable
    return time.perf_counter() - started


async def main() -> None:
    """Do the work."""
    pool = await xo.create_actor_pool("127.0.0.1", n_process=4)
    address = pool.external_address
    at = xo.allocate_strategy.ProcessIndex
    worker = await xo.create_actor(Worker, address=address, uid="worker", allocate_strategy=at(1))
    task.tell_latencies([await elapsed(worker.ping()) for _ in range(task.ASKS)])

    def many():
        return asyncio.gather(*(worker.ping() for _ in range(task.WINDOW)))

    rounds = [await elapsed(many()) for _ in range(task.ROUNDS)]
    task.tell(asks_per_second=task.WINDOW / min(rounds))
    tells = task.TELLS // 10

    async def tell_many():
        for start in range(0, tells, 1000):
            await asyncio.gather(*(worker.note.tell(number) for number in range(start, start + 1000)))
        while await worker.tell_count() % tells:
            pass

    task.tell(tells_per_second=tells / await elapsed(tell_many()))
    workers = [
        await xo.create_actor(Worker, address=address, uid=f"job{index}", allocate_strategy=at(index))
        for index in (1, 2)
    ]

    async def jobs(one, numbers):
        for number in numbers:
            await one.job(number)

    async def both():
        await asyncio.gather(*(jobs(one, range(start, task.JOBS, 2)) for start, one in enumerate(workers)))

    task.tell(pool_seconds=min([await elapsed(both()) for _ in range(3)]))
    started = time.perf_counter()
    for number in range(task.MANY):
        await xo.create_actor(
            Worker, address=address, uid=f"many{number}", allocate_strategy=at(1 + number % 4)
        )
    task.tell(many_start_seconds=time.perf_counter() - started, many_mib=task.memory_mib(task.children()))
    pid = await worker.ping()
    started = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    while True:
        try:
            if await asyncio.wait_for(worker.ping(), 5.0) != pid:
                break
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - whatever it raises while it is away
            if time.perf_counter() - started > 20:
                break
            await asyncio.sleep(0.005)
    took = time.perf_counter() - started
    if took < 20:
        task.tell(back_ms=took * 1000)
    await pool.stop()


if __name__ == "__main__":
    asyncio.run(main())
