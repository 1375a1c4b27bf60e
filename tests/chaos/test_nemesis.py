"""What the nemesis asks of a launcher, and that nothing it has broken stays broken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from raft.cluster.failures import VerbFailed
from raft.cluster.rpc import messages
from raft.lab.chaos.launcher_client import AsyncLauncherClient
from raft.lab.chaos.nemesis import Nemesis, NotSettled
from raft.lab.chaos.schedule import Fault, Kind, Schedule


def view(node: int, **values: Any) -> messages.NodeView:
    known = {"pid": node, "state": "running", "role": "follower", "commit": 10, "applied": 10}
    return messages.NodeView(id=node, **{**known, **values})


class Launcher:
    """Answers verbs as a launcher would, and remembers them."""

    def __init__(self, *nodes: messages.NodeView, leader: int | None = 1) -> None:
        self.nodes = list(nodes) or [view(node) for node in (1, 2, 3, 4, 5)]
        self.leader = leader
        self.asked: list[Any] = []
        self.faults = 0
        self.refuse: Callable[[object], str] = lambda verb: ""

    async def ask(self, verb: object, expected: type, timeout_seconds: float = 0.0) -> object:
        del timeout_seconds
        if isinstance(verb, messages.GetClusterStatus):
            return messages.ClusterStatus(
                cluster="c", leader=self.leader, term=1, voters=0, alive=0, can_lose=0, nodes=self.nodes
            )
        self.asked.append(verb)
        if reason := self.refuse(verb):
            raise VerbFailed(reason)
        self.faults += 1
        assert expected is messages.Done
        return messages.Done([f"partition#{self.faults}  n1 | n2"])

    def of(self, kind: type) -> list[Any]:
        return [verb for verb in self.asked if isinstance(verb, kind)]


def inflict(launcher: Launcher, *faults: Fault) -> Nemesis:
    async def run() -> Nemesis:
        loop = asyncio.get_running_loop()
        nemesis = Nemesis(cast(AsyncLauncherClient, launcher), loop.time, lambda text: None)
        await nemesis.run(Schedule(seed=1, duration_seconds=1.0, faults=faults))
        return nemesis

    return asyncio.run(run())


def heal(launcher: Launcher, size: int, seconds: float = 0.0) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        nemesis = Nemesis(cast(AsyncLauncherClient, launcher), loop.time, lambda text: None)
        await nemesis.heal(size, seconds)

    asyncio.run(run())


def test_numbers_are_places_among_the_members_of_the_moment() -> None:
    launcher = Launcher(view(2), view(7), view(9))
    inflict(launcher, Fault(at_seconds=0.0, kind=Kind.KILL, nodes="1,3,5"))
    assert [verb.selector for verb in launcher.of(messages.Kill)] == ["2,9,7"]


def test_words_stay_words() -> None:
    launcher = Launcher()
    inflict(launcher, Fault(at_seconds=0.0, kind=Kind.PAUSE, nodes="leader", seconds=0.001))
    assert launcher.of(messages.Pause) == [messages.Pause("leader", 0.001)]


def test_each_fault_of_the_network_is_cleared_by_its_number() -> None:
    launcher = Launcher()
    inflict(launcher, Fault(at_seconds=0.0, kind=Kind.ISOLATE, nodes="2", seconds=0.001))
    assert launcher.asked == [messages.Isolate("2"), messages.ClearFaults([1])]


def test_a_fault_that_not_all_nodes_have_confirmed_is_cleared_all_the_same() -> None:
    launcher = Launcher()
    launcher.refuse = lambda verb: (
        "n3 did not confirm: isolate#42  n2" if isinstance(verb, messages.Isolate) else ""
    )
    inflict(launcher, Fault(at_seconds=0.0, kind=Kind.ISOLATE, nodes="2", seconds=0.001))
    assert launcher.of(messages.ClearFaults) == [messages.ClearFaults([42])]


def test_what_cannot_be_done_is_noted_and_stops_nothing() -> None:
    launcher = Launcher()
    launcher.refuse = lambda verb: "there is no leader" if isinstance(verb, messages.HandOver) else ""
    nemesis = inflict(
        launcher,
        Fault(at_seconds=0.0, kind=Kind.TRANSFER),
        Fault(at_seconds=0.001, kind=Kind.SNAPSHOT, nodes="all"),
    )
    assert [fault.refused for fault in nemesis.injected_faults] == ["there is no leader", ""]
    assert launcher.of(messages.ForceSnapshot)


def test_flapping_breaks_and_mends_again_and_again() -> None:
    launcher = Launcher()
    flapping = Fault(at_seconds=0.0, kind=Kind.ISOLATE, nodes="2", seconds=0.05, every_seconds=0.01)
    inflict(launcher, flapping)
    assert len(launcher.of(messages.Isolate)) > 1
    assert len(launcher.of(messages.Isolate)) == len(launcher.of(messages.ClearFaults))


@pytest.mark.parametrize("size", [4, 5, 6, 7, 9])
def test_in_a_ring_each_hears_a_majority_and_no_two_the_same(size: int) -> None:
    nodes = list(range(1, size + 1))
    launcher = Launcher(*(view(node) for node in nodes))
    inflict(launcher, Fault(at_seconds=0.0, kind=Kind.RING, nodes=",".join(map(str, nodes)), seconds=0.001))
    cuts = {frozenset(map(int, verb.groups)) for verb in launcher.of(messages.Partition)}
    heard = [frozenset(other for other in nodes if {node, other} not in cuts) for node in nodes]
    assert cuts
    assert all(len(group) > size // 2 for group in heard)
    assert len(set(heard)) == size
    assert len(launcher.of(messages.ClearFaults)) == len(cuts)


def test_disks_are_told_to_lose_what_is_not_synced_before_the_power_is_cut() -> None:
    launcher = Launcher()
    inflict(launcher, Fault(at_seconds=0.0, kind=Kind.POWER_CUT, nodes="all"))
    assert launcher.asked == [messages.BreakDisk("all", lose_unsynced=True), messages.Kill("all", 0.0, "now")]


def test_healing_ends_when_all_nodes_have_applied_the_same() -> None:
    heal(Launcher(), 5, 1.0)


@pytest.mark.parametrize(
    ("launcher", "size", "deed"),
    [
        (Launcher(view(1), view(2, state="down")), 2, messages.Start("2")),
        (Launcher(view(1), view(2, state="gave-up")), 2, messages.Start("2")),
        (Launcher(view(1), view(2, votes=False)), 2, messages.PromoteMember("2")),
        (Launcher(view(1), view(2)), 3, messages.AddMember()),
    ],
)
def test_healing_brings_up_who_is_down_and_fills_up_who_is_missing(
    launcher: Launcher, size: int, deed: object
) -> None:
    with pytest.raises(NotSettled):
        heal(launcher, size, 0.01)
    assert deed in launcher.asked
    assert messages.ClearFaults() in launcher.asked


@pytest.mark.parametrize(
    ("launcher", "reason"),
    [
        (Launcher(leader=None), "no leader"),
        (Launcher(view(1), view(2, state="paused")), "paused"),
        (Launcher(view(1), view(2, applied=9)), "applied up to"),
        (Launcher(view(1), view(2, applied=None)), "applied up to"),
    ],
)
def test_who_is_not_well_in_time_is_told_why(launcher: Launcher, reason: str) -> None:
    with pytest.raises(NotSettled, match=reason):
        heal(launcher, len(launcher.nodes), 0.01)
