"""Random saves, crashes at every step and reopenings, against a model of what may be found afterwards."""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field

import pytest

from raft.core.types import Entry, HardState, Index, Snapshot
from raft.lab.simulation.hosts.disk import SimulatedFiles
from raft.storage.device import CRASH_POINTS
from raft.storage.store import Store
from tests.storage.support import Crash, entry, log_of, open_store, snapshot


@dataclass
class Model:
    """What a store holds. A crash may leave what was, or what was about to be; never anything between."""

    state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    log: dict[Index, Entry] = field(default_factory=dict)

    @property
    def last(self) -> Index:
        return max(self.log, default=self.snapshot.index)

    def agrees_with(self, store: Store) -> bool:
        state = store.initial_state()[0]
        return (
            (state.term, state.vote) == (self.state.term, self.state.vote)
            and store.snapshot() == self.snapshot
            and store.last_index() == self.last
            and log_of(store) == [self.log[index] for index in range(store.first_index(), self.last + 1)]
            and self.snapshot.index <= state.commit <= self.state.commit
        )


class World:
    """A store, its model, and the step that will crash it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.files = SimulatedFiles()
        self.passed: set[str] = set()
        self.steps_left: int | None = None
        self.now = Model()
        self.next = self.now
        self.segment_bytes = self.dice.choice([512, 1024, 4096])
        self.store = self.open()

    def open(self) -> Store:
        return open_store(self.files, segment_bytes=self.segment_bytes, crash_point=self.crash_point)

    def crash_point(self, name: str) -> None:
        self.passed.add(name)
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.steps_left = None
                raise Crash(name)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            if self.dice.random() < 0.15:
                self.steps_left = self.dice.randrange(8)
            action = self.dice.choice(
                [self.append, self.append, self.append, self.commit, self.snap, self.install]
            )
            self.next = copy.copy(self.now)
            self.next.log = dict(self.now.log)
            try:
                action()
                self.now = self.next
            except Crash as crash:
                self.recover(str(crash))
            if self.dice.random() < 0.05:
                self.recover("any time")

    def recover(self, where: str) -> None:
        while True:
            if self.dice.random() < 0.7:
                self.files.power_cut(self.dice)
            else:
                self.files.kill()
            self.steps_left = self.dice.randrange(8) if self.dice.random() < 0.2 else None
            try:
                self.store = self.open()
                break
            except Crash as crash:
                where = f"{where}, then {crash}"
        self.steps_left = None
        found = [model for model in (self.next, self.now) if model.agrees_with(self.store)]
        assert found, f"after a crash at {where}: {self.store.recovery}, {self.store.initial_state()}"
        self.now = found[0]
        self.now.state = self.store.initial_state()[0]

    def append(self) -> None:
        old = self.now
        first = self.dice.randint(old.state.commit + 1, old.last + 1)
        term = old.state.term + (self.dice.random() < 0.3 or first <= old.last)
        vote = old.state.vote if term == old.state.term and old.state.vote else self.dice.randrange(3)
        state = HardState(term, vote, self.dice.randint(old.state.commit, first - 1))
        size = self.dice.choice([0, 10, 100, 2000])
        new = [
            entry(term, index, self.dice.randbytes(size))
            for index in range(first, first + self.dice.randint(1, 5))
        ]
        self.next.state = state
        self.next.log = {index: old.log[index] for index in old.log if index < first} | {
            each.index: each for each in new
        }
        self.store.save(state, new, None)

    def commit(self) -> None:
        old = self.now.state
        self.next.state = HardState(old.term, old.vote, self.dice.randint(old.commit, self.now.last))
        self.store.save(self.next.state, [], None)

    def snap(self) -> None:
        newest, commit = self.now.snapshot.index, self.now.state.commit
        if commit == newest:
            return
        index = self.dice.randint(newest + 1, commit)
        self.next.snapshot = snapshot(index, self.now.log[index].term, self.dice.randbytes(700))
        self.store.save_snapshot(self.next.snapshot)
        self.now = self.next
        self.store.compact(self.dice.randint(newest, index))

    def install(self) -> None:
        if self.dice.random() < 0.7:
            return
        term = self.now.state.term + 1
        index = self.now.last + self.dice.randint(0, 9)
        if index <= self.now.state.commit:
            return
        self.next.state = HardState(term, 0, index)
        self.next.snapshot = snapshot(index, term, self.dice.randbytes(700))
        self.next.log = {index + 1: entry(term, index + 1)} if self.dice.random() < 0.5 else {}
        self.store.save(self.next.state, list(self.next.log.values()), self.next.snapshot)


@pytest.mark.parametrize("seeds", range(8))
def test_a_crash_leaves_the_state_before_or_after_the_write(seeds: int) -> None:
    passed: set[str] = set()
    for seed in range(seeds * 100, seeds * 100 + 100):
        world = World(seed)
        try:
            world.run(60)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        passed |= world.passed
    assert passed == set(CRASH_POINTS), "each point is passed"
