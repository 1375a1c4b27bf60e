"""One seed from its beginning to its verdict.

Owns the building of a world, the course of a run (faults, then healing, then a liveness check) and the
checks at its end. Knows nothing of many seeds.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count

from msgspec import Struct

from raft.core.errors import RaftError
from raft.core.raft import Raft
from raft.core.types import Role, Term
from raft.lab.checkers.judge import judge
from raft.lab.checkers.recorder import Recorder
from raft.lab.checkers.records import Header, Record, RecordedHistory
from raft.lab.simulation.clients.caller import Caller
from raft.lab.simulation.clients.membership_operator import MembershipOperator
from raft.lab.simulation.clients.session_clients import SessionClient
from raft.lab.simulation.clients.store_clients import Client, Keys, text_of
from raft.lab.simulation.clients.watcher import Watcher
from raft.lab.simulation.durability_checker import DurabilityChecker
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.faults.foreign_nodes import ForeignNodes
from raft.lab.simulation.faults.nemesis import Nemesis
from raft.lab.simulation.faults.plan import Fault, draw_plan
from raft.lab.simulation.faults.removals import LeaderRemovals
from raft.lab.simulation.faults.rollbacks import DiskRollbacks
from raft.lab.simulation.hosts.host import Host
from raft.lab.simulation.hosts.machines import Machines
from raft.lab.simulation.hosts.member import Condition, Member, Observer
from raft.lab.simulation.hosts.network import SimulatedNetwork
from raft.lab.simulation.referee import Referee
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.session_checker import Model, SessionChecker
from raft.lab.simulation.setting import Setting, draw_setting, endpoint_of
from raft.machines.codec import decode_call
from raft.machines.commands import CompareAndSwap, Put

RECOVERY_SECONDS_MAX = 30.0  # From the end of all faults to an answered write: a dozen election timeouts.
COMPARED_EVERY_SECONDS = 5.0
FOREIGN_NODE_SHARE = 0.5  # Of runs that end with an attempt to add a foreign node.
REMOVALS_SHARE = 0.5  # Of runs that end with leaders that are removed, and die at their answer.
ROLLBACKS_SHARE = 0.5  # Of runs that end with disks that go back to an earlier state.
BLACKOUT_SHARE = 0.5  # Of runs that end with a power cut of all nodes, to see what was durable.


class Failure(Struct, frozen=True):
    """A violated guarantee: which, when, and where in the code it was detected."""

    reason: str
    at_seconds: float
    trace: str = ""


class Result(Struct, frozen=True):
    """The result of a run. `digest` is a hash of everything in it."""

    seed: int
    digest: str
    seconds: float
    counts: dict[str, int]
    failure: Failure | None = None


class World:
    """A cluster, its clients, and everything below them."""

    def __init__(self, setting: Setting, listener: Callable[[str], None] | None = None) -> None:
        self.setting = setting
        self.event_queue = EventQueue()
        self.run_log = RunLog(self.event_queue.now, listener)
        self.history = Recorder(partial(next, count(1)))  # Times are places in the order of events.
        self.network = SimulatedNetwork(
            self.event_queue, setting.dice("network"), self.run_log, latency_seconds=setting.latency_seconds
        )
        self.session_checker = SessionChecker()
        self.referee = Referee(self.run_log, self.session_checker.committed)
        self.promises = DurabilityChecker()
        self.network.tap = self.promises.heard
        self.machines = Machines(setting, self.event_queue)
        self.members = {node: self._member(node) for node in setting.ids}
        self.clients = self._make_clients()
        self.holders = [
            SessionClient(
                self._caller(f"h{number}"),
                setting=setting,
                event_queue=self.event_queue,
                run_log=self.run_log,
                session_checker=self.session_checker,
            )
            for number in range(1, setting.holders + 1)
        ]
        self.watcher = Watcher(
            self._caller("w1"), setting=setting, event_queue=self.event_queue, run_log=self.run_log
        )
        self.dismissed: set[Member] = set()
        self.programs: tuple[Client | SessionClient | Watcher, ...] = (
            *self.clients,
            *self.holders,
            self.watcher,
        )
        self.operator = self._make_operator()
        self.nemesis = Nemesis(
            members=self.members,
            network=self.network,
            event_queue=self.event_queue,
            run_log=self.run_log,
            launcher=self._launcher(),
            operator=self.operator,
            dice=setting.dice("nemesis"),
        )
        self.removals = LeaderRemovals(
            self._caller("removals"),
            members=self.members,
            network=self.network,
            event_queue=self.event_queue,
            run_log=self.run_log,
        )

    def _make_clients(self) -> list[Client]:
        keys = Keys()
        return [
            Client(
                self._caller(f"c{number}"),
                setting=self.setting,
                event_queue=self.event_queue,
                run_log=self.run_log,
                history=self.history,
                keys=keys,
            )
            for number in range(1, self.setting.clients + 1)
        ]

    def started(self, member: Member) -> None:
        """See `Observer`."""
        if member not in self.dismissed:
            self.promises.started(member)
            self.referee.started(member)

    def forgotten(self, member: Member) -> None:
        """See `Observer`."""
        self.promises.forgotten(member)

    def looked(self, member: Member) -> None:
        """See `Observer`."""
        if member not in self.dismissed:
            self.referee.looked(member)

    def dismiss(self, member: Member) -> None:
        """Stop checking this member: its disk was changed beyond what a cluster can tolerate."""
        self.dismissed.add(member)
        self.promises.dismissed(member)

    def run(self, plan: Sequence[Fault]) -> None:
        """Run the plan; an AssertionError is a violated guarantee."""
        setting, event_queue = self.setting, self.event_queue
        self.run_log.tell("WORLD", setting.describe())
        for member in self.members.values():
            event_queue.after(setting.latency_seconds, member.start)
        for program in self.programs:
            program.start()
        for fault in plan:
            self.nemesis.plan(fault)
        self._let_pass(plan[-1].at_seconds if plan else 0.0, setting.seconds * 0.75)
        self._heal()
        self._check_liveness()
        self._let_pass(0.0, setting.seconds)
        if setting.dice("foreigners").random() < FOREIGN_NODE_SHARE:
            self._add_foreign_node()
        if setting.dice("removals").random() < REMOVALS_SHARE:
            self.removals.remove_leaders()
        self._settle()
        if setting.dice("rollbacks are tried").random() < ROLLBACKS_SHARE and self._roll_disks_back():
            self._settle()

    def _let_pass(self, at_least: float, until: float) -> None:
        end = max(at_least, until)
        while self.event_queue.now() < end:
            self.event_queue.run_until(min(end, self.event_queue.now() + COMPARED_EVERY_SECONDS))
            self.referee.check_all()

    def _heal(self) -> None:
        if self.setting.dice("end").random() < BLACKOUT_SHARE:
            self.run_log.tell("WORLD", "all power goes")
            for member in self.members.values():
                member.die(power=True)
        self.run_log.tell("WORLD", "everything is mended")
        self.nemesis.rest()

    def _add_foreign_node(self) -> None:
        foreigners = ForeignNodes(
            self._caller("foreigners"),
            make=partial(self._member, joins=True),
            event_queue=self.event_queue,
            run_log=self.run_log,
            dice=self.setting.dice("history"),
        )
        foreigners.try_to_join()

    def _roll_disks_back(self) -> bool:
        """Returns whether there is one history afterwards."""
        rollbacks = DiskRollbacks(
            members=self.members,
            operator=self.operator,
            writer=self.clients[0],
            dismiss=self.dismiss,
            setting=self.setting,
            event_queue=self.event_queue,
            run_log=self.run_log,
        )
        return rollbacks.roll_back()

    def _check_liveness(self) -> None:
        """Each client is served again, and a write that was begun after the healing is done."""
        limit = self.event_queue.now() + RECOVERY_SECONDS_MAX
        started, acted = len(self.history.records), len(self.session_checker.all)

        def alive() -> bool:
            done = [record for record in self.history.records[started:] if record.done]
            session_calls = [call for call in self.session_checker.all[acted:] if call.outcome == "done"]
            served = {record.client for record in done} | {call.client for call in session_calls}
            all_served = len(served) == len(self.clients) + len(self.holders)
            return all_served and any(record.op != "get" for record in done)

        healed_at = self.event_queue.now()
        assert self.event_queue.run_until(limit, alive), (
            f"no progress for {RECOVERY_SECONDS_MAX:g} s after healing: {self._describe_members()}"
        )
        self.run_log.tell(
            "WORLD", f"all clients are served again after {self.event_queue.now() - healed_at:.2f} s"
        )

    def _settle(self) -> None:
        """The clients stop, read everything once more, and all nodes reach the same state."""
        for program in self.programs:
            program.stop()
        limit = self.event_queue.now() + RECOVERY_SECONDS_MAX
        assert self.event_queue.run_until(limit, lambda: all(program.idle for program in self.programs)), (
            "clients wait for ever"
        )
        reader = self.clients[0]
        for key in dict.fromkeys(record.key for record in self.history.records):
            read = reader.read(key)
            limit = self.event_queue.now() + RECOVERY_SECONDS_MAX
            assert self.event_queue.run_until(limit, lambda: reader.idle), (
                f"the last read of {key} does not end"
            )
            assert read.done, f"the last read of {key} ended {read.outcome}"
        assert self.event_queue.run_until(self.event_queue.now() + RECOVERY_SECONDS_MAX, self._agree), (
            f"the nodes do not come to one end: {self._describe_members()}"
        )
        self.referee.check_all()
        check_history(self.history.records, self.referee)
        self._check_machines(Model(self.referee.committed, self.referee.last_committed))

    def _check_machines(self, model: Model) -> None:
        """The answers to session clients and watchers, and every node's state, agree with the log."""
        self.session_checker.check(model)
        model.check_watched(self.watcher.events, self.watcher.next)
        state = model.machine.snapshot()
        for member in self.members.values():
            if member.applied == self.referee.last_committed:
                assert member.machine.bare_snapshot() == state, f"{member.name} ends in another state"

    def _agree(self) -> bool:
        """All nodes that can take part have applied everything committed, and follow one leader."""
        up = [member.raft for member in self.members.values() if member.raft is not None]
        leader = max((raft for raft in up if raft.role is Role.LEADER), key=_term, default=None)
        if leader is None or leader.tracker.configuration.joint:
            return False
        ends = set()
        for node in sorted(leader.tracker.progress):
            member = self.members[node]
            if member.condition is not Condition.REFUSED:
                if member.raft is None:
                    return False
                ends.add((member.raft.leader, member.raft.term, member.applied, member.raft.log.last))
        return len(ends) == 1 and leader.log.applied == self.referee.last_committed

    def _describe_members(self) -> str:
        return "; ".join(member.describe() for member in self.members.values())

    def _member(self, node: int, observer: Observer | None = None, *, joins: bool = False) -> Member:
        return Member(
            node,
            setting=self.setting,
            event_queue=self.event_queue,
            network=self.network,
            run_log=self.run_log,
            observer=observer or self,
            machines=self.machines,
            joins=joins,
        )

    def _make_operator(self) -> MembershipOperator:
        return MembershipOperator(
            self._caller("operator"),
            setting=self.setting,
            members=self.members,
            recruit=self._recruit,
            event_queue=self.event_queue,
            run_log=self.run_log,
        )

    def _recruit(self, node: int) -> Member:
        member = self.members[node] = self._member(node, joins=True)
        return member

    def _host(self, name: str) -> Host:
        return Host(
            name,
            1,
            event_queue=self.event_queue,
            network=self.network,
            dice=self.setting.dice(f"runtime {name}"),
        )

    def _caller(self, name: str) -> Caller:
        return Caller(self._host(name), setting=self.setting, event_queue=self.event_queue)

    def _launcher(self) -> Host:
        host = self._host("launcher")
        for node in self.setting.ids:
            host.transport.connect(f"n{node}", endpoint_of(node))
        return host


