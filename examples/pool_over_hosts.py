"""A pool whose workers live on several hosts: one program gives out jobs, and each host lends its processors.

    raft-actors keys make keys --nodes 1 --client ann --client ben --client cid
    python examples/pool_over_hosts.py ann keys tcp://10.0.0.1:7400
    python examples/pool_over_hosts.py ben keys tcp://10.0.0.2:7400 ann tcp://10.0.0.1:7400
    python examples/pool_over_hosts.py cid keys tcp://10.0.0.3:7400 ann tcp://10.0.0.1:7400

The first one, which joins no other, gives out the jobs, and has the directory of groups. A host may come and
go meanwhile: what its workers had in hand is done again by others.
"""

import sys
from collections import Counter

import msgspec

from actors import Actor, Host, ProcessSystem, Request, answers

WORKERS_OF_EACH = 2
WORKERS_AT_FIRST = 6
JOBS = 600


class Done(msgspec.Struct, frozen=True):
    """What a job has come to, and on which host."""

    number: int
    total: int
    host: str


class Job(Request[Done], frozen=True):
    """Asks for something to be computed."""

    number: int


class Worker(Actor):
    """Computes."""

    @answers(Job)
    def compute(self, job: Job) -> Done:
        """Keep a processor busy for some milliseconds."""
        total = sum(number * job.number % 7 for number in range(100_000))
        return Done(job.number, total, self.context.address.process.partition(".")[0])


def main(who: str, keys: str, listen: str, *join: str) -> None:
    """Lend this host's processors; the first host gives out the jobs, and ends when all are done."""
    first = join[0] if join else who
    host = Host(
        listen=listen, keys=f"{keys}/{who}.toml", cluster="pool", down_after_seconds=5.0, directory=first
    )
    with ProcessSystem([Job, Done], host=host) as system:
        system.spawn_pool(Worker, f"{who}.workers", WORKERS_OF_EACH, groups=("workers",))
        if join:
            system.join(*join)
            while not system.run_until(lambda: False, timeout_seconds=60.0):
                pass
        workers = system.group("workers")
        while not system.run_until(lambda: len(workers.members) >= WORKERS_AT_FIRST, timeout_seconds=60.0):
            pass
        print(f"{len(workers.members)} workers", flush=True)
        by_host = Counter[str]()
        for done in workers.map(map(Job, range(JOBS)), retries=10):
            by_host[done.host] += 1
            if by_host.total() == JOBS // 4:
                print("a quarter is done", flush=True)
        print(f"{by_host.total()} jobs done by {' '.join(sorted(by_host))}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
