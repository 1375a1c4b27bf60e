"""The end of some runs: leader after leader is removed, and dies at the moment of its answer.

Owns these steps and the guarantee under test: when a leader answers that it was removed, the remaining
members can elect another one without it. Knows nothing of the faults before.
"""

from __future__ import annotations

from collections.abc import Mapping

from actors.transport.faults import Fault
from raft.client.calls import membership
from raft.client.calls.steps import RetryBudget
from raft.client.errors import ClientError
from raft.core.raft import Raft
from raft.core.types import Role
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.member import Member
from raft.lab.simulation.hosts.network import SimulatedNetwork, Trouble
from raft.lab.simulation.run_log import RunLog

TIMEOUT_SECONDS = 5.0
ELECTION_SECONDS_MAX = 30.0
REST_SECONDS = 1.0
TRIES_MAX = 8
LOST_SHARE = 0.5  # Of a removed leader's messages to the others.


class LeaderRemovals:
    """Removes leaders of a cluster after all faults have ended."""

    def __init__(
        self,
        caller: Caller,
        *,
        members: Mapping[int, Member],
        network: SimulatedNetwork,
        event_queue: EventQueue,
        run_log: RunLog,
    ) -> None:
        self._caller = caller
        self._members = members
        self._network = network
        self._event_queue = event_queue
        self._run_log = run_log

    def remove_leaders(self) -> None:
        """As many as possible; raises AssertionError if the others were left without a leader."""
        for _ in range(TRIES_MAX):
            leader = self._leader(self._members)
            if leader is not None:
                if leader.tracker.configuration.voters == {leader.id}:
                    return
                self._remove(leader)
            self._event_queue.run_until(self._event_queue.now() + REST_SECONDS)

    def _remove(self, raft: Raft) -> None:
        """Remove it; if it leads until its answer, it dies then, and the others must elect a leader."""
        configuration, leader = raft.tracker.configuration, self._members[raft.id]
        rest = [self._members[node] for node in sorted(configuration.voters - {raft.id})]
        if configuration.joint or not rest or not all(member.raft is not None for member in rest):
            return
        # One of them is paused, if the others are a majority without it.
        still = rest[-1:] if len(rest) > 2 else []
        for member in still:
            member.pause()
        names = tuple(member.name for member in rest)
        trouble = self._network.add(Trouble((leader.name,), names, Fault(drop=LOST_SHARE)))
        answered = self._ask_to_remove(leader)
        if answered:
            leader.depart()
        self._network.clear(trouble)
        if answered:
            self._run_log.count("leaders removed that died at their answer")
            self._run_log.tell(leader.name, "dies as it answers that it was removed")
            able = {member.node: member for member in rest if member not in still}
            assert self._event_queue.run_until(
                self._event_queue.now() + ELECTION_SECONDS_MAX, lambda: self._leader(able) is not None
            ), f"{leader.name} was removed and has died, and none of {names} is elected without it"
        for member in still:
            member.resume()

    def _ask_to_remove(self, leader: Member) -> bool:
        answers: list[bool] = []

        def failed(error: ClientError) -> None:
            self._run_log.tell("removals", f"{leader.name} is not removed: {error}")
            answers.append(False)

        self._caller.view.leader = leader.node
        conversation = membership.remove(
            self._caller.view, leader.node, RetryBudget(self._caller.now, TIMEOUT_SECONDS)
        )
        self._caller.run_call(conversation, lambda _members: answers.append(True), failed)
        self._event_queue.run_until(self._event_queue.now() + 2 * TIMEOUT_SECONDS, lambda: bool(answers))
        return answers == [True] and leader.up

    def _leader(self, members: Mapping[int, Member]) -> Raft | None:
        cores = [member.raft for member in members.values() if not (member.up and member.host.paused)]
        return next((raft for raft in cores if raft is not None and raft.role is Role.LEADER), None)
