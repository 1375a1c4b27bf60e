"""The road of a put stays short enough to be read."""

from __future__ import annotations

from benchmarks.road import entered

FILES_MAX = 34


def test_one_put_through_three_nodes_enters_fewer_than_35_files() -> None:
    calls = entered()
    assert len(calls) <= FILES_MAX, "\n".join(sorted(calls))
    for part in (
        "raft/core/raft.py",
        "raft/node/node.py",
        "raft/node/log_writer.py",
        "raft/machines/store.py",
    ):
        assert calls[part], "what is counted is a put that was carried out"
