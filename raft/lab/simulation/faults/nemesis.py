"""Carries out the faults of a plan.

Owns the effect of each kind of fault on the world, and its end. Knows nothing of how a plan is made, or of
its consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from random import Random

from msgspec import structs

from actors.transport import faults as network_faults
from raft.core.types import Role
from raft.lab.simulation.clients.membership_operator import MembershipOperator
from raft.lab.simulation.event_queue import EventQueue
from raft.lab.simulation.faults.plan import LEADER, Fault, Kind
from raft.lab.simulation.hosts.drive import DiskFault
from raft.lab.simulation.hosts.host import Host
from raft.lab.simulation.hosts.member import Member
from raft.lab.simulation.hosts.network import SimulatedNetwork, Trouble
from raft.lab.simulation.run_log import RunLog
from raft.protocol.admin import Transfer
from raft.protocol.registry import address_of, process_of

TRANSFER_SECONDS = 1.0
CLOSED_SHARE = 0.4  # Of all isolations; in the others the connections only fall silent.


class Nemesis:
    """Injects faults into `members` and `network`. After `rest` there are no faults, and no new ones."""

    def __init__(
        self,
        *,
        members: Mapping[int, Member],
        network: SimulatedNetwork,
        event_queue: EventQueue,
        run_log: RunLog,
        launcher: Host,
        operator: MembershipOperator,
        dice: Random,
    ) -> None:
        self._members = members
        self._network = network
        self._event_queue = event_queue
        self._run_log = run_log
        self._launcher = launcher
        self._operator = operator
        self._dice = dice
        self._numbers = count(1)
        self._resting = False

    def plan(self, fault: Fault) -> None:
        """Schedule a fault."""
        self._event_queue.at(fault.at_seconds, partial(self._begin, fault))

    def rest(self) -> None:
        """End all faults, and start all nodes that are down."""
        self._resting = True
        self._network.clear()
        for member in self._members.values():
            member.drive.disarm()
            member.drive.mend()
            member.resume()
            member.start()

    def _begin(self, fault: Fault) -> None:
        if self._resting:
            return
        self._run_log.count(f"fault: {fault.kind.value}")
        self._run_log.tell("FAULT", fault.describe())
        _BREAKS[fault.kind](self, fault)

    def _later(self, fault: Fault, mend: Callable[[], object]) -> None:
        def end() -> None:
            if not self._resting:
                mend()

        self._event_queue.after(fault.seconds, end)

    def _victims(self, fault: Fault) -> list[Member]:
        chosen = []
        for node in fault.nodes:
            if node != LEADER:
                chosen.append(self._members[node])
                continue
            leaders = [member for member in self._members.values() if _leads(member)]
            chosen += leaders[-1:] or [self._dice.choice(list(self._members.values()))]
        return chosen

    # -- processes ----------------------------------------------------------------------------------

    def _kill(self, fault: Fault) -> None:
        for member in self._victims(fault):
            self._end(fault, member, power=False)

    def _cut_power(self, fault: Fault) -> None:
        """At once, or in the middle of the next write, which may be torn."""
        for member in self._victims(fault):
            if fault.amount < 0.5:
                member.drive.arm("save.written", power=True)
            else:
                self._end(fault, member, power=True)

    def _black_out(self, fault: Fault) -> None:
        for member in self._members.values():
            self._end(fault, member, power=True)

    def _end(self, fault: Fault, member: Member, *, power: bool) -> None:
        if member.up:
            self._run_log.count("power cuts" if power else "kills")
        member.die(power=power)
        self._later(fault, member.start)

    def _arm(self, fault: Fault) -> None:
        for member in self._victims(fault):
            member.drive.arm(fault.detail, power=fault.amount < 0.6)
            self._event_queue.after(10 * fault.seconds, partial(_disarm, member))

    def _stop(self, fault: Fault) -> None:
        for member in self._victims(fault):
            member.leave()

    def _pause(self, fault: Fault) -> None:
        for member in self._victims(fault):
            member.pause()
            self._later(fault, member.resume)

    def _transfer(self, fault: Fault) -> None:
        for member in self._victims(fault):
            runtime = self._launcher.runtime
            runtime.ask(address_of(member.node), Transfer(), TRANSFER_SECONDS).then(_ignore, _ignore)
            self._launcher.stir()

    # -- members ------------------------------------------------------------------------------------

    def _add_member(self, fault: Fault) -> None:
        del fault
        self._operator.grow()

    def _remove_member(self, fault: Fault) -> None:
        for member in self._victims(fault):
            self._operator.shrink(member.node)

    def _replace_member(self, fault: Fault) -> None:
        for member in self._victims(fault):
            self._operator.swap(member.node)

    def _wipe_disk(self, fault: Fault) -> None:
        for member in self._victims(fault):
            self._operator.wipe(member)

    # -- network ------------------------------------------------------------------------------------

    def _cut(self, fault: Fault, pairs: set[tuple[int, int]]) -> None:
        """Cut these links."""
        for source, target in sorted(pairs):
            names = self._members[source].name, self._members[target].name
            cut = network_faults.Fault(cut=True)
            self._trouble(fault, Trouble((names[0],), (names[1],), cut))

    def _trouble(self, fault: Fault, trouble: Trouble) -> None:
        number = self._network.add(trouble)
        self._later(fault, lambda: self._network.clear(number))

    def _partition(self, fault: Fault) -> None:
        size = 1 + int(fault.amount * (len(fault.nodes) - 1))
        one = set(fault.nodes[:size])
        other = set(self._members) - one
        self._cut(fault, {(a, b) for a in one for b in other} | {(b, a) for a in one for b in other})

    def _bridge(self, fault: Fault) -> None:
        half = len(fault.nodes) // 2
        one, other = fault.nodes[:half], fault.nodes[half + 1 :]
        self._cut(fault, {(a, b) for a in one for b in other} | {(b, a) for a in one for b in other})

    def _ring(self, fault: Fault) -> None:
        size = len(fault.nodes)
        places = {
            (i, j) for i in range(size) for j in range(size) if i != j and (i - j) % size not in (1, size - 1)
        }
        self._cut(fault, {(fault.nodes[i], fault.nodes[j]) for i, j in places})

    def _isolate(self, fault: Fault) -> None:
        for member in self._victims(fault):
            others = [node for node in self._members if node != member.node]
            self._cut(fault, {(member.node, b) for b in others} | {(b, member.node) for b in others})
            if fault.amount > CLOSED_SHARE:
                self._network.close_connections(member.name, [process_of(node) for node in others])

    def _cut_one_way(self, fault: Fault) -> None:
        """The others do not hear a node, or it hears none, or it does not hear one other node."""
        for member in self._victims(fault):
            others = [node for node in self._members if node != member.node]
            if fault.amount < 0.3:
                others = others[int(fault.amount * 1000) % len(others) :][:1] if others else []
            pairs = {(member.node, other) for other in others}
            self._cut(fault, pairs if fault.amount < 0.65 else {(b, a) for a, b in pairs})

    def _slow_links(self, fault: Fault) -> None:
        delay_seconds = 0.3 * fault.amount
        slow = network_faults.Fault(delay_seconds=delay_seconds, jitter_seconds=2 * delay_seconds)
        self._everywhere(fault, slow)

    def _spoil_links(self, fault: Fault) -> None:
        share = 0.4 * fault.amount
        late_seconds = 3.0 * fault.amount
        bad = network_faults.Fault(drop=share, duplicate=share, reorder=share, reorder_seconds=late_seconds)
        self._everywhere(fault, bad)

    def _everywhere(self, fault: Fault, trouble: network_faults.Fault) -> None:
        names = tuple(member.name for member in self._members.values())
        self._trouble(fault, Trouble(names, names, trouble))

    # -- disks --------------------------------------------------------------------------------------

    def _break_disk(self, fault: Fault, disk: DiskFault) -> None:
        for member in self._victims(fault):
            number = next(self._numbers)
            member.drive.spoil(number, disk)
            self._later(fault, partial(member.drive.mend, number))

    def _slow_disk(self, fault: Fault) -> None:
        self._break_disk(fault, DiskFault(slower_seconds=3.0 * fault.amount**3))

    def _write_late(self, fault: Fault) -> None:
        """A node and the leader are cut off together, for as long as the others need to elect another one.

        Writes from the old leader are then still in progress when the new leader replaces them.
        """
        (victim,) = self._victims(fault)
        leaders = {member.node for member in self._members.values() if _leads(member)} - {victim.node}
        pair = {victim.node, min(leaders, default=victim.node)}
        others = set(self._members) - pair
        self._cut(fault, {(a, b) for a in pair for b in others} | {(b, a) for a in pair for b in others})
        number = next(self._numbers)
        victim.drive.spoil(number, DiskFault(slower_seconds=fault.seconds))
        self._event_queue.after(2 * fault.seconds, partial(victim.drive.mend, number))

    def _fill_disk(self, fault: Fault) -> None:
        self._break_disk(fault, DiskFault(full=True))

    def _fail_disk(self, fault: Fault) -> None:
        self._break_disk(fault, DiskFault(fails=True))

    def _flip_bit(self, fault: Fault) -> None:
        for member in self._victims(fault):
            self._end(fault, member, power=fault.amount < 0.5)
            if member.incarnation:
                member.drive.flip_bit(self._dice)

    def _lose_segment(self, fault: Fault) -> None:
        for member in self._victims(fault):
            self._end(fault, member, power=fault.amount < 0.5)
            if member.incarnation:
                member.drive.lose_last_segment()

    def _rot_snapshot(self, fault: Fault) -> None:
        """Two nodes fall behind; one gets a snapshot, which rots, and leads when the other one needs it."""
        (victim,) = self._victims(fault)
        nodes = [*self._members]
        behind = nodes[(nodes.index(victim.node) + 1) % len(nodes)]
        for node, seconds in ((victim.node, fault.seconds), (behind, 2 * fault.seconds)):
            others = [other for other in nodes if other != node]
            cut = structs.replace(fault, seconds=seconds)
            self._cut(cut, {(node, b) for b in others} | {(b, node) for b in others})
        for member in self._members.values():
            self._event_queue.after(fault.seconds * 0.9, member.snapshot)
        self._event_queue.after(1.9 * fault.seconds, partial(self._rot_and_lead, victim))

    def _rot_and_lead(self, victim: Member) -> None:
        if self._resting or not victim.up or not victim.drive.rot_snapshot(self._dice):
            return
        for member in self._members.values():
            if _leads(member) and member is not victim:
                runtime = self._launcher.runtime
                asked = runtime.ask(address_of(member.node), Transfer(victim.node), TRANSFER_SECONDS)
                asked.then(_ignore, _ignore)
        self._launcher.stir()

    def _write_back(self, fault: Fault) -> None:
        for member in self._victims(fault):
            member.drive.files.write_back()

    def _snapshot(self, fault: Fault) -> None:
        for member in self._victims(fault):
            member.snapshot()


_BREAKS: Mapping[Kind, Callable[[Nemesis, Fault], None]] = {
    Kind.KILL: Nemesis._kill,
    Kind.POWER_CUT: Nemesis._cut_power,
    Kind.BLACKOUT: Nemesis._black_out,
    Kind.CRASH_POINT: Nemesis._arm,
    Kind.STOP: Nemesis._stop,
    Kind.PAUSE: Nemesis._pause,
    Kind.PARTITION: Nemesis._partition,
    Kind.ISOLATION: Nemesis._isolate,
    Kind.ONE_WAY: Nemesis._cut_one_way,
    Kind.BRIDGE: Nemesis._bridge,
    Kind.RING: Nemesis._ring,
    Kind.SLOW_LINKS: Nemesis._slow_links,
    Kind.BAD_LINKS: Nemesis._spoil_links,
    Kind.SLOW_DISK: Nemesis._slow_disk,
    Kind.LATE_WRITE: Nemesis._write_late,
    Kind.FULL_DISK: Nemesis._fill_disk,
    Kind.FAILING_DISK: Nemesis._fail_disk,
    Kind.BIT_FLIP: Nemesis._flip_bit,
    Kind.LOST_SEGMENT: Nemesis._lose_segment,
    Kind.SNAPSHOT_ROT: Nemesis._rot_snapshot,
    Kind.WRITE_BACK: Nemesis._write_back,
    Kind.SNAPSHOT: Nemesis._snapshot,
    Kind.TRANSFER: Nemesis._transfer,
    Kind.GROWTH: Nemesis._add_member,
    Kind.REMOVAL: Nemesis._remove_member,
    Kind.REPLACEMENT: Nemesis._replace_member,
    Kind.WIPE: Nemesis._wipe_disk,
}


def _leads(member: Member) -> bool:
    raft = member.raft
    return raft is not None and raft.role is Role.LEADER


def _disarm(member: Member) -> None:
    member.drive.disarm()


def _ignore(_result: object) -> None:
    """The outcome shows in what follows."""
