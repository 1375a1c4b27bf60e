"""One cluster of processes for each file of tests; killed nodes are restarted before the next test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.nodes import Nodes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with tempfile.TemporaryDirectory(prefix="rc") as name:
        nodes = Nodes(Path(name))
        yield nodes
        nodes.server.close()


@pytest.fixture
def nodes(cluster: Nodes) -> Nodes:
    cluster.revive()
    return cluster