def _term(raft: Raft) -> Term:
    return raft.term


def check_history(records: list[Record], referee: Referee) -> None:
    """The clients' answers agree with what was committed, and their history is linearizable."""
    logged = {content[1] for _, content in referee.committed.values() if content[1]}
    values = {written[1] for data in logged if (written := _written(data)) is not None}
    for record in records:
        if record.op == "get":
            continue
        if record.done:
            _, (_, data) = referee.committed.get(record.index, (0, (0, b"")))
            assert data and _written(data) == (record.key, record.value), (
                f"acknowledged and lost: {record.describe()}"
            )
        elif record.outcome == "refused":
            assert record.value not in values, f"refused and yet committed: {record.describe()}"
    verdict = judge(RecordedHistory(header=Header(workload="register"), records=records))
    wrong = [f"the history of {found.key}: {found.name}: {found.text}" for found in verdict.anomalies]
    assert not wrong, f"not linearizable: {wrong[0]}"
    assert not verdict.undecided, f"no verdict on the history of {', '.join(verdict.undecided)}"


def _written(data: bytes) -> tuple[str, str | None] | None:
    """The key and the value that a command writes; None for one that is no client's write."""
    call = decode_call(data)
    match call.operation if call is not None else None:
        case Put(key, value) | CompareAndSwap(key, _, value):
            return key.decode(), text_of(value)
    return None


def simulate(
    setting: Setting, plan: Sequence[Fault], listener: Callable[[str], None] | None = None
) -> Result:
    """Run a world with a plan."""
    world = World(setting, listener)
    failure: Failure | None = None
    try:
        world.run(plan)
    except (AssertionError, RaftError) as broken:
        failure = Failure(str(broken), world.event_queue.now(), traceback.format_exc())
        world.run_log.tell("BROKEN", failure.reason)
    return Result(
        setting.seed, world.run_log.digest, world.event_queue.now(), dict(world.run_log.counts), failure
    )


def simulate_seed(
    seed: int, *, nodes: int = 5, seconds: float = 60.0, listener: Callable[[str], None] | None = None
) -> Result:
    """Run the world of a seed with the faults of that seed."""
    setting = draw_setting(seed, nodes=nodes, seconds=seconds)
    return simulate(setting, draw_plan(setting), listener)
