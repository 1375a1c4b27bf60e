"""One worker among three hosts writes to a database, and the database rejects earlier ones.

    python examples/singleton_worker.py 1 /tmp/worker    # and 2, and 3, in other terminals

A worker that is paused (Ctrl-Z, a long swap, a frozen virtual machine) does not know that its lease has run
out, and will write when it wakes up. So the row keeps the newest fencing token, and takes no older one.
"""

import asyncio
import os
import sqlite3
import sys
from contextlib import closing

from raft.client import AsyncLead, Backoff, ClientError, FencedRow, StaleToken
from raft.embedding import AsyncNode

LOCAL = "tcp://127.0.0.1:7201 tcp://127.0.0.1:7202 tcp://127.0.0.1:7203"
HOSTS = dict(enumerate(os.environ.get("HOSTS", LOCAL).split(), start=1))
ACCOUNTS = FencedRow("accounts", key="id")


def open_database(directory: str) -> sqlite3.Connection:
    """The database that all hosts share; here a file, elsewhere a server."""
    database = sqlite3.connect(f"{directory}/shared.db", timeout=10)
    with database:
        columns = "id TEXT PRIMARY KEY, worker INT, balance INT, fencing_token INT"
        database.execute(f"CREATE TABLE IF NOT EXISTS accounts ({columns})")
        database.execute("INSERT OR IGNORE INTO accounts VALUES ('alice', 0, 0, 0)")
    return database


async def work(lead: AsyncLead, worker: int, directory: str) -> None:
    """Pay alice a coin again and again, for as long as this worker is the one."""
    with closing(open_database(directory)) as database:
        with database:
            ACCOUNTS.update(database.cursor(), "alice", lead.token, {})  # From here on no older worker pays.
        while True:
            (balance,) = database.execute("SELECT balance FROM accounts WHERE id = 'alice'").fetchone()
            with database:
                paid = {"balance": balance + 1, "worker": worker}
                ACCOUNTS.update(database.cursor(), "alice", lead.token, paid)
            print(f"worker {worker} paid, token {lead.token}", flush=True)
            await asyncio.sleep(0.2)


async def main(worker: int, directory: str) -> None:
    """Be the one worker as often as it is this host's turn."""
    data = f"{directory}/host{worker}"
    node = AsyncNode(worker, listen=HOSTS[worker], peers=HOSTS, data_dir=data)
    async with node, node.client() as cluster:
        backoff = Backoff()

        @cluster.only_leader("worker", ttl="1s")
        async def work_alone(lead: AsyncLead) -> None:
            backoff.reset()
            await work(lead, worker, directory)

        while True:
            try:
                await work_alone()
            except (ClientError, StaleToken) as error:
                print(f"worker {worker} stopped: {error}", flush=True)
                await backoff.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
