"""Adding, promoting, removing and replacing nodes by request.

Owns the order of the steps: a process starts before it becomes a member, and ends after it has left; the
data directory's record follows the cluster's own log. Knows nothing of how a change is agreed on, nor of how
the leader is asked for it: see leader_requests. Requests are idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from actors.context import Context
from raft.cluster.cluster import Cluster
from raft.cluster.failures import BadUsage, ExitCode
from raft.cluster.processes.node_process import HAS_PROCESS, NodeProcess
from raft.cluster.processes.process_control import ProcessControl
from raft.cluster.records.events import MembersChanged
from raft.cluster.rpc.messages import (
    AddMember,
    GetMembers,
    MemberEntry,
    MemberList,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
)
from raft.cluster.rpc.replies import Answer
from raft.cluster.selectors import voters_in_words
from raft.protocol.client import (
    AddLearner,
    ListMembers,
    MemberChange,
    Members,
    Promote,
    Remove,
    Replace,
)

LIST_SECONDS_MAX = 2.0
CHANGE_SECONDS_MAX = 15.0
CATCH_UP_SECONDS_MAX = 120.0

Then = Callable[[Members], None]
Failed = Callable[[str], None]


class Roster(Protocol):
    """The durable record of the cluster's nodes."""

    def reserve_id(self) -> int:
        """A new id that no node has ever had."""

    def change_members(self, members: list[int]) -> None:
        """Record the nodes that a later start brings back."""


