"""A scheduler that runs on exactly one of three hosts, and goes on on another one when that host is gone.

    python examples/singleton_scheduler.py 1 /tmp/scheduler    # and 2, and 3, in other terminals

Each host has a Raft node, and a process that may run the scheduler. It counts its runs in the cluster,
and shows its fencing token there: so no number is used twice, whatever a host that has slept believes.
"""

import asyncio
import os
import sys

import msgspec

from actors import Actor, Address, ProcessSystem, handles
from raft.actors import spawn_singleton
from raft.client import AsyncClient, AsyncLead, FenceRejected
from raft.embedding import Node

LOCAL = "tcp://127.0.0.1:7301 tcp://127.0.0.1:7302 tcp://127.0.0.1:7303"
HOSTS = dict(enumerate(os.environ.get("HOSTS", LOCAL).split(), start=1))
PERIOD_SECONDS = 0.2


class Ran(msgspec.Struct, frozen=True):
    """Tells of a run, and by which leadership."""

    number: int
    token: int


class Printer(Actor):
    """Prints what happens in the processes of a host."""

    def __init__(self, host: int) -> None:
        self.host = host

    @handles(Ran)
    def on_ran(self, ran: Ran) -> None:
        """Print a run."""
        print(f"run {ran.number} on host {self.host}, token {ran.token}", flush=True)


class Scheduler(Actor):
    """Counts its runs up, one each period."""

    def __init__(self, lead: AsyncLead, host: int) -> None:
        self.lead = lead
        self.host = host

    def on_start(self) -> None:
        """Begin where the last one has ended."""
        self.context.create_task(self.run())

    async def run(self) -> None:
        """Do what is due, for as long as this is the one."""
        async with AsyncClient(HOSTS) as cluster:
            while True:
                done = await cluster.get("scheduler/runs")
                number = 1 + int(done or b"0")
                try:
                    await cluster.put("scheduler/runs", str(number), fence=self.lead.fence)
                except FenceRejected:
                    return  # Another one was elected meanwhile.
                self.context.tell(Address(f"host{self.host}", "printer"), Ran(number, self.lead.token))
                await asyncio.sleep(PERIOD_SECONDS)


def main(host: int, directory: str) -> None:
    """Run this host's node, and its share in the scheduler."""
    node = Node(host, listen=HOSTS[host], peers=HOSTS, data_dir=f"{directory}/host{host}")
    with node, ProcessSystem([Ran], name=f"host{host}") as system:
        system.runtime.spawn(lambda: Printer(host), "printer")
        spawn_singleton(
            system, "worker", "scheduler", Scheduler, nodes=HOSTS, arguments={"host": host}, ttl="1s"
        )
        while not system.run_until(lambda: False, timeout_seconds=60.0):
            pass


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
