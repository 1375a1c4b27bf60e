"""Nodes run by a program, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actors.failures.supervision import RestartPolicy
from raft.embedding import AsyncNode, NodeRefused

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60.0
ONCE = RestartPolicy(max_restarts=0)


def alone(directory: Path, **settings: Any) -> AsyncNode:
    """The only member of its cluster."""
    return AsyncNode(1, listen=f"ipc://{directory}/n1", data_dir=directory / "data", **settings)


@asynccontextmanager
async def three(directory: Path, **settings: Any) -> AsyncIterator[list[AsyncNode]]:
    """A cluster, as if each node were beside a program of its own; entered side by side."""
    at = {node: f"ipc://{directory}/n{node}" for node in (1, 2, 3)}
    nodes = [
        AsyncNode(
            node,
            listen=at[node],
            data_dir=directory / str(node),
            peers={other: there for other, there in at.items() if other != node},
            **settings,
        )
        for node in at
    ]
    async with AsyncExitStack() as stack:
        for node in nodes:
            await stack.enter_async_context(node)
        await nodes[0].wait_for_leader()
        yield nodes


async def until_restarted(node: AsyncNode) -> None:
    """Wait until a node that was killed is there again."""
    async for _ in node.observe():
        if node.restarts and node.leader is not None:
            return


def run(body: Any) -> None:
    asyncio.run(asyncio.wait_for(body, PATIENCE_SECONDS))


def refusal(node: AsyncNode) -> str:
    async def body() -> None:
        async with node:
            raise AssertionError("it has started")

    with pytest.raises(NodeRefused) as caught:
        run(body())
    return str(caught.value)
