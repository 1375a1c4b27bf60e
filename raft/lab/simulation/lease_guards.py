"""The guards that reads by lease rest on, each with a way to remove it.

Owns those sabotages; see guards. Knows nothing of how a sabotage is detected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from raft.core import lease
from raft.core.messages import HeartbeatReply
from raft.core.raft import Raft
from raft.core.types import NO_NODE, Role
from raft.lab.simulation.hosts.member import Member
from raft.lab.simulation.patches import Sabotage, replaced
from raft.node.leadership.peer_processes import PeerProcesses
from raft.node.requests.commands import ClientRequests


def _votes_without_proof() -> AbstractContextManager[None]:
    return replaced(PeerProcesses, "has_ended", lambda _processes, _node, _wait=0: True)


def _forgets_pledges() -> AbstractContextManager[None]:
    return replaced(PeerProcesses, "_owe_from_before", _owes_nothing)


def _owes_nothing(processes: Any, _incarnation: int) -> None:
    processes._raft.resume_pledge(NO_NODE, 0)


def _counts_every_answer() -> AbstractContextManager[None]:
    step = Raft.step

    def gullible(raft: Raft, message: Any) -> None:
        if type(message) is HeartbeatReply:
            message.pledged = True
        step(raft, message)

    return replaced(Raft, "step", gullible)


@contextmanager
def _leases_survive_restarts() -> Iterator[None]:
    """A leader that starts again within its lease answers from what it has."""
    lasting: dict[int, Callable[[], bool]] = {}
    reap, query = Member._reap, ClientRequests.query

    def note(member: Any, *, power: bool) -> None:
        raft, now = member.raft, member._event_queue.now
        if raft is not None and raft.role is Role.LEADER and lease.holds(raft):
            until = now() + member._setting.election_seconds_min
            lasting[member.node] = lambda: now() < until
        reap(member, power=power)

    def answer(service: Any, asked: Any, reply_handle: Any, now: float) -> Any:
        if lasting.get(service._raft.id, lambda: False)():
            service._reads.add_stale(asked.body, reply_handle(), now)
            return None
        return query(service, asked, reply_handle, now)

    with replaced(Member, "_reap", note), replaced(ClientRequests, "query", answer):
        yield


LEASE_SABOTAGES = (
    Sabotage(
        "vote-without-proof",
        "a voter forgets its pledge when the leader's connection closes",
        _votes_without_proof,
    ),
    Sabotage("pledge-forgotten", "a pledge is forgotten when its voter starts again", _forgets_pledges),
    Sabotage("unpledged-lease", "answers of voters that withhold nothing make a lease", _counts_every_answer),
    Sabotage(
        "lease-after-restart", "a leader keeps its lease when it starts again", _leases_survive_restarts
    ),
)
