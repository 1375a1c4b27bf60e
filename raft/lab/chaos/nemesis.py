"""Carries out a schedule on a running cluster, by the launcher's verbs.

Owns the requests for each kind of fault, its end, and that everything is healthy after `heal`. Knows nothing
of how a schedule is made, or of its consequences.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct

from raft.cluster.failures import VerbFailed
from raft.cluster.rpc import messages
from raft.lab.chaos.launcher_client import AsyncLauncherClient
from raft.lab.chaos.schedule import Fault, Kind, Schedule
from raft.protocol.admin import AT_ONCE

MEMBER_SECONDS_MAX = 60.0
ROLLING_SECONDS_MAX = 120.0
SNAPSHOT_SECONDS_MAX = 20.0
SETTLE_PAUSE_SECONDS = 0.1
_FAULT_ID = re.compile(r"\b[a-z-]+#([0-9]+)\b")

Now = Callable[[], float]
Tell = Callable[[str], None]


class InjectedFault(Struct):
    """What was actually injected, and when, on the run's clock; `end` is None while it lasts.

    `refused` is why it could not be injected, or not wholly.
    """

    fault: Fault
    begin: float
    end: float | None = None
    refused: str = ""


class NotSettled(VerbFailed):
    """The cluster did not recover in time."""


class Nemesis:
    """Injects faults into one cluster.

    `now` is the run's clock; `tell` receives a description of each fault.
    """

    def __init__(self, launcher: AsyncLauncherClient, now: Now, tell: Tell) -> None:
        self.injected_faults: list[InjectedFault] = []
        self._zero = now()
        self._launcher = launcher
        self._now = now
        self._tell = tell

    async def run(self, schedule: Schedule) -> None:
        """Carry out all faults, each at its time; returns when the last has ended."""
        self._zero = self._now()
        if any(fault.kind is Kind.POWER_CUT for fault in schedule.faults):
            # From the beginning, so that there is data to lose; crash points are power cuts then, too.
            await self._injected(messages.BreakDisk("all", lose_unsynced=True))
        async with asyncio.TaskGroup() as group:
            for fault in schedule.faults:
                group.create_task(self._inject(fault))

    async def heal(self, size: int, seconds_max: float) -> list[int]:
        """End all faults, start nodes that are down, and wait until `size` nodes agree; returns their ids.

        Raises NotSettled.
        """
        deadline = self._now() + seconds_max
        reason = "there was no attempt"
        while self._now() < deadline:
            try:
                await self._launcher.ask(messages.ClearFaults(), messages.Done)
                reason = await self._repair_step(size)
            except VerbFailed as failure:
                reason = str(failure)
            if not reason:
                return await self._members()
            await asyncio.sleep(SETTLE_PAUSE_SECONDS)
        raise NotSettled(f"the cluster has not settled within {seconds_max:g} s: {reason}")

    async def _repair_step(self, size: int) -> str:
        """Start nodes that are down and add missing members; returns what is still wrong, or ""."""
        status = await self._status()
        down = [node.id for node in status.nodes if node.state in ("down", "gave-up")]
        if down:
            await self._launcher.ask(messages.Start(_joined(down)), messages.Done)
            return "nodes were down"
        if status.leader is None:
            return "there is no leader"
        learners = [node.id for node in status.nodes if not node.votes]
        if learners:
            await self._launcher.ask(
                messages.PromoteMember(str(learners[0])), messages.Done, MEMBER_SECONDS_MAX
            )
            return "a learner was left"
        if len(status.nodes) < size:
            await self._launcher.ask(messages.AddMember(), messages.Done, MEMBER_SECONDS_MAX)
            return "members were missing"
        states = {node.state for node in status.nodes} - {"running"}
        if states:
            return f"nodes are {', '.join(sorted(states))}"
        applied = {node.applied for node in status.nodes} | {node.commit for node in status.nodes}
        return "" if len(applied) == 1 and None not in applied else f"nodes have applied up to {applied}"

    async def _status(self) -> messages.ClusterStatus:
        return await self._launcher.ask(messages.GetClusterStatus(), messages.ClusterStatus)

    # -- one fault ----------------------------------------------------------------------------------

    async def _inject(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, self._zero + fault.at_seconds - self._now()))
        injected = InjectedFault(fault, self._now())
        self.injected_faults.append(injected)
        self._tell(fault.describe())
        try:
            await _ACTIONS[fault.kind](self, fault)
        except VerbFailed as refusal:
            # There is no leader, or the node is down already: then there is nothing to inject.
            injected.refused = str(refusal)
            self._tell(f"{fault.describe()}: {refusal}")
        injected.end = self._now()

    async def _do(self, verb: object, timeout_seconds: float = 30.0) -> list[str]:
        return (await self._launcher.ask(verb, messages.Done, timeout_seconds)).lines

    async def _members(self) -> list[int]:
        return [node.id for node in (await self._status()).nodes]

    async def _nodes(self, text: str) -> str:
        """Turn positions into ids: those of the present members, in order, modulo their number."""
        if not any(character.isdigit() for character in text.replace("random:", "")):
            return text
        members = await self._members()
        parts = [part.strip() for part in text.split(",")]
        return ",".join(_id_at(part, members) for part in parts)

    async def _broken(self, fault: Fault, injected_faults: Sequence[object]) -> None:
        """Keep orders in force while the fault lasts; alternately on and off if it is to flap."""
        if not fault.every_seconds:
            await self._for(fault.seconds, injected_faults)
            return
        until_seconds = self._now() + fault.seconds
        while (left_seconds := until_seconds - self._now()) > 0:
            await self._for(min(fault.every_seconds, left_seconds), injected_faults)
            await asyncio.sleep(min(fault.every_seconds, max(0.0, until_seconds - self._now())))

    async def _for(self, seconds: float, orders: Sequence[object]) -> None:
        begun = self._now()
        ids: list[int] = []
        try:
            for order in orders:
                ids += await self._injected(order)
            await asyncio.sleep(max(0.0, begun + seconds - self._now()))
        finally:
            for number in ids:
                await self._mend(number)

    async def _injected(self, order: object) -> list[int]:
        """The ids of the faults; a fault that some nodes have not confirmed takes effect all the same."""
        try:
            return _ids_in("\n".join(await self._do(order)))
        except VerbFailed as failure:
            ids = _ids_in(str(failure))
            if not ids:
                raise
            return ids

    async def _mend(self, number: int) -> None:
        try:
            await self._do(messages.ClearFaults([number]))
        except VerbFailed:
            return  # It has ended already: after a disk fault, the next process has a healthy disk.

    # -- processes ------------------------------------------------------------------------------------

    async def _kill(self, fault: Fault) -> None:
        await self._do(messages.Kill(await self._nodes(fault.nodes), fault.seconds))
        await asyncio.sleep(fault.seconds)

    async def _crash(self, fault: Fault) -> None:
        """A node that has not passed the point by the end stays alive."""
        order = messages.Kill(await self._nodes(fault.nodes), min(0.3, fault.seconds), fault.point)
        await self._broken(fault, [order])

    async def _cut_power(self, fault: Fault) -> None:
        """The disks lose unsynced writes: `run` has prepared them for that."""
        nodes = await self._nodes(fault.nodes)
        await self._do(messages.Kill(nodes, fault.seconds, AT_ONCE))
        await asyncio.sleep(fault.seconds)

    async def _clock(self, fault: Fault) -> None:
        await self._broken(fault, [messages.SetClockRate(await self._nodes(fault.nodes), fault.rate)])

    async def _restart(self, fault: Fault) -> None:
        nodes = await self._nodes(fault.nodes)
        await self._do(messages.Restart(nodes, rolling=fault.nodes == "all"), ROLLING_SECONDS_MAX)

    async def _pause(self, fault: Fault) -> None:
        await self._do(messages.Pause(await self._nodes(fault.nodes), fault.seconds))
        await asyncio.sleep(fault.seconds)

    # -- network --------------------------------------------------------------------------------------

    async def _partition(self, fault: Fault) -> None:
        groups = [await self._nodes(group) for group in fault.groups]
        await self._broken(fault, [messages.Partition(groups, fault.one_way)])

    async def _isolate(self, fault: Fault) -> None:
        await self._broken(fault, [messages.Isolate(await self._nodes(fault.nodes))])

    async def _ring(self, fault: Fault) -> None:
        """Each node keeps as many neighbours on each side as make it a majority with itself."""
        nodes = (await self._nodes(fault.nodes)).split(",")
        size = len(nodes)
        near = -(-(size // 2) // 2)
        cuts = [
            messages.Partition([one, other])
            for (i, one), (j, other) in itertools.combinations(enumerate(nodes), 2)
            if near < j - i < size - near
        ]
        await self._broken(fault, cuts)

    async def _link(self, fault: Fault) -> None:
        order = messages.Link(
            await self._nodes(fault.nodes),
            await self._nodes(fault.to),
            fault.both,
            fault.delay_seconds,
            fault.jitter_seconds,
            fault.drop,
            fault.duplicate,
            fault.reorder,
        )
        await self._broken(fault, [order])

    # -- disks ----------------------------------------------------------------------------------------

    async def _disk(self, fault: Fault) -> None:
        nodes = await self._nodes(fault.nodes)
        order = messages.BreakDisk(nodes, fault.fsync_delay_seconds, fault.full, fault.fail_fsync)
        await self._broken(fault, [order])

    async def _snapshot(self, fault: Fault) -> None:
        await self._do(messages.ForceSnapshot(await self._nodes(fault.nodes)), SNAPSHOT_SECONDS_MAX)

    # -- leadership and members ---------------------------------------------------------------------

    async def _transfer(self, fault: Fault) -> None:
        await self._do(messages.HandOver(await self._nodes(fault.nodes)))

    async def _grow(self, _fault: Fault) -> None:
        await self._do(messages.AddMember(), MEMBER_SECONDS_MAX)

    async def _shrink(self, fault: Fault) -> None:
        await self._do(messages.RemoveMember(await self._nodes(fault.nodes)), MEMBER_SECONDS_MAX)

    async def _replace(self, fault: Fault) -> None:
        await self._do(messages.ReplaceMember(await self._nodes(fault.nodes)), MEMBER_SECONDS_MAX)


_ACTIONS: Mapping[Kind, Callable[[Nemesis, Fault], Awaitable[None]]] = {
    Kind.KILL: Nemesis._kill,
    Kind.POWER_CUT: Nemesis._cut_power,
    Kind.CRASH: Nemesis._crash,
    Kind.RESTART: Nemesis._restart,
    Kind.PAUSE: Nemesis._pause,
    Kind.PARTITION: Nemesis._partition,
    Kind.ISOLATE: Nemesis._isolate,
    Kind.RING: Nemesis._ring,
    Kind.LINK: Nemesis._link,
    Kind.DISK: Nemesis._disk,
    Kind.CLOCK: Nemesis._clock,
    Kind.SNAPSHOT: Nemesis._snapshot,
    Kind.TRANSFER: Nemesis._transfer,
    Kind.GROW: Nemesis._grow,
    Kind.SHRINK: Nemesis._shrink,
    Kind.REPLACE: Nemesis._replace,
}


def _ids_in(text: str) -> list[int]:
    return [int(found) for found in _FAULT_ID.findall(text)]


def _id_at(part: str, members: Sequence[int]) -> str:
    place = part.removeprefix("n")
    return str(members[(int(place) - 1) % len(members)]) if place.isdigit() else part


def _joined(nodes: Sequence[int]) -> str:
    return ",".join(map(str, nodes))
