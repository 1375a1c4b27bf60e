"""Three hosts keep one schedule: each job is done at its time, with one result, though hosts sleep and die.

    python examples/scheduler.py 1 /tmp/scheduler    # and 2, and 3, in other terminals

The schedule is in the cluster's store, whose keys are sorted: a job's key begins with the moment at which it
is due. The host that leads does what is due, and then moves it to the results, in one transaction under its
fencing token. A job that a host began and did not finish is still there: the next leader does it again.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta

from raft.client import AsyncClient, AsyncLead, Key
from raft.embedding import AsyncNode

LOCAL = "tcp://127.0.0.1:7601 tcp://127.0.0.1:7602 tcp://127.0.0.1:7603"
HOSTS = dict(enumerate(os.environ.get("HOSTS", LOCAL).split(), start=1))
JOBS = 16
EVERY = timedelta(milliseconds=100)
JOB_SECONDS = 0.03
LOOK_SECONDS = 0.05


def written(moment: datetime) -> str:
    """A moment as text, all of one length: its order is that of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


async def schedule_jobs(cluster: AsyncClient) -> None:
    """Schedule all jobs at once, if no host has done so before."""
    now = datetime.now(UTC)
    jobs = [f"due/{written(now + number * EVERY)}/job {number}" for number in range(JOBS)]
    is_scheduled = Key("scheduled")
    await cluster.transaction(
        compare=[is_scheduled.version == 0],
        then=[is_scheduled.put("yes"), *(Key(job).put("") for job in jobs)],
    )


async def keep_schedule(lead: AsyncLead, host: int) -> None:
    """Do what is due, the oldest first, for as long as this host leads."""
    while True:
        due = await lead.session.range("due/", f"due/{written(datetime.now(UTC))}", limit=1)
        if not due.items:
            await asyncio.sleep(LOOK_SECONDS)
            continue
        key = due.items[0].key.decode()
        _, moment, job = key.split("/")
        print(f"host {host} begins {job}", flush=True)
        await asyncio.sleep(JOB_SECONDS)  # The job.
        result = Key(f"done/{moment}/{job}").put(f"by host {host}")
        await lead.session.transaction(then=[Key(key).delete(), result], fence=lead.fence)
        print(f"host {host} has done {job}", flush=True)
        if await lead.session.count("done/") == JOBS:
            print("all jobs are done", flush=True)


async def main(host: int, directory: str) -> None:
    """Keep the schedule as often as it is this host's turn."""
    node = AsyncNode(host, listen=HOSTS[host], peers=HOSTS, data_dir=f"{directory}/host{host}")
    async with node, node.client(timeout_seconds="30s") as cluster:
        await schedule_jobs(cluster)
        await cluster.election("scheduler", ttl="1s").keep_running(lambda lead: keep_schedule(lead, host))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
