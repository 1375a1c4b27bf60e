"""A node of the simulated cluster over all its incarnations, with its disk.

Owns starting and every way to stop: by request, killed, by a power cut, at a crash point of a write, or by a
disk error. Knows nothing of when any of this happens.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Protocol

import msgspec

from raft.core.raft import Raft
from raft.core.types import Entry, EntryKind, HardState, Index, NodeId, Term
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.lab.simulation.hosts.drive import DIRECTORY, Drive, SimulatedCrash
from raft.lab.simulation.hosts.host import Host
from raft.lab.simulation.hosts.machines import KeptPledge, Machines
from raft.lab.simulation.hosts.network import SimulatedNetwork
from raft.lab.simulation.hosts.simulated_worker import SimulatedWorker
from raft.lab.simulation.recording_machine import RecordingMachine
from raft.lab.simulation.run_log import RunLog
from raft.lab.simulation.setting import Setting
from raft.lab.simulation.tally import Tally
from raft.machines.codec import encode_call
from raft.machines.commands import Call, Put
from raft.node.environment import NodeEnvironment, bootstrap
from raft.node.local import Leave
from raft.node.members.identity import Origin, founding
from raft.node.node import Node
from raft.node.worker import WorkDone
from raft.protocol.registry import NODE_ACTOR, address_of, process_of
from raft.storage.errors import CorruptLog, LogMissing, StoreError
from raft.storage.record import Identity
from raft.storage.store import Store

RESTART_SECONDS = 0.5  # The supervisor's delay after a crash.


class Condition(enum.Enum):
    """A member's condition."""

    DOWN = "down"
    UP = "up"
    REFUSED = "refused"  # It has detected a damaged, missing or old log, and does not take part.
    GONE = "gone"  # It was removed from the cluster, and knows it.


class Observer(Protocol):
    """Receives what members do, for checks."""

    def started(self, member: Member) -> None:
        """An incarnation has begun: its store is open, nothing was sent yet."""

    def forgotten(self, member: Member) -> None:
        """Everything that this member has sent is void."""

    def looked(self, member: Member) -> None:
        """A turn is over."""


class InspectedNode(Node):
    """The production node, with what the simulation looks at."""

    @property
    def raft(self) -> Raft | None:
        """The core; None before the node has started."""
        return self.components.raft if hasattr(self, "components") else None

    @property
    def applied(self) -> Index:
        """The index applied by the whole machine; 0 while a part of it is behind, or is being restored."""
        applier = self.components.applier
        return applier.applied if applier.free and applier.own_machine.idle else 0

    def want_snapshot(self) -> None:
        """Take a snapshot at the end of the next turn."""
        if self.raft is not None:
            self.components.snapshots.want()


class Events:
    """A node's journal, as lines of the run log."""

    def __init__(self, run_log: RunLog, name: str) -> None:
        self._run_log = run_log
        self._name = name
        self.paused = False  # Was the node paused by a fault that it has not reported yet?

    def event(self, event: str, message: str, **values: object) -> None:
        """See `Journal`."""
        del values
        if event == "stalled":
            assert self.paused, f"{self._name} {message}, and no fault has made it stand still"
            self.paused = False
        self._run_log.count(event)
        self._run_log.tell(self._name, message)