class MemberVerbs:
    """Carries out verbs on the membership."""

    def __init__(
        self, context: Context, cluster: Cluster, process_control: ProcessControl, roster: Roster
    ) -> None:
        self._context = context
        self._cluster = cluster
        self._process_control = process_control
        self._roster = roster

    def list(self, _verb: GetMembers, answer: Callable[[MemberList], None], failed: Failed) -> None:
        """Ask the leader."""
        self._ask(ListMembers(), LIST_SECONDS_MAX, lambda members: answer(self._listed(members)), failed)

    def add(self, verb: AddMember, answer: Answer) -> None:
        """Answered when the new node votes, or is a learner if that was asked for."""
        _refuse_others(verb.node)

        def joined(node: NodeProcess, members: Members) -> None:
            self._note(f"{node.name} joined as a learner", members)
            if verb.learner:
                answer.done([f"{node.name} joined as a learner (pid {node.pid})"])
            else:
                self._promote(node, answer, f"{node.name} joined (pid {node.pid})")

        self._start_learner(joined, self._failing(answer))

    def promote(self, verb: PromoteMember, answer: Answer) -> None:
        """Answered when the node votes."""
        node = self._cluster.choose_one(verb.selector)
        self._promote(node, answer, f"{node.name} promoted")

    def remove(self, verb: RemoveMember, answer: Answer) -> None:
        """Answered when the node has stopped."""
        node = self._cluster.choose_one(verb.selector)
        if verb.dry_run:
            answer.done([f"would remove {node.name} from the cluster, and stop it"])
            return

        def removed(members: Members) -> None:
            self._note(f"{node.name} removed", members)
            line = f"{node.name} removed and stopped: {voters_in_words(members.voters)}"
            self._end(node, lambda: self._done_under_a_leader(answer, line), self._failing(answer))

        self._ask(Remove(node.id), CHANGE_SECONDS_MAX, removed, self._failing(answer))

    def replace(self, verb: ReplaceMember, answer: Answer) -> None:
        """Answered when the new node votes in place of the old one, and the old one has stopped."""
        _refuse_others(verb.node)
        old = self._cluster.choose_one(verb.selector)
        if verb.dry_run:
            answer.done([f"would start one more node, give it the place of {old.name}, and stop {old.name}"])
            return

        def joined(new: NodeProcess, members: Members) -> None:
            self._note(f"{new.name} joined as a learner", members)
            change = Replace(old.id, new.id)
            self._ask(change, CATCH_UP_SECONDS_MAX, lambda after: replaced(new, after), self._failing(answer))

        def replaced(new: NodeProcess, members: Members) -> None:
            self._note(f"{new.name} replaced {old.name}", members)
            replacement = f"{new.name} (pid {new.pid}) replaced {old.name}, which has stopped"
            line = f"{replacement}: {voters_in_words(members.voters)}"
            self._end(old, lambda: self._done_under_a_leader(answer, line), self._failing(answer))

        self._start_learner(joined, self._failing(answer))

    def left(self, node: NodeProcess) -> None:
        """A node has stopped by itself, since it is no longer a member."""
        self._forget(node)

    def _failing(self, answer: Answer) -> Failed:
        """Answer with the reason, and with the exit code for it if there is no leader."""

        def failed(reason: str) -> None:
            led = self._cluster.history.leader is not None
            answer.failed(reason, ExitCode.FAILURE if led else ExitCode.NO_LEADER)

        return failed

    # -- steps --------------------------------------------------------------------------------------

    def _start_learner(self, then: Callable[[NodeProcess, Members], None], failed: Failed) -> None:
        """Only while there is a leader; otherwise the process would be started in vain."""
        self._ask(ListMembers(), CHANGE_SECONDS_MAX, lambda _: self._start_new(then, failed), failed)

    def _start_new(self, then: Callable[[NodeProcess, Members], None], failed: Failed) -> None:
        node = self._cluster.add_node(self._roster.reserve_id())

        def give_up(reason: str) -> None:
            self._end(node, lambda: failed(reason), lambda _: failed(reason))

        def joined(members: Members) -> None:
            self._roster.change_members(list(self._cluster.nodes))
            then(node, members)

        def started() -> None:
            endpoint = self._cluster.endpoint_of(node.id)
            self._ask(AddLearner(node.id, endpoint), CHANGE_SECONDS_MAX, joined, give_up)

        self._process_control.begin([node], started, give_up)

    def _promote(self, node: NodeProcess, answer: Answer, line: str) -> None:
        def promoted(members: Members) -> None:
            self._note(f"{node.name} votes", members)
            answer.done([f"{line}: {voters_in_words(members.voters)}"])

        def failed(reason: str) -> None:
            self._failing(answer)(f"{node.name} was not promoted: {reason}")

        self._ask(Promote(node.id), CATCH_UP_SECONDS_MAX, promoted, failed)

    def _end(self, node: NodeProcess, then: Callable[[], None], failed: Failed) -> None:
        def ended() -> None:
            self._forget(node)
            then()

        running = [node] if node.state in HAS_PROCESS else []
        self._process_control.terminate(running, ended, failed)

    def _done_under_a_leader(self, answer: Answer, line: str) -> None:
        """Answer once there is a leader.

        If the leader itself has gone, the next verb may need the new one.
        """

        def done(_: object) -> None:
            answer.done([line])

        self._ask(ListMembers(), CHANGE_SECONDS_MAX, done, done)

    def _forget(self, node: NodeProcess) -> None:
        """It may have stopped by itself while it was being stopped."""
        if self._cluster.nodes.get(node.id) is node:
            self._cluster.remove_node(node)
            self._roster.change_members(list(self._cluster.nodes))

    def _note(self, text: str, members: Members) -> None:
        changed = MembersChanged(text=text, voters=list(members.voters), learners=list(members.learners))
        self._cluster.journal.record(changed, self._context.now())

    def _ask(
        self, change: MemberChange | ListMembers, seconds_max: float, then: Then, failed: Failed
    ) -> None:
        # Here, since it loads the client, and few clusters change their members.
        from raft.cluster.leader_requests import ask_leader

        ask_leader(self._context, self._cluster, change, seconds_max, then, failed)

    # -- the list ---------------------------------------------------------------------------------------

    def _listed(self, members: Members) -> MemberList:
        roles = dict.fromkeys(members.leaving, "leaving")
        roles |= dict.fromkeys(members.learners, "learner") | dict.fromkeys(members.voters, "voter")
        entries = [
            MemberEntry(
                id=node,
                role=roles[node],
                state=self._state_of(node),
                endpoint=members.endpoints.get(node, ""),
                match=members.match.get(node, 0),
                lag=max(members.commit - members.match.get(node, 0), 0),
            )
            for node in sorted(roles)
        ]
        return MemberList(members.leader, members.term, entries)

    def _state_of(self, node: int) -> str | None:
        process = self._cluster.nodes.get(node)
        return None if process is None else process.state.value


def _refuse_others(node: int) -> None:
    if node:
        raise BadUsage(f"a launcher starts its nodes itself, under ids that are free: leave n{node} out")
