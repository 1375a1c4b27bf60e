"""A node of the simulated cluster over all its lives, with the disk that outlives them.

Owns starting and every way of dying: asked to, killed, with its power cut, at a named point of a write,
or of its own disk's failure. Knows nothing of when any of this happens.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Protocol

from msgspec import Struct

from raft.core.errors import SnapshotTemporarilyUnavailable
from raft.core.raft import Raft
from raft.core.types import Snapshot
from raft.lab.agenda import Agenda
from raft.lab.disk import SimulatedFiles
from raft.lab.host import Host
from raft.lab.network import SimulatedNetwork
from raft.lab.setting import DATA_DIR, Setting
from raft.lab.spindle import Spindle
from raft.lab.story import Story
from raft.lab.witness import Witness
from raft.machines.kv import KeyValue
from raft.node.node import Leave, Node
from raft.node.parts import NodeParts, bootstrap
from raft.node.worker import WorkDone
from raft.storage.errors import CorruptLog, StoreError
from raft.storage.record import Identity
from raft.storage.store import Store
from raft.wire import NODE_ACTOR, address_of, process_of

RESTART_SECONDS = 0.5  # A supervisor's patience after a crash.
APPLY_SECONDS = 0.001
DIRECTORY = Path(DATA_DIR)


class SimulatedCrash(BaseException):
    """The process ends here and now, in the middle of a write. No handler may stop it."""


class Condition(enum.Enum):
    """What a member is doing."""

    DOWN = "down"
    UP = "up"
    REFUSED = "refused"  # Its log is damaged, which it has noticed: it does not take part.


class DiskFault(Struct, frozen=True):
    """What is wrong with a disk."""

    slower_seconds: float = 0.0
    full: bool = False
    fails: bool = False


class Observer(Protocol):
    """Whoever judges what members do."""

    def started(self, member: Member) -> None:
        """A life has begun: its store is open, nothing has been said yet."""

    def looked(self, member: Member) -> None:
        """A turn is over."""


class VisibleNode(Node):
    """The production node, with a window."""

    @property
    def raft(self) -> Raft | None:
        """The core; None before the node has started."""
        return getattr(self, "_raft", None)

    def snapshot_of_now(self) -> Snapshot:
        """What is applied, as a snapshot; raises SnapshotTemporarilyUnavailable."""
        return self._snapshot_of_now()


class Events:
    """A node's journal, as lines of the story."""

    def __init__(self, story: Story, name: str) -> None:
        self._story = story
        self._name = name

    def event(self, event: str, message: str, **values: object) -> None:
        """See `Journal`."""
        del values
        self._story.count(event)
        self._story.tell(self._name, message)


