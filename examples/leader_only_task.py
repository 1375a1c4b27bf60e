"""A web service on three hosts, one of which also does the work in the background.

    python examples/leader_only_task.py 1 /tmp/service 8001    # and 2 … 8002, 3 … 8003
    curl http://127.0.0.1:8001/

Needs fastapi and uvicorn. Every host answers requests; `heartbeats` grows on one of them only.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from raft.client import AsyncClient, Backoff, ClientError
from raft.embedding import AsyncNode

LOCAL = "tcp://127.0.0.1:7301 tcp://127.0.0.1:7302 tcp://127.0.0.1:7303"
HOSTS = dict(enumerate(os.environ.get("HOSTS", LOCAL).split(), start=1))


@dataclass
class Status:
    """What `/` tells."""

    host: int
    working: bool = False
    heartbeats: int = 0


async def work(status: Status) -> None:
    """The background task; it is cancelled before its lease can run out."""
    status.working = True
    try:
        while True:
            status.heartbeats += 1
            await asyncio.sleep(0.05)
    finally:
        status.working = False


async def work_while_leading(cluster: AsyncClient, status: Status) -> None:
    """Wait for this host's turn, work, and wait again."""
    backoff = Backoff()
    while True:
        try:
            async with cluster.election("background", ttl="1s") as lead:
                backoff.reset()
                await lead.run(lambda: work(status))
        except ClientError as error:
            print(f"host {status.host} waits: {error}", file=sys.stderr)
            await backoff.wait()


def service(host: int, directory: str) -> FastAPI:
    """The application; its node and its background task live as long as it does."""
    status = Status(host)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        data = f"{directory}/host{host}"
        node = AsyncNode(host, listen=HOSTS[host], peers=HOSTS, data_dir=data)
        async with node, node.client() as cluster:
            task = asyncio.create_task(work_while_leading(cluster, status))
            yield
            task.cancel()
            await asyncio.wait([task])

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def show() -> Status:
        return status

    return app


if __name__ == "__main__":
    number, where, port = sys.argv[1:]
    uvicorn.run(service(int(number), where), port=int(port), log_level="warning")
