"""Membership changes of the simulated cluster, requested as by an operator's program.

Owns the new nodes, and the return of one whose disk was wiped: out of the cluster and in again, as the
production node does it. Knows nothing of when any of this happens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from raft.client.calls import membership
from raft.client.calls.steps import RetryBudget
from raft.client.errors import ClientError
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.member import Condition, Member
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import Setting, endpoint_of
from raft.protocol.client import Members, Remove

TIMEOUT_SECONDS = 15.0
RETRY_SECONDS = 1.0
VOTERS_MIN = 3
NEWCOMERS_MAX = 2  # Beyond the initial number of members.


class MembershipOperator:
    """Makes changes, several at once if necessary; gives up what cannot be done in time."""

    def __init__(
        self,
        caller: Caller,
        *,
        setting: Setting,
        members: Mapping[int, Member],
        recruit: Callable[[int], Member],
        event_queue: EventQueue,
        run_log: RunLog,
    ) -> None:
        self._caller = caller
        self._members = members
        self._recruit = recruit
        self._event_queue = event_queue
        self._run_log = run_log
        self._voters = set(setting.ids)
        self._voters_max = setting.nodes + NEWCOMERS_MAX
        self._voters_min = min(VOTERS_MIN, setting.nodes)

    def grow(self) -> None:
        """Add a new node, and give it a vote once it has caught up."""
        if len(self._voters) < self._voters_max:
            node = self._begin_new()
            view, tries = self._caller.view, self._tries()
            self._lead("added", membership.add(view, node, endpoint_of(node), tries, learner=False))

    def shrink(self, node: int) -> None:
        """Remove a node, unless too few are left."""
        if node in self._voters and len(self._voters) > self._voters_min:
            self._voters.discard(node)  # As of now, since the outcome may never be known.
            self._lead("removed", membership.remove(self._caller.view, node, self._tries()))

    def swap(self, node: int) -> None:
        """Replace a node by a new one, through a joint configuration."""
        if node in self._voters:
            new = self._begin_new()
            view, tries = self._caller.view, self._tries()
            self._lead("replaced", membership.replace(view, node, new, endpoint_of(new), tries))

    def wipe(self, member: Member) -> None:
        """Let a node lose its disk if all others are healthy; it returns once it is added again."""
        whole = (Condition.UP, Condition.DOWN, Condition.GONE)
        others = [other for other in self._members.values() if other is not member]
        if (
            member.node in self._voters
            and len(self._voters) >= VOTERS_MIN
            and all(other.condition in whole and not other.wiped for other in others)
        ):
            member.wipe()
            self._event_queue.after(RETRY_SECONDS, member.start)
            self._event_queue.after(2 * RETRY_SECONDS, partial(self._take_out, member))

    def repair(self, member: Member) -> None:
        """Let a node with a damaged log rejoin with an empty one, as `--repair-from-peers` does."""
        self._take_out(member)

    def _take_out(self, member: Member) -> None:
        def out(members: Members) -> None:
            self._learn("taken out", members)
            member.begin_anew(members.term, members.leader)
            self._take_in(member)

        change = membership.change(self._caller.view, Remove(member.node), self._tries())
        self._caller.run_call(change, out, self._again(partial(self._take_out, member)))

    def _take_in(self, member: Member) -> None:
        member.come_back()
        add = membership.add(
            self._caller.view, member.node, endpoint_of(member.node), self._tries(), learner=False
        )
        done = partial(self._learn, "taken in")
        self._caller.run_call(add, done, self._again(partial(self._take_in, member)))

    def _again(self, call: Callable[[], None]) -> Callable[[ClientError], None]:
        return lambda _error: self._event_queue.after(RETRY_SECONDS, call)

    def _begin_new(self) -> int:
        member = self._recruit(max(self._members) + 1)
        member.start()
        return member.node

    def _lead(self, what: str, conversation: membership.Steps) -> None:
        self._caller.run_call(conversation, partial(self._learn, what), partial(self._give_up, what))

    def _learn(self, what: str, members: Members) -> None:
        self._voters = set(members.voters)
        self._run_log.count(f"members {what}")
        self._run_log.tell(
            "operator", f"{what}: voters {list(members.voters)}, learners {list(members.learners)}"
        )

    def _give_up(self, what: str, error: ClientError) -> None:
        self._run_log.tell("operator", f"not {what}: {error}")

    def _tries(self) -> RetryBudget:
        return RetryBudget(self._caller.now, TIMEOUT_SECONDS)
