"""Leases as objects, blocking and in an event loop."""

from __future__ import annotations

import asyncio

import pytest

from raft.client import AsyncClient, Client, Key, LeaseEnded
from tests.client.nodes import Nodes


def test_a_lease_is_an_object_that_keys_hang_on_until_it_is_revoked(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:
        with client.lease("10s") as lease:
            client.put("leased/a", "1", lease=lease)
            client.cas("leased/b", None, "2", lease=lease)
            client.transaction(then=[Key("leased/c").put("3", lease=lease)])
            client.put("leased/d", "4", lease=lease, prev_value=True)
            assert lease.keys() == (b"leased/a", b"leased/b", b"leased/c", b"leased/d")
            assert 0.0 < lease.remaining() <= lease.refresh() <= lease.ttl_seconds == 10.0
            assert lease.id in [other.id for other in client.leases()]
        assert client.count("leased/") == 0 and lease.remaining() == lease.refresh() == 0.0
        assert not lease.revoke() and lease.id not in [other.id for other in client.leases()]
        with pytest.raises(LeaseEnded):
            lease.keys()


def test_an_event_loop_has_the_same(nodes: Nodes) -> None:
    async def body() -> None:
        async with AsyncClient(nodes.endpoints) as client:
            async with await client.lease("10s") as lease:
                await client.put("leased/a", "1", lease=lease)
                assert await lease.keys() == (b"leased/a",)
                assert 0.0 < await lease.remaining() <= await lease.refresh() <= 10.0
                assert (lease.id, 10.0) in [(other.id, other.ttl_seconds) async for other in client.leases()]
            assert await client.get("leased/a") is None and not await lease.revoke()

    asyncio.run(body())
