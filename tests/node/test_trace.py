"""The trace: one JSON line an event, in the form that etcd/raft's trace specification reads."""

from __future__ import annotations

import itertools
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from raft.core.changes import ConfChange, ConfChangeKind, decode_conf_change
from raft.core.config import Config
from raft.core.errors import PeerNotFound
from raft.core.raft import Raft
from raft.core.types import ConfState, EntryKind, HardState, Snapshot
from raft.node.process.trace import TraceFile
from raft.storage.memory import MemoryStorage


class Cluster:
    """Cores that write one trace, with messages passed by hand."""

    def __init__(self, path: Path, ids: tuple[int, ...]) -> None:
        clock = itertools.count(1)
        self.trace = TraceFile(path, lambda: next(clock))
        self.path = path
        self.storages = {}
        self.cores: dict[int, Raft] = {}
        for node in ids:
            storage = MemoryStorage()
            storage.apply_snapshot(Snapshot(10, 1, ConfState(voters=ids)))
            self.storages[node] = storage
            self.cores[node] = Raft(Config(id=node, applied=10), storage, random.Random(node), self.trace)

    def settle(self) -> None:
        while any(core.has_ready() for core in self.cores.values()):
            for node, core in self.cores.items():
                if core.has_ready():
                    self._carry_out(node, core)

    def _carry_out(self, node: int, core: Raft) -> None:
        ready = core.ready()
        if ready.hard_state is not None:
            self.storages[node].set_hard_state(ready.hard_state)
        self.storages[node].append(ready.entries)
        for message in ready.messages:
            if message.to in self.cores:
                with suppress(PeerNotFound):  # The last words of a removed member.
                    self.cores[message.to].step(message)
        for entry in ready.committed:
            if entry.kind is not EntryKind.NORMAL:
                core.apply_conf_change(decode_conf_change(entry))
        core.advance(ready)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


def started(tmp_path: Path) -> Cluster:
    cluster = Cluster(tmp_path / "trace.ndjson", (1, 2, 3))
    cluster.cores[1].campaign()
    cluster.settle()
    return cluster


def names(cluster: Cluster, node: int | None = None) -> list[str]:
    return [
        line["event"]["name"]
        for line in cluster.events()
        if node is None or line["event"]["nid"] == str(node)
    ]


def test_every_line_has_the_fields_of_the_format_in_their_order(tmp_path: Path) -> None:
    for line in started(tmp_path).events():
        assert list(line) == ["level", "ts", "caller", "msg", "tag", "event"]
        assert (line["level"], line["msg"], line["tag"]) == ("debug", "trace", "trace")
        event = line["event"]
        assert list(event)[:6] == ["name", "nid", "state", "role", "log", "conf"]
        assert list(event["state"]) == ["term", "vote", "commit"]
        assert isinstance(event["nid"], str) and isinstance(event["state"]["vote"], str)


def test_times_sort_as_text_and_never_go_back(tmp_path: Path) -> None:
    times = [line["ts"] for line in started(tmp_path).events()]
    assert times == sorted(times)
    assert len({len(time) for time in times}) == 1


def test_an_election_is_traced_from_start_to_first_commit(tmp_path: Path) -> None:
    told = names(started(tmp_path), node=1)
    landmarks = [
        "InitState", "ApplyConfChange", "BecomeFollower", "BecomeCandidate", "SendRequestVoteRequest",
        "ReceiveRequestVoteResponse", "BecomeLeader", "Replicate", "SendAppendEntriesRequest",
        "ReceiveAppendEntriesResponse", "Commit",
    ]  # fmt: skip
    positions = [told.index(name) for name in landmarks]
    assert positions == sorted(positions)


def test_a_node_starts_from_nothing_before_its_configuration_is_loaded(tmp_path: Path) -> None:
    first, second = started(tmp_path).events()[:2]
    assert first["event"] == {
        "name": "InitState", "nid": "1", "state": {"term": 0, "vote": "0", "commit": 10},
        "role": "StateFollower", "log": 10, "conf": [[], []],
    }  # fmt: skip
    assert second["event"]["name"] == "ApplyConfChange"
    assert second["event"]["prop"] == {"cc": {"newconf": ["1", "2", "3"]}}


def test_an_append_carries_the_senders_own_progress_and_a_heartbeat_does_not(tmp_path: Path) -> None:
    cluster = started(tmp_path)
    cluster.cores[1].tick()
    sent = [line["event"] for line in cluster.events() if line["event"]["name"] == "SendAppendEntriesRequest"]
    appends = [event for event in sent if event["msg"]["type"] == "MsgApp"]
    heartbeats = [event for event in sent if event["msg"]["type"] == "MsgHeartbeat"]
    assert appends and all(set(event["prop"]) == {"match", "next"} for event in appends)
    assert heartbeats and all("prop" not in event for event in heartbeats)
    assert appends[0]["msg"] == {
        "type": "MsgApp", "term": 1, "from": "1", "to": "2", "entries": 1, "logTerm": 1, "index": 10,
        "commit": 10, "vote": "0", "reject": False, "rejectHint": 0,
    }  # fmt: skip


def test_a_membership_change_is_traced_when_proposed_and_when_applied(tmp_path: Path) -> None:
    cluster = started(tmp_path)
    cluster.cores[1].propose_conf_change(ConfChange(ConfChangeKind.REMOVE, 3))
    cluster.settle()
    changes = [line["event"] for line in cluster.events() if line["event"]["name"] == "ChangeConf"]
    assert [event["prop"] for event in changes] == [
        {"cc": {"changes": [{"nid": "3", "action": "RemoveServer"}]}}
    ]
    applied = [line["event"] for line in cluster.events() if line["event"]["name"] == "ApplyConfChange"]
    assert applied[-1]["prop"] == {"cc": {"newconf": ["1", "2"]}}
    assert applied[-1]["conf"] == [["1", "2", "3"], []], "told just before the switch"


def test_two_nodes_write_one_file(tmp_path: Path) -> None:
    cluster = started(tmp_path)
    TraceFile(cluster.path, lambda: 10**9)("Ready", cluster.cores[2], None)
    assert cluster.events()[-1]["ts"].endswith("1000000000")
    assert {line["event"]["nid"] for line in cluster.events()} == {"1", "2", "3"}


def test_a_restarted_core_traces_its_stored_term_after_init(tmp_path: Path) -> None:
    cluster = started(tmp_path)
    storage = cluster.storages[2]
    storage.set_hard_state(HardState(term=1, vote=1, commit=10))
    Raft(Config(id=2, applied=10), storage, random.Random(0), cluster.trace)
    told = [line["event"] for line in cluster.events()][-3:]
    assert [event["name"] for event in told] == ["InitState", "ApplyConfChange", "BecomeFollower"]
    assert [event["state"]["term"] for event in told] == [0, 0, 1]
