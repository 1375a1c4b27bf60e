"""A backup is read alike by both clients; what becomes of it is the sink's business."""

from __future__ import annotations

import asyncio

import pytest

from raft.client import AsyncClient, Client
from raft.protocol.client import BackupTaken
from tests.client.nodes import Nodes

pytestmark = pytest.mark.processes


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.taken: list[BackupTaken] = []
        self.data = b""

    def begin(self, taken: BackupTaken) -> None:
        self.taken.append(taken)
        self.data = b""

    def add(self, piece: bytes) -> None:
        self.data += piece


class Full(Kept):
    """A sink that takes nothing."""

    def add(self, piece: bytes) -> None:
        raise OSError("no room")


def test_both_clients_read_the_same_state(nodes: Nodes) -> None:
    first, second = Kept(), Kept()

    async def read() -> BackupTaken:
        async with AsyncClient(nodes.endpoints) as client:
            return await client.read_backup(second)

    with Client(nodes.endpoints) as client:
        for number in range(3):
            client.put(f"k{number}", b"v" * 200_000)
        taken = client.read_backup(first)
    again = asyncio.run(read())
    assert (taken.index, taken.size) == (again.index, again.size)
    assert first.taken == [taken] and second.taken == [again]
    for kept in (first, second):
        assert len(kept.data) == taken.size and kept.data.count(b"v" * 200_000) >= 3


def test_an_error_of_the_sink_ends_the_reading_and_the_client_goes_on(nodes: Nodes) -> None:
    async def read() -> bytes | None:
        async with AsyncClient(nodes.endpoints) as client:
            await client.put("k", "v")
            with pytest.raises(OSError, match="no room"):
                await client.read_backup(Full())
            return await client.get("k")

    assert asyncio.run(read()) == b"v"