class Member:
    """One node. While it is `UP`, `store`, `machine` and `host` belong to its present incarnation."""

    def __init__(
        self,
        node: int,
        *,
        setting: Setting,
        event_queue: EventQueue,
        network: SimulatedNetwork,
        run_log: RunLog,
        observer: Observer,
        machines: Machines,
        joins: bool = False,
    ) -> None:
        self.node = node
        self.name = process_of(node)
        self.condition = Condition.DOWN
        self.incarnation = 0
        self.wiped = False
        self.rolled_back = False
        self.may_stop_with: frozenset[str] = frozenset()  # Errors that may end it for good.
        self.store: Store
        self.machine: RecordingMachine
        self.host: Host
        self._setting = setting
        self._event_queue = event_queue
        self._network = network
        self._run_log = run_log
        self._observer = observer
        self._machines = machines
        self._pledge = KeptPledge(setting.dice(f"pledges {node}"))
        self._dice = setting.dice(f"member {node}")
        self._actor: InspectedNode
        self._joins = joins
        self._may_begin = True  # With an empty disk, as a node that has never sent anything.
        self._first_words = HardState()
        self._log_writer: SimulatedWorker | None = None
        self._applying: SimulatedWorker | None = None
        self._snapshotting: SimulatedWorker | None = None
        self.drive = Drive(self.name, setting=setting, run_log=run_log, dice=self._dice)

    @property
    def up(self) -> bool:
        """Is there a process?"""
        return self.condition is Condition.UP

    @property
    def raft(self) -> Raft | None:
        """The core of the present incarnation, once it has started."""
        return self._actor.raft if self.up else None

    @property
    def applied(self) -> Index:
        """The applied index of the present incarnation's machine."""
        return self._actor.applied if self.raft is not None else 0

    def describe(self) -> str:
        """Its state in a few words."""
        raft = self.raft
        if raft is None:
            return f"{self.name} {self.condition.value}"
        return (
            f"{self.name} {raft.role.value} term {raft.term} leader {raft.leader} "
            f"commit {raft.log.committed}/{raft.log.last}"
        )

    # -- starting and stopping ----------------------------------------------------------------------

    def start(self) -> None:
        """Start a process, if there is none and the disk allows it; otherwise try again later, or never."""
        if self.condition is not Condition.DOWN:
            return
        self.incarnation += 1
        self.drive.begin_incarnation()
        self._guard(self._start)

    def begin_alone(self, entries: int) -> None:
        """Begin as a node that has founded its own cluster and logged that many commands there."""
        config = self._setting.config(self.node, 1, joins=True)
        store = Store.open(
            DIRECTORY, identity=Identity(config.cluster, self.node), files=self.drive.files, create=True
        )
        bootstrap(store, msgspec.structs.replace(config, join=False))
        origin = Origin(self._draw_identity(), config.voters)
        change = Entry(2, 2, EntryKind.CONF_CHANGE_V2, founding(self.node, origin).encode())
        commands = [
            Entry(2, index, EntryKind.NORMAL, encode_call(Call(0, 0, 0, Put(b"foreign", b"%d" % index))))
            for index in range(3, 3 + entries)
        ]
        store.save(HardState(term=2, vote=self.node, commit=2 + entries), [change, *commands], None)
        store.close()
        self.start()

    def _draw_identity(self) -> str:
        return f"{self._dice.getrandbits(64):016x}"

    def come_back(self) -> None:
        """Start again after it has left: it was removed by another operator, and is to be added again."""
        if self.condition is Condition.GONE:
            self.condition = Condition.DOWN
            self.start()

    def _start(self) -> None:
        config = self._setting.config(self.node, self.incarnation, joins=self._joins)
        try:
            self.store = Store.open(
                DIRECTORY,
                identity=Identity(config.cluster, self.node),
                files=self.drive.files,
                create=self._may_begin,
                segment_bytes=self._setting.segment_bytes,
                crash_point=self.drive.pass_point,
                now=self._event_queue.now,
            )
            bootstrap(self.store, config)
            if self._may_begin and self.store.initial_state()[0] == HardState() != self._first_words:
                self.store.save(self._first_words, (), None)
            self._may_begin = False
        except StoreError as error:
            self._could_not_start(error)
            return
        if self.store.recovery.cut_bytes:
            self._run_log.count("torn tails cut")
        if self.store.recovery.passed_over:
            self._run_log.count("damaged snapshots passed over")
        self.condition = Condition.UP
        self._run_log.count("starts")
        self.machine = RecordingMachine(Tally())
        self.host = Host(
            self.name,
            self.incarnation,
            event_queue=self._event_queue,
            network=self._network,
            dice=self._setting.dice(f"runtime {self.node} {self.incarnation}"),
            is_node=True,
            clock_rate=self._setting.clock_rate(self.node),
            wake_seconds=self._setting.wake_seconds,
            on_turn=self._looked,
            guard=self._guard,
        )
        self._events = Events(self._run_log, self.name)
        self._actor = InspectedNode(
            NodeEnvironment(
                config=config,
                incarnation=self.incarnation,
                store=self.store,
                machine=self.machine,
                random=self._setting.dice(f"node {self.node} {self.incarnation}"),
                journal=self._events,
                disk_worker=self._make_disk,
                snapshot_worker=self._make_snapshotting,
                apply_worker=self._make_applying if self._setting.apply_on_worker else None,
                leave=self.host.runtime.stop,
                worked=lambda: 0.0,
                draw_identity=self._draw_identity,
                endings=self._machines.endings_seen_by(self.node, self.incarnation),
                pledges=self._pledge,
            )
        )
        self._observer.started(self)
        self.host.runtime.spawn(lambda: self._actor, NODE_ACTOR)
        self.host.stir()

    def leave(self) -> None:
        """Ask the node to stop gracefully."""
        if self.up:
            self.host.runtime.post(address_of(self.node), Leave())

    def die(self, *, power: bool) -> None:
        """End now, with or without the power; a write in progress is done in part, at random."""
        if not self.up:
            self.drive.end_process(power=power)
            return
        for simulated_worker in (self._log_writer, self._snapshotting):
            job = simulated_worker.job_in_hand if simulated_worker is not None else None
            if job is not None:
                self.drive.cut_short(job)
        self._reap(power=power)

    def wipe(self) -> None:
        """Lose everything: the process and the contents of its disk."""
        self.die(power=True)
        self.drive.wipe()
        self.wiped = True
        self._run_log.tell(self.name, "its disk is wiped")

    def roll_back(self, files: SimulatedFiles) -> None:
        """Die, with the disk in an earlier state; what was sent since then is void."""
        self.die(power=False)
        self.drive.become(files)
        self.rolled_back = True
        self._observer.forgotten(self)
        self._run_log.tell(self.name, "its disk goes back to an earlier state")

    def begin_anew(self, term: Term, leader: NodeId) -> None:
        """Begin with empty data, but vote only for this leader in its term.

        Earlier promises belong to a membership that has ended; see raft.node.process.data_dir.
        """
        self.die(power=False)
        self.drive.wipe()
        self.wiped = self.rolled_back = False
        self.may_stop_with = frozenset()
        self._joins = self._may_begin = True
        self._first_words = HardState(term, leader)
        self.condition = Condition.DOWN
        self._observer.forgotten(self)
        self.start()

    def depart(self) -> None:
        """Die for good: it is no longer a member."""
        self.die(power=False)
        self.condition = Condition.GONE

    def pause(self) -> None:
        """SIGSTOP."""
        if self.up:
            self._events.paused = True
            self.host.pause()

    def resume(self) -> None:
        """SIGCONT."""
        if self.up and self.host.paused:
            self.host.resume()
            for simulated_worker in self._simulated_workers():
                simulated_worker.resume()

    def snapshot(self) -> None:
        """Take a snapshot, even if none is due."""
        if self.up and not self.host.paused:
            self._actor.want_snapshot()
            self.host.stir()

    # -----------------------------------------------------------------------------------------------

    def _make_disk(self, post: Callable[[WorkDone], None]) -> SimulatedWorker:
        # Some nodes write on their loop, others on a thread.
        self._log_writer = self._simulated_worker(
            post, self.drive.write_seconds, lambda: self.node % 3 == 1 and not self.drive.is_slow
        )
        return self._log_writer

    def _make_snapshotting(self, post: Callable[[WorkDone], None]) -> SimulatedWorker:
        self._snapshotting = self._simulated_worker(post, self.drive.write_seconds)
        return self._snapshotting

    def _make_applying(self, post: Callable[[WorkDone], None]) -> SimulatedWorker:
        self._applying = self._simulated_worker(
            post, lambda: self._setting.own_seconds * 2 * self._dice.random()
        )
        return self._applying

    def _simulated_worker(
        self,
        post: Callable[[WorkDone], None],
        takes: Callable[[], float],
        is_quick: Callable[[], bool] = lambda: False,
    ) -> SimulatedWorker:
        host = self.host
        return SimulatedWorker(
            post,
            event_queue=self._event_queue,
            takes=takes,
            paused=lambda: host.paused,
            run=self._guard,
            is_quick=is_quick,
        )

    def _simulated_workers(self) -> list[SimulatedWorker]:
        return [
            simulated_worker
            for simulated_worker in (self._log_writer, self._applying, self._snapshotting)
            if simulated_worker is not None
        ]

    def _looked(self) -> None:
        if self.host.runtime.stopped:
            self._ended()
            return
        self._observer.looked(self)

    def _ended(self) -> None:
        """The runtime has stopped by itself: by request, or because the node has failed."""
        self.condition = Condition.DOWN
        for report in self.host.crashes:
            name = report.error.partition(":")[0]
            if name in self.may_stop_with:
                self.condition = Condition.REFUSED
                self._run_log.count(f"stopped by {name}")
            elif name == "DiskFailed" and self.drive.may_fail:
                self._run_log.count("stopped by their disk")
            else:
                raise AssertionError(f"{self.name} failed in {report.doing}: {report.traceback}")
            self._run_log.tell(self.name, f"stops: {report.error}")
        if not self.host.crashes:
            self._run_log.tell(self.name, "has stopped")
        self._guard(self.store.close)
        self._forget_incarnation()
        self.drive.end_process(power=False)
        if self._actor.removed:
            self.condition = Condition.GONE
            self._run_log.count("removed nodes left")
            return
        if self.condition is not Condition.REFUSED:
            self._event_queue.after(RESTART_SECONDS * (0.5 + self._dice.random()), self.start)

    def _reap(self, *, power: bool) -> None:
        self.condition = Condition.DOWN
        self.host.vanish(told=not power)
        self._forget_incarnation()
        self.drive.end_process(power=power)

    def _forget_incarnation(self) -> None:
        self._machines.ended(self.node, self.incarnation)
        for simulated_worker in self._simulated_workers():
            simulated_worker.abandon()
        self._log_writer = self._applying = self._snapshotting = None

    def _could_not_start(self, error: StoreError) -> None:
        self.drive.end_process(power=False)
        if isinstance(error, LogMissing):
            assert self.wiped, f"{self.name} finds its log gone without a fault: {error}"
            self.condition = Condition.REFUSED
            self._run_log.count("wiped disks refused")
            self._run_log.tell(self.name, "refuses to start: its log is gone")
            return
        if isinstance(error, CorruptLog):
            if not self.drive.flipped_bits:
                raise AssertionError(f"{self.name} finds its log damaged without a fault: {error}")
            self.condition = Condition.REFUSED
            self._run_log.count("damaged logs refused")
            self._run_log.tell(self.name, f"refuses to start: {error.reason}")
            return
        if not self.drive.may_fail:
            raise AssertionError(f"{self.name} cannot start on a good disk: {error}")
        self._run_log.tell(self.name, f"cannot start: {error}")
        self._event_queue.after(RESTART_SECONDS, self.start)

    def _guard(self, call: Callable[[], None]) -> None:
        """Call something that may pass an armed crash point, and carry out the consequences."""
        try:
            call()
        except SimulatedCrash:
            armed = self.drive.disarm()
            assert armed is not None, "only an armed point ends a process here"
            point, power = armed
            self._run_log.count(f"died at {point}")
            self._run_log.tell(self.name, f"dies at {point}{', its power cut' if power else ''}")
            if self.up:
                self._reap(power=power)
            else:
                self.drive.end_process(power=power)
            self._event_queue.after(RESTART_SECONDS * (0.5 + self._dice.random()), self.start)
