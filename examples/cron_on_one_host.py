"""A cron job that runs on one host at a time: start this on three, and it ticks on one of them.

    python examples/cron_on_one_host.py 1 /tmp/cron    # and 2, and 3, in other terminals

Kill the one that ticks, or pull its plug: another one goes on with the next tick.
"""

import asyncio
import os
import sys

from raft.client import AsyncLead, Backoff, ClientError
from raft.embedding import AsyncNode

LOCAL = "tcp://127.0.0.1:7101 tcp://127.0.0.1:7102 tcp://127.0.0.1:7103"
HOSTS = dict(enumerate(os.environ.get("HOSTS", LOCAL).split(), start=1))
EVERY_SECONDS = 0.2


async def run_job(tick: int, host: int) -> None:
    """The job itself."""
    print(f"tick {tick} on host {host}", flush=True)


async def tick_for_ever(lead: AsyncLead, host: int) -> None:
    """Run the job again and again, and note each time, before it runs, that it does.

    The note is fenced: a host that is not the one any more gets FenceRejected instead of running the job.
    """
    while True:
        last = await lead.session.get("cron/last-tick")
        tick = int(last) + 1 if last else 1
        await lead.session.put("cron/last-tick", str(tick), fence=lead.fence)
        await run_job(tick, host)
        await asyncio.sleep(EVERY_SECONDS)


async def main(host: int, directory: str) -> None:
    """Stand for election, work while elected, and stand again."""
    data = f"{directory}/host{host}"
    async with (
        AsyncNode(host, listen=HOSTS[host], peers=HOSTS, data_dir=data) as node,
        node.client() as cluster,
    ):
        backoff = Backoff()
        while True:
            try:
                async with cluster.election("cron", ttl="1s") as lead:
                    backoff.reset()
                    await lead.run(lambda: tick_for_ever(lead, host))
            except ClientError as error:  # No leader yet, or not the one any more.
                print(f"host {host} waits: {error}", file=sys.stderr)
                await backoff.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