class Member:
    """One node. While it is `UP`, `store`, `machine` and `host` belong to its present life."""

    def __init__(
        self,
        node: int,
        *,
        setting: Setting,
        agenda: Agenda,
        network: SimulatedNetwork,
        story: Story,
        observer: Observer,
    ) -> None:
        self.node = node
        self.name = process_of(node)
        self.condition = Condition.DOWN
        self.files = SimulatedFiles()
        self.lives = 0
        self.flipped_bits = 0
        self.store: Store
        self.machine: Witness
        self.host: Host
        self._setting = setting
        self._agenda = agenda
        self._network = network
        self._story = story
        self._observer = observer
        self._dice = setting.dice(f"member {node}")
        self._actor: VisibleNode
        self._disk: Spindle | None = None
        self._applying: Spindle | None = None
        self._faults: dict[int, DiskFault] = {}
        self._fault_at = -1.0
        self._crash_after: int | None = None  # So many more points of a write are passed.
        self._armed: tuple[str, bool] | None = None

    @property
    def up(self) -> bool:
        """Is there a process?"""
        return self.condition is Condition.UP

    @property
    def raft(self) -> Raft | None:
        """The core of the present life, once it has started."""
        return self._actor.raft if self.up else None

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a life, if there is none and the disk lets us; else try again later, or never."""
        if self.condition is not Condition.DOWN:
            return
        self.lives += 1
        self._guard(self._start)

    def _start(self) -> None:
        config = self._setting.config(self.node, self.lives)
        try:
            self.store = Store.open(
                DIRECTORY,
                identity=Identity(config.cluster, self.node),
                files=self.files,
                segment_bytes=self._setting.segment_bytes,
                crash_point=self._pass_point,
                now=self._agenda.now,
            )
            bootstrap(self.store, config)
        except StoreError as error:
            self._could_not_start(error)
            return
        if self.store.recovery.cut_bytes:
            self._story.count("torn tails cut")
        if self.store.recovery.passed_over:
            self._story.count("damaged snapshots passed over")
        self.condition = Condition.UP
        self._story.count("starts")
        self.machine = Witness(KeyValue())
        self.host = Host(
            self.name,
            self.lives,
            agenda=self._agenda,
            network=self._network,
            dice=self._setting.dice(f"runtime {self.node} {self.lives}"),
            is_node=True,
            on_turn=self._looked,
            guard=self._guard,
        )
        self._actor = VisibleNode(
            NodeParts(
                config=config,
                incarnation=self.lives,
                store=self.store,
                machine=self.machine,
                random=self._setting.dice(f"node {self.node} {self.lives}"),
                journal=Events(self._story, self.name),
                disk_worker=self._make_disk,
                apply_worker=self._make_applying if self._setting.apply_on_worker else None,
                leave=self.host.runtime.stop,
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
        """End now, with the power or without it; a write in hand gets as far as the dice say."""
        if not self.up:
            if power:
                self.files.power_cut(self._dice)
            return
        job = self._disk.job_in_hand if self._disk is not None else None
        if job is not None and self._dice.random() < 0.7:
            self._crash_after = self._dice.randrange(4)
            try:
                job()
            except SimulatedCrash:
                self._story.count("writes cut short")
            except StoreError:
                pass  # Nobody is left to be told.
            self._crash_after = None
        self._bury(power=power)

    def arm(self, point: str, *, power: bool) -> None:
        """Die when a write passes that point the next time."""
        self._armed = (point, power)

    def disarm(self) -> None:
        """Do not die at a point of a write any more."""
        self._armed = None

    def pause(self) -> None:
        """SIGSTOP."""
        if self.up:
            self.host.pause()

    def resume(self) -> None:
        """SIGCONT."""
        if self.up and self.host.paused:
            self.host.resume()
            for spindle in self._spindles():
                spindle.resume()

    # -- disk ---------------------------------------------------------------------------------------

    def break_disk(self, number: int, fault: DiskFault) -> None:
        """Let a fault of the disk take effect."""
        self._faults[number] = fault
        self._set_disk()

    def mend_disk(self, number: int | None = None) -> None:
        """End one fault of the disk, or all."""
        if number is None:
            self._faults.clear()
        self._faults.pop(number or 0, None)
        self._set_disk()

    def flip_bit(self, dice: Random) -> None:
        """Change one bit of one file, among those that say something."""
        names = [name for name in self.files.names(DIRECTORY) if self.files.read(DIRECTORY / name)]
        if not names:
            return
        path = DIRECTORY / dice.choice(names)
        used = len(self.files.read(path).rstrip(b"\0"))
        bit = dice.randrange(8 * max(1, used))
        self.files.flip_bit(path, bit)
        self.flipped_bits += 1
        self._story.count("bits flipped")
        self._story.tell(self.name, f"bit {bit} of {path.name} is flipped")

    def snapshot(self, keep: int) -> None:
        """Take a snapshot of what is applied, and forget all entries before it but the last `keep`."""
        raft = self.raft
        if raft is None or self.host.paused or self.machine.last > raft.log.applied:
            return
        try:
            snapshot = self._actor.snapshot_of_now()
        except SnapshotTemporarilyUnavailable:
            return
        index = snapshot.index
        if index <= self.store.snapshot().index:
            return
        self._story.tell(self.name, f"takes a snapshot at {index}")
        self._story.count("snapshots taken")
        self._guard(lambda: self._compact(snapshot, keep))

    def _compact(self, snapshot: Snapshot, keep: int) -> None:
        try:
            self.store.save_snapshot(snapshot)
            if snapshot.index - keep >= self.store.first_index():
                self.store.compact(snapshot.index - keep)
        except StoreError as error:
            self._story.tell(self.name, f"could not keep the snapshot: {error}")

    # -----------------------------------------------------------------------------------------------

    def _make_disk(self, post: Callable[[WorkDone], None]) -> Spindle:
        self._disk = self._spindle(post, self._write_seconds)
        return self._disk

    def _make_applying(self, post: Callable[[WorkDone], None]) -> Spindle:
        self._applying = self._spindle(post, lambda: APPLY_SECONDS * 2 * self._dice.random())
        return self._applying

    def _spindle(self, post: Callable[[WorkDone], None], takes: Callable[[], float]) -> Spindle:
        host = self.host
        return Spindle(
            post, agenda=self._agenda, takes=takes, paused=lambda: host.paused, run=self._guard
        )

    def _spindles(self) -> list[Spindle]:
        return [spindle for spindle in (self._disk, self._applying) if spindle is not None]

    def _write_seconds(self) -> float:
        slower_seconds = max((fault.slower_seconds for fault in self._faults.values()), default=0.0)
        return (self._setting.write_seconds + slower_seconds) * (0.5 + self._dice.random())

    def _set_disk(self) -> None:
        faults = self._faults.values()
        self._fault_at = self._agenda.now()
        self.files.fail_syncs = any(fault.fails for fault in faults)
        self.files.capacity_bytes = 0 if any(fault.full for fault in faults) else None

    def _looked(self) -> None:
        if self.host.runtime.stopped:
            self._ended()
        else:
            self._observer.looked(self)

    def _ended(self) -> None:
        """The runtime has stopped by itself: it was asked to, or the node has failed."""
        self.condition = Condition.DOWN
        for report in self.host.crashes:
            is_disk = report.error.startswith("DiskFailed") and self._disk_was_broken()
            if not is_disk:
                raise AssertionError(f"{self.name} failed in {report.doing}: {report.traceback}")
            self._story.count("stopped by their disk")
            self._story.tell(self.name, f"stops: {report.error}")
        if not self.host.crashes:
            self._story.tell(self.name, "has stopped")
        self._guard(self.store.close)
        self._forget_life()
        self.files.kill()
        self._agenda.after(RESTART_SECONDS * (0.5 + self._dice.random()), self.start)

    def _bury(self, *, power: bool) -> None:
        self.condition = Condition.DOWN
        self.host.vanish(told=not power)
        self._forget_life()
        if power:
            self.files.power_cut(self._dice)
        else:
            self.files.kill()

    def _forget_life(self) -> None:
        for spindle in self._spindles():
            spindle.abandon()
        self._disk = self._applying = None

    def _could_not_start(self, error: StoreError) -> None:
        self.files.kill()
        if isinstance(error, CorruptLog):
            if not self.flipped_bits:
                raise AssertionError(f"{self.name} finds its log damaged, and nobody did that: {error}")
            self.condition = Condition.REFUSED
            self._story.count("damaged logs refused")
            self._story.tell(self.name, f"refuses to start: {error.reason}")
            return
        if not self._disk_was_broken():
            raise AssertionError(f"{self.name} cannot start on a good disk: {error}")
        self._story.tell(self.name, f"cannot start: {error}")
        self._agenda.after(RESTART_SECONDS, self.start)

    def _disk_was_broken(self) -> bool:
        """Is a fault in effect, or was one a moment ago?"""
        return bool(self._faults) or self._agenda.now() - self._fault_at < 2 * RESTART_SECONDS

    def _pass_point(self, point: str) -> None:
        if self._crash_after is not None:
            self._crash_after -= 1
            if self._crash_after < 0:
                raise SimulatedCrash
        elif self._armed is not None and self._armed[0] == point:
            raise SimulatedCrash

    def _guard(self, call: Callable[[], None]) -> None:
        """Call what may pass an armed point, and carry out what follows."""
        try:
            call()
        except SimulatedCrash:
            assert self._armed is not None, "only an armed point ends a process here"
            point, power = self._armed
            self._armed = None
            self._story.count(f"died at {point}")
            self._story.tell(self.name, f"dies at {point}{', its power cut' if power else ''}")
            if self.up:
                self._bury(power=power)
            elif power:
                self.files.power_cut(self._dice)
            else:
                self.files.kill()
            self._agenda.after(RESTART_SECONDS * (0.5 + self._dice.random()), self.start)
