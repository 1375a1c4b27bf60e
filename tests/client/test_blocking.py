"""What blocking programs hold, against real node processes; no thread outlives its context."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from raft.client import Client
from raft.client.errors import (
    ClientClosed,
    LeadershipLost,
    Taken,
)
from raft.client.sessions.election import Lead as BlockingLead
from raft.machines.commands import WatchKeys
from tests.client.nodes import Nodes

pytestmark = pytest.mark.processes


def test_a_blocking_program_leads_and_leaves_no_thread_behind(nodes: Nodes) -> None:
    threads = threading.active_count()
    with Client(nodes.endpoints) as client:
        with client.election("blocking", ttl="5s") as first:
            assert 0.0 < first.remaining <= 5.0
            first.check()
            with pytest.raises(Taken), client.election("blocking", wait=False):
                pass
        assert first.lost.is_set() and first.remaining == 0.0
        with client.election("blocking", ttl="5s") as second:
            assert second.token > first.token
        with client.lock("l"), client.semaphore("s", 2), client.semaphore("s", 2):
            pass
    assert threading.active_count() == threads


def test_a_blocking_program_has_sessions_and_events_and_leaves_no_thread_behind(nodes: Nodes) -> None:
    threads = threading.active_count()
    with Client(nodes.endpoints) as client:
        with client.session("5s") as session:
            begin = session.put("blocking/a", "1", lease=session.lease)
            assert session.cas("blocking/b", None, "2").swapped
            assert session.get("blocking/b") == b"2"
            assert session.remaining_seconds > 0.0
            assert [(item.key, item.value) for item in client.items("blocking/")] == [
                (b"blocking/a", b"1"), (b"blocking/b", b"2"),
            ]  # fmt: skip
        assert threading.active_count() == threads
        with pytest.raises(ClientClosed):
            session.put("blocking/c", "3")
        events = client.events(WatchKeys(begin, b"blocking/", b"blocking0"))
        assert [next(events).key for _ in range(3)] == [b"blocking/a", b"blocking/b", b"blocking/a"]
        assert client.get("blocking/a") is None, "it went with the session that it hung on"


def test_a_blocking_function_of_the_leader_alone_runs_under_a_lease(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client:

        @client.only_leader("blocking-decorated")
        def work(lead: BlockingLead) -> int:
            lead.check()
            return lead.token

        assert 0 < work() < work()


def test_a_blocking_holder_is_told_when_its_leadership_is_lost(nodes: Nodes) -> None:
    with Client(nodes.endpoints) as client, client.election("told", ttl="1s") as lead:
        for child in nodes.children.values():
            os.kill(child.pid or 0, signal.SIGSTOP)
        try:
            assert lead.lost.wait(1.0)
        finally:
            for child in nodes.children.values():
                os.kill(child.pid or 0, signal.SIGCONT)
        with pytest.raises(LeadershipLost):
            lead.check()
