"""Three hosts bill every order once, with invoice numbers that have no gap, into a database that they share.

    python examples/billing.py 1 /tmp/billing    # and 2, and 3, in other terminals

The host that leads writes an invoice and the number of the last one in one transaction, whose row takes no
older fencing token: so a host that was paused, wakes up and still believes that it leads writes neither. A
new leader shows its token before it reads: else an older one might write between its reading and its writing.
"""

import asyncio
import os
import sqlite3
import sys
from contextlib import closing

from raft.client import AsyncLead, FencedRow, StaleToken
from raft.embedding import AsyncNode

LOCAL = "tcp://127.0.0.1:7501 tcp://127.0.0.1:7502 tcp://127.0.0.1:7503"
HOSTS = dict(enumerate(os.environ.get("HOSTS", LOCAL).split(), start=1))
ORDERS = 60
BOOKS = FencedRow("books", key="id")


def open_database(directory: str) -> sqlite3.Connection:
    """The database that all hosts share; here a file, elsewhere a server."""
    database = sqlite3.connect(f"{directory}/shared.db", timeout=10, isolation_level=None)
    database.execute("CREATE TABLE IF NOT EXISTS books (id TEXT PRIMARY KEY, last INT, fencing_token INT)")
    database.execute("CREATE TABLE IF NOT EXISTS invoices (number INT, customer INT, host INT)")
    database.execute("INSERT OR IGNORE INTO books VALUES ('2026', 0, 0)")
    return database


async def bill(lead: AsyncLead, host: int, directory: str) -> None:
    """Write one invoice after the other, for as long as this host is the one."""
    with closing(open_database(directory)) as database:
        BOOKS.update(database.cursor(), "2026", lead.token, {})  # From here on no older leader writes.
        while True:
            (last,) = database.execute("SELECT last FROM books").fetchone()
            if last == ORDERS:
                print("all orders are billed", flush=True)
                await asyncio.Event().wait()
            print(f"host {host} bills order {last + 1}", flush=True)
            await asyncio.sleep(0.02)  # What it takes to write an invoice.
            with closing(database.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    BOOKS.update(cursor, "2026", lead.token, {"last": last + 1})
                    cursor.execute("INSERT INTO invoices VALUES (?, ?, ?)", (last + 1, last + 1, host))
                except StaleToken:
                    cursor.execute("ROLLBACK")
                    raise
                cursor.execute("COMMIT")


async def main(host: int, directory: str) -> None:
    """Bill as often as it is this host's turn."""
    node = AsyncNode(host, listen=HOSTS[host], peers=HOSTS, data_dir=f"{directory}/host{host}")
    async with node, node.client() as cluster:
        election = cluster.election("billing", ttl="1s")
        while True:
            try:
                await election.keep_running(lambda lead: bill(lead, host, directory))
            except StaleToken as error:
                print(f"host {host} was turned down: {error}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
