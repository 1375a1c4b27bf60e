"""A program that runs a node, to be killed by a test: prints the process ids, and waits."""

import asyncio
import sys
from pathlib import Path

from raft.embedding import AsyncNode


async def main() -> None:
    directory = Path(sys.argv[1])
    async with AsyncNode(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data") as node:
        print(node.pid, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
