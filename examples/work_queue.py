"""Three hosts work through one queue, and each job has one result, though workers die and sleep.

    python examples/work_queue.py 1 /tmp/queue    # and 2, and 3, in other terminals

A job that was taken returns to the queue when its worker's session ends. A worker that slept through that is
told so when it wants to hand its result in, for the result is written together with the job's removal.
"""

import asyncio
import os
import sys

from raft.client import AsyncClient, AsyncQueue, Backoff, ClientError, Key
from raft.embedding import AsyncNode

LOCAL = "tcp://127.0.0.1:7401 tcp://127.0.0.1:7402 tcp://127.0.0.1:7403"
HOSTS = dict(enumerate(os.environ.get("HOSTS", LOCAL).split(), start=1))
JOBS = 24
JOB_SECONDS = 0.05


async def put_jobs(cluster: AsyncClient) -> None:
    """Fill the queue, if no host has done so before."""
    async with cluster.session() as session:
        if (await session.cas("seeded", None, "yes")).swapped:
            queue = AsyncQueue(session, "jobs")
            for number in range(JOBS):
                await queue.put(str(number))


async def work(cluster: AsyncClient, host: int) -> None:
    """Take jobs and do them, for as long as this session lasts."""
    async with cluster.session("1s") as session:
        queue = AsyncQueue(session, "jobs")
        while (item := await queue.take()) is not None:
            job = item.value.decode()
            print(f"host {host} begins job {job}", flush=True)
            await asyncio.sleep(JOB_SECONDS)  # The work.
            await item.done(Key(f"results/{job}").put(f"by host {host}"))
            print(f"host {host} has done job {job}", flush=True)
            if await cluster.count("results/") == JOBS:
                print("all jobs are done", flush=True)


async def main(host: int, directory: str) -> None:
    """Work, and begin anew with another session when one is lost."""
    node = AsyncNode(host, listen=HOSTS[host], peers=HOSTS, data_dir=f"{directory}/host{host}")
    async with node, node.client() as cluster:
        await put_jobs(cluster)
        backoff = Backoff()
        while True:
            try:
                await work(cluster, host)
            except ClientError as error:
                print(f"host {host} begins anew: {error}", flush=True)
                await backoff.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
