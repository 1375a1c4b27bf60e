"""The actor that keeps a cluster running, receives its nodes' reports and answers verbs.

Owns the order of events: start all nodes, learn who leads, restart what crashed, stop all. The steps of a
verb are in `process_control` and `network`; the handling of processes in `processes`.

Theory of operation. A node is in one of five states (NodeState):

- starting: a process was requested from the fork server. Its NodeUp report makes it running;
- running: it sends Alive reports. One that is silent for too long is killed, unless it is stopped (SIGSTOP
  from outside), which makes it paused; the next Alive report makes it running again;
- paused: by request or from outside, until resumed;
- down: its process has ended. A crash is followed by a restart after a backoff; after an injected kill or
  a stop it stays down until a verb starts it;
- gave-up: it crashed too often within a window, or cannot start. Only `start` tries again.

Leadership is learnt from reports alone: BecameLeader, LostLeadership, SawLeader, and what each Alive report
repeats, in case one was lost. A leader's exit ends its leadership. Verbs that wait (for an exit, a leader,
a restart) register a condition, checked at the end of each turn (conditions.py).

The launcher ends when a verb or a signal asks for it, when the fork server has died (and all nodes with it),
or when every node was given up. The node that leads is stopped last.

What can never happen: a node has two processes at once; a report of an earlier process changes the state of
the present one; two leaders of one term go unnoticed, if both report (a Violation event is recorded).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from actors.actor import Actor, Handlers
from raft.cluster.cluster import Cluster
from raft.cluster.conditions import Conditions
from raft.cluster.failures import ExitCode, NoLeader, VerbFailed
from raft.cluster.faults.network import Network
from raft.cluster.faults.registry import CRASH, KILL, PAUSE
from raft.cluster.faults.storage import StorageFaults
from raft.cluster.membership import MemberVerbs, Roster
from raft.cluster.processes.node_process import HAS_NONE, HAS_PROCESS, Cause, NodeProcess, NodeState
from raft.cluster.processes.process_control import ProcessControl
from raft.cluster.processes.processes import ForkServerLike, Processes
from raft.cluster.processes.rolling_restart import ForcedSnapshots, RollingRestart
from raft.cluster.quantities import count_of
from raft.cluster.records.events import (
    ClusterReady,
    LeaderElected,
    LeaderLost,
    NodeStarted,
    SpaceAgain,
    SpaceAlarm,
    Violation,
)
from raft.cluster.records.leader_history import Leader
from raft.cluster.rpc.messages import (
    AddMember,
    BreakDisk,
    ClearFaults,
    Done,
    Down,
    Failed,
    FaultEntry,
    FaultList,
    ForceSnapshot,
    GetClusterStatus,
    GetLeader,
    GetMembers,
    HandOver,
    Heal,
    Isolate,
    Kill,
    LeaderAnswer,
    Link,
    ListFaults,
    MendDisk,
    Partition,
    Pause,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    Restart,
    Resume,
    SetClockRate,
    Start,
    Stop,
)
from raft.cluster.rpc.replies import Answer, ReplyAnswer, refusable, verb_handler
from raft.cluster.status import StatusRound
from raft.protocol.admin import (
    Alive,
    BecameLeader,
    CannotDo,
    LostLeadership,
    NodeUp,
    SawLeader,
    SpaceIs,
    Transfer,
)
from raft.protocol.registry import address_of, process_of

HAND_OVER_SECONDS_MAX = 5.0


def of_nodes(handle: Callable[[SupervisorActor, Any], None]) -> Callable[[SupervisorActor, Any], None]:
    """The handler of a report that is accepted only from the node that it is about."""

    def handler(supervisor: SupervisorActor, report: Any) -> None:
        sender = supervisor.context.sender
        if sender is not None and sender.process == process_of(report.node):
            handle(supervisor, report)

    return handler


class Ending:
    """How a launcher ends; written by the supervisor, read once its runtime has stopped."""

    def __init__(self) -> None:
        self.exit_code = ExitCode.OK
        self.reason = ""


class SupervisorActor(Actor):
    """Hosted by the launcher's runtime; `stop_runtime` is called when all nodes have ended."""

    def __init__(
        self,
        cluster: Cluster,
        fork_server: ForkServerLike,
        argument_of: Callable[[NodeProcess], bytes],
        stop_runtime: Callable[[], None],
        ending: Ending,
        roster: Roster,
        duration_seconds: float | None = None,
    ) -> None:
        self._cluster = cluster
        self._roster = roster
        self._fork_server = fork_server
        self._argument_of = argument_of
        self._stop_runtime = stop_runtime
        self._ending = ending
        self._duration_seconds = duration_seconds

    def on_start(self) -> None:
        """Request all processes at once.

        They connect to the launcher, and are answered on these connections.
        """
        cluster, context = self._cluster, self.context
        self._conditions = Conditions(context)
        self._processes = Processes(
            context,
            cluster,
            self._fork_server,
            self._argument_of,
            self._on_exit,
            lambda: self._end(ExitCode.FAILURE, "the fork server has ended, and all nodes with it"),
        )
        self.network = Network(context, cluster)
        self.process_control = ProcessControl(
            context, cluster, self._processes, self._conditions, self.network.resend_orders
        )
        self.storage = StorageFaults(context, cluster, self.network, self.process_control)
        self.members = MemberVerbs(context, cluster, self.process_control, self._roster)
        for node in cluster.nodes.values():
            self._processes.start(node)

        if self._duration_seconds is not None:
            left_seconds = self._duration_seconds - cluster.journal.elapsed_seconds(context.now())
            context.after(max(left_seconds, 0.0), lambda: self._end(self._ending.exit_code, ""))
        self._conditions.wait(
            lambda: cluster.history.agreed(cluster.expected_up) is not None, None, self._ready
        )
        self._conditions.wait(
            lambda: len(cluster.in_state({NodeState.GAVE_UP})) == len(cluster.nodes),
            None,
            lambda _: self._end(ExitCode.FAILURE, "all nodes failed too often and were given up"),
        )

    def on_turn_end(self) -> None:
        """State may have changed: check the open waits."""
        self._conditions.check()

    # -- reports of nodes --------------------------------------------------------------------------

    def on_node_up(self, report: NodeUp) -> None:
        """A node has recovered its log and is up."""
        node = self._current_node(report)
        if node is not None:
            self._came_up(node, report.pid, report.incarnation, report.at_seconds)

    def on_alive(self, report: Alive) -> None:
        """A node's loop runs; also repeats its earlier reports, in case they were lost."""
        node = self._current_node(report)
        if node is None:
            return
        node.heard_seconds = self.context.now()
        if not node.is_up:
            self._came_up(node, report.pid, report.incarnation, report.up_at_seconds)
        if report.leader == node.id:
            self._note_leader(node.id, report.term, report.at_seconds)
        else:
            self._cluster.history.saw(node.id, Leader(report.leader, report.term))
        if node.state is NodeState.PAUSED and self._cluster.faults.process_fault(PAUSE, node.id) is None:
            node.state = NodeState.RUNNING  # It was resumed from outside.
            self.network.resend_orders(node)

    def on_became_leader(self, report: BecameLeader) -> None:
        """An election was won; the only point at which a violation of election safety can be detected."""
        cluster = self._cluster
        elected = LeaderElected(
            node=report.node,
            term=report.term,
            previous=report.previous,
            votes=report.votes,
            voters=report.voters,
            took_ms=round(1000 * report.took_seconds, 3),
            reason=report.reason,
        )
        cluster.journal.record(elected, report.at_seconds)
        self._note_leader(report.node, report.term, report.at_seconds)
        node = cluster.nodes.get(report.node)
        if node is not None and self._current_node(report) is None:
            self._lose_dead_leader(node, self.context.now())  # It won, reported that, and died.

    def on_lost_leadership(self, report: LostLeadership) -> None:
        """A leader has stopped leading."""
        self._cluster.history.lost(report.node, report.term)
        lost = LeaderLost(node=report.node, term=report.term, reason=report.reason)
        self._cluster.journal.record(lost, report.at_seconds)

    def on_space(self, report: SpaceIs) -> None:
        """The leader reports its space usage; the alarm belongs to the cluster, not to one leader."""
        cluster = self._cluster
        if report.alarm == cluster.out_of_space:
            return
        cluster.out_of_space = report.alarm
        kind = SpaceAlarm if report.alarm else SpaceAgain
        event = kind(node=report.node, used_bytes=report.used_bytes, quota_bytes=report.quota_bytes)
        cluster.journal.record(event, report.at_seconds)

    def on_saw_leader(self, report: SawLeader) -> None:
        """A node follows another leader than before."""
        if self._current_node(report) is not None:
            self._cluster.history.saw(report.node, Leader(report.leader, report.term))

    def _came_up(self, node: NodeProcess, pid: int, incarnation: int, up_seconds: float) -> None:
        node.pid, node.incarnation, node.is_up, node.up_seconds = pid, incarnation, True, up_seconds
        node.heard_seconds = self.context.now()
        if node.state is NodeState.STARTING:
            node.state = NodeState.RUNNING
        took_ms = round(1000 * (up_seconds - node.started_seconds), 3)
        started = NodeStarted(node=node.id, pid=pid, incarnation=incarnation, took_ms=took_ms)
        self._cluster.journal.record(started, up_seconds)
        self.network.resend_orders(node)

    def _note_leader(self, node: int, term: int, at_seconds: float) -> None:
        cluster = self._cluster
        rival = cluster.safety.note_leader(term, node)
        if rival is not None:
            text = f"two leaders in term {term}: n{rival} and n{node}"
            cluster.journal.record(Violation(term=term, nodes=[rival, node], text=text), at_seconds)
            self._ending.exit_code = ExitCode.VIOLATION
        cluster.history.elected(node, term, at_seconds)

    def _current_node(self, report: NodeUp | Alive | BecameLeader | SawLeader) -> NodeProcess | None:
        """The node that reports, unless the report is of an earlier process."""
        node = self._cluster.nodes.get(report.node)
        return node if node is not None and node.is_of_present_process(report.at_seconds) else None

    def _on_exit(self, node: NodeProcess, now: float) -> None:
        self.process_control.forget_faults_of_dead(node)
        self.storage.node_exited(node)
        self._lose_dead_leader(node, now)
        if node.removed:
            self.members.left(node)

    def _lose_dead_leader(self, node: NodeProcess, now: float) -> None:
        ended = self._cluster.history.died(node.id)
        if ended is not None:
            reason = "stopping" if node.expected is Cause.STOPPED else "died"
            self._cluster.journal.record(LeaderLost(node=node.id, term=ended.term, reason=reason), now)

    # -- verbs -------------------------------------------------------------------------------------

    def on_status(self, verb: GetClusterStatus) -> None:
        """Ask all nodes; those that cannot answer delay it by a moment at most."""
        del verb
        StatusRound(self.context, self._cluster, self.context.reply_handle().send).begin()

    def on_get_leader(self, verb: GetLeader) -> None:
        """At once if there is one that runs: a paused one cannot lead, though it was not replaced yet."""
        reply = self.context.reply_handle()

        def leads() -> bool:
            leader = self._cluster.history.leader
            paused = [node.id for node in self._cluster.in_state({NodeState.PAUSED})]
            return leader is not None and leader.node not in paused

        def answer(held: bool) -> None:
            leader = self._cluster.history.leader
            if leader is None:
                reply.send(Failed("the cluster has no leader", ExitCode.NO_LEADER))
            elif not held:
                reply.send(Failed(f"the leader, n{leader.node}, is paused", ExitCode.NO_LEADER))
            else:
                reply.send(LeaderAnswer(leader.node, leader.term))

        self._conditions.wait(leads, verb.wait_seconds, answer)
        self._conditions.check()

    def on_list_faults(self, verb: ListFaults) -> None:
        """The faults in force."""
        del verb
        entries = [
            FaultEntry(
                fault.id,
                fault.kind,
                list(fault.nodes),
                fault.text,
                {node: order.to for node, order in fault.links.items()},
                any(order.cut for order in fault.links.values()),
            )
            for fault in self._cluster.faults.active
        ]
        self.context.reply(FaultList(entries))

    def on_heal(self, verb: Heal) -> None:
        """End all network faults."""
        del verb
        broken = self._cluster.faults.network_faults()
        nothing = [] if broken else ["no network fault is in force"]
        self.network.clear(broken, ReplyAnswer(self.context.reply_handle()), nothing)

    def on_clear_faults(self, verb: ClearFaults) -> None:
        """End faults of any kind."""
        faults = self._cluster.faults
        unknown = set(verb.ids) - {fault.id for fault in faults.active}
        if unknown:
            raise VerbFailed(f"no fault has the id {min(unknown)}", ExitCode.NOT_FOUND)
        chosen = [fault for fault in faults.active if not verb.ids or fault.id in verb.ids]
        lines = [] if chosen else ["no fault is in force"]
        for fault in chosen:
            node = self._cluster.nodes.get(fault.nodes[0])
            if node is None or fault.kind not in (PAUSE, KILL, CRASH):
                continue
            if fault.kind == PAUSE:
                self.process_control.wake(node)
            elif fault.kind == KILL or node.state in HAS_NONE:
                self.process_control.begin([node], lambda: None, lambda _: None)
            else:
                continue
            lines.append(f"{fault} cleared ({fault.text})")
        answer = ReplyAnswer(self.context.reply_handle())
        left = [it for it in chosen if (it.orders or it.outside) and it in faults.active]
        self.network.clear(left, answer, lines)

    def on_get_members(self, verb: GetMembers) -> None:
        """Ask the leader."""
        reply = self.context.reply_handle()
        self.members.list(verb, reply.send, lambda reason: reply.send(Failed(reason, ExitCode.NO_LEADER)))

    def kill(self, verb: Kill, answer: Answer) -> None:
        """Now, or at a crash point of a write."""
        (self.storage.arm if verb.at else self.process_control.kill)(verb, answer)

    def restart(self, verb: Restart, answer: Answer) -> None:
        """All at once, or one after the other."""
        if not verb.rolling:
            self.process_control.restart(verb, answer)
            return
        chosen = self._cluster.choose(verb.selector)
        if verb.dry_run:
            answer.done([f"would restart {node.name}, one after the other" for node in chosen])
            return
        RollingRestart(self.context, self._cluster, self.process_control, chosen, answer).next()

    def snapshot(self, verb: ForceSnapshot, answer: Answer) -> None:
        """Ask the nodes themselves."""
        ForcedSnapshots(self.context, self._cluster, verb, answer)

    def on_hand_over(self, verb: HandOver) -> None:
        """Ask the leader, then wait for its successor."""
        cluster = self._cluster
        leader = cluster.history.leader
        if leader is None:
            raise NoLeader("there is no leader to transfer leadership from")
        target = cluster.choose_one(verb.to).id if verb.to else 0
        if target == leader.node:
            raise VerbFailed(f"n{target} is the leader already")
        reply = self.context.reply_handle()

        def succeeded() -> bool:
            now = cluster.history.leader
            return now is not None and now.term > leader.term and target in (0, now.node)

        def finish(held: bool) -> None:
            now = cluster.history.leader
            if held and now is not None:
                reply.send(Done([f"n{now.node} leads term {now.term}, after n{leader.node}"]))
            else:
                reply.send(Failed("leadership was not transferred", ExitCode.TIMED_OUT))

        def accepted(message: object) -> None:
            if isinstance(message, CannotDo):
                reply.send(Failed(message.reason, ExitCode.FAILURE))
            else:
                self._conditions.wait(succeeded, HAND_OVER_SECONDS_MAX, finish)

        pending = self.context.ask(address_of(leader.node), Transfer(target), HAND_OVER_SECONDS_MAX)
        pending.then(accepted, lambda failure: reply.send(Failed(str(failure), ExitCode.FAILURE)))

    def on_down(self, verb: Down) -> None:
        """Stop all nodes gracefully, and end; a second request waits for the first."""
        nodes = count_of(len(self._cluster.in_state(HAS_PROCESS)), "node")
        if verb.dry_run:
            spec = self._cluster.spec
            kept = spec.keep or spec.data_dir is not None
            self.context.reply(Done([f"would stop {nodes}, and {'keep' if kept else 'delete'} their data"]))
            return
        self.context.reply(Done([f"stopping {nodes}"]))
        self._end(self._ending.exit_code, "")

    # -- start and end -----------------------------------------------------------------------------

    def _ready(self, _held: bool) -> None:
        leader = self._cluster.history.leader
        assert leader is not None, "all nodes agree on a leader, and there is none"
        now = self.context.now()
        took_ms = round(1000 * self._cluster.journal.elapsed_seconds(now), 3)
        ready = ClusterReady(
            nodes=len(self._cluster.expected_up), leader=leader.node, term=leader.term, took_ms=took_ms
        )
        self._cluster.journal.record(ready, now)

    def _end(self, exit_code: ExitCode, reason: str) -> None:
        if self._cluster.ending:
            return  # A second SIGTERM would end a node at once.
        self._ending.exit_code = exit_code
        self._ending.reason = reason
        self._cluster.ending = True
        leader = self._cluster.history.leader
        running = self._cluster.in_state(HAS_PROCESS)
        last = [node for node in running if leader is not None and node.id == leader.node]
        others = [node for node in running if node not in last]

        def stop_last(_failure: str = "") -> None:
            # After the others, or it would transfer leadership to a node that is ending, too.
            remaining = [node for node in last if node.state in HAS_PROCESS]
            self.process_control.terminate(remaining, self._stop_runtime, lambda _: self._stop_runtime())

        self.process_control.terminate(others, stop_last, stop_last)

    handlers: ClassVar[Handlers] = {
        NodeUp: of_nodes(on_node_up),
        Alive: of_nodes(on_alive),
        BecameLeader: of_nodes(on_became_leader),
        LostLeadership: of_nodes(on_lost_leadership),
        SpaceIs: of_nodes(on_space),
        SawLeader: of_nodes(on_saw_leader),
        GetClusterStatus: on_status,
        GetLeader: on_get_leader,
        Kill: verb_handler(lambda self: self.kill),
        BreakDisk: verb_handler(lambda self: self.storage.break_disk),
        MendDisk: verb_handler(lambda self: self.storage.mend),
        SetClockRate: verb_handler(lambda self: self.storage.set_clock),
        Stop: verb_handler(lambda self: self.process_control.stop),
        Start: verb_handler(lambda self: self.process_control.start),
        Restart: verb_handler(lambda self: self.restart),
        Pause: verb_handler(lambda self: self.process_control.pause),
        Resume: verb_handler(lambda self: self.process_control.resume),
        Partition: verb_handler(lambda self: self.network.partition),
        Isolate: verb_handler(lambda self: self.network.isolate),
        Link: verb_handler(lambda self: self.network.link),
        ForceSnapshot: verb_handler(lambda self: self.snapshot),
        GetMembers: on_get_members,
        AddMember: verb_handler(lambda self: self.members.add),
        PromoteMember: verb_handler(lambda self: self.members.promote),
        RemoveMember: verb_handler(lambda self: self.members.remove),
        ReplaceMember: verb_handler(lambda self: self.members.replace),
        Heal: on_heal,
        ListFaults: on_list_faults,
        ClearFaults: refusable(on_clear_faults),
        HandOver: refusable(on_hand_over),
        Down: on_down,
    }
