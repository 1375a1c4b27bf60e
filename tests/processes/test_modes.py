"""What a cluster leaves on a disk belongs to its user alone, whatever the umask is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.processes.clusters import running

pytestmark = pytest.mark.processes


@pytest.fixture
def umask_of_nothing() -> object:
    """Nothing is taken away from the modes that programs ask for."""
    before = os.umask(0)
    yield
    os.umask(before)


def not_private(*places: Path) -> list[str]:
    """Of everything that is there, and of the places themselves, except for sockets."""
    found = [path for place in places for path in (place, *place.rglob("*")) if not path.is_socket()]
    assert len(found) > 10
    modes = {path: path.stat().st_mode & 0o777 for path in found}
    return [f"{path} {mode:o}" for path, mode in modes.items() if mode != (0o700 if path.is_dir() else 0o600)]


@pytest.mark.usefixtures("umask_of_nothing")
def test_all_files_are_private_under_a_umask_of_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    data, report, trace = tmp_path / "over" / "data", tmp_path / "report.json", tmp_path / "trace.jsonl"
    with running(2, "--data-dir", str(data), "--report", str(report), "--trace", str(trace)) as cluster:
        with cluster.client() as client:
            client.put("key", "value")
        cluster.verb("snapshot", "1")
        assert not_private(tmp_path, cluster.directory.path) == []
        cluster.stop()
    assert not_private(tmp_path) == []
