"""Verbs that follow changes end with the cluster that they follow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from raft.cli.verbs.data.watches import while_there


def test_a_verb_that_follows_ends_when_the_record_of_its_cluster_is_gone(tmp_path: Path) -> None:
    record = tmp_path / "cluster.json"
    record.touch()
    ended: list[str] = []

    async def follow() -> None:
        record.unlink()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    asyncio.run(while_there(record, follow()))
    assert ended == ["cancelled"]


def test_what_ends_a_follower_before_its_cluster_is_not_lost(tmp_path: Path) -> None:
    async def follow() -> None:
        raise LookupError("compacted")

    with pytest.raises(LookupError, match="compacted"):
        asyncio.run(while_there(tmp_path, follow()))
