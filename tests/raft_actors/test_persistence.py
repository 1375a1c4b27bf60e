"""Actors whose state is a fold of events on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from actors import Request, Restart, Runtime, answers, handles
from actors.errors import AskFailed, TargetDown
from raft.actors.persistence import PersistentActor
from raft.storage.errors import StoreFull
from raft.storage.record import Identity
from raft.storage.store import Store
from tests.actors.world import Bomb, World, outcome


class Deposited(msgspec.Struct, frozen=True):
    amount: int


class Withdrawn(msgspec.Struct, frozen=True):
    amount: int


class Deposit(Request[int], frozen=True):
    amount: int


class Withdraw(Request[int], frozen=True):
    amount: int


class Balance(Request[int], frozen=True):
    pass


class Account(PersistentActor):
    events: ClassVar[Mapping[int, type]] = {1: Deposited, 2: Withdrawn}
    snapshot_type: ClassVar[type] = int
    sync: ClassVar[bool] = False

    def __init__(self, directory: Path, persistence_id: str = "alice") -> None:
        super().__init__(str(directory), persistence_id)
        self.balance = 0

    def apply(self, event: Any) -> None:
        self.balance += event.amount if isinstance(event, Deposited) else -event.amount

    def take_snapshot(self) -> int:
        return self.balance

    def load_snapshot(self, snapshot: int) -> None:
        self.balance = snapshot

    @handles(Deposit)
    def deposit(self, deposit: Deposit) -> None:
        self.persist(Deposited(deposit.amount), reply=self.balance + deposit.amount)

    @handles(Withdraw)
    def withdraw(self, withdraw: Withdraw) -> None:
        if withdraw.amount > self.balance:
            self.context.refuse(f"there are only {self.balance}")
        else:
            self.persist(Withdrawn(withdraw.amount), reply=self.balance - withdraw.amount)

    @answers(Balance)
    def tell_balance(self, balance: Balance) -> int:
        return self.balance

    @handles(Bomb)
    def explode(self, bomb: Bomb) -> None:
        raise RuntimeError("boom")


class Often(Account):
    snapshot_every: ClassVar[int] = 5


class Bank:
    """One incarnation of a process with an account."""

    def __init__(self, directory: Path, kind: type[Account] = Account) -> None:
        self.world = World()
        self.runtime: Runtime = self.world.process("a")
        self.account = self.runtime.spawn(lambda: kind(directory), "account")
        self.world.settle()

    def ask(self, *messages: object) -> list[Any]:
        ends = [outcome(self.runtime.ask(self.account, message, 1.0)) for message in messages]
        self.world.settle()
        return [end[0] if end else None for end in ends]

    def end(self) -> None:
        self.runtime.stop()
        self.world.settle()


def test_a_new_incarnation_begins_where_the_last_one_ended(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    assert bank.ask(Deposit(5), Deposit(7), Withdraw(4)) == [5, 12, 8]
    (refused,) = bank.ask(Withdraw(9))
    assert "there are only 8" in str(refused)
    bank.runtime.tell(bank.account, Bomb())
    bank.world.settle()
    assert bank.ask(Balance()) == [8]
    bank.end()
    assert Bank(tmp_path).ask(Balance(), Deposit(1)) == [8, 9]


def test_what_comes_in_one_turn_is_made_durable_at_once_and_only_then_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(tmp_path)
    saved: list[int] = []
    save = Store.save

    def counted(store: Store, hard_state: Any, entries: Any, snapshot: Any) -> None:
        assert not any(pending.done for pending in open_asks), "answered before it was durable"
        saved.append(len(entries))
        save(store, hard_state, entries, snapshot)

    monkeypatch.setattr(Store, "save", counted)
    open_asks = [bank.runtime.ask(bank.account, Deposit(1), 1.0) for _ in range(100)]
    bank.world.settle()
    assert saved == [100]
    assert [pending.result() for pending in open_asks] == list(range(1, 101))


def test_what_the_disk_refuses_was_not_done_and_its_asker_is_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = Bank(tmp_path)
    bank.ask(Deposit(5))

    def full(*_: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(Store, "save", full)
    (end,) = bank.ask(Deposit(7))
    assert isinstance(end, TargetDown)
    assert "StoreFull: no room" in str(end)
    monkeypatch.undo()
    assert bank.ask(Balance()) == [5]


def test_snapshots_take_the_place_of_old_events(tmp_path: Path) -> None:
    bank = Bank(tmp_path, Often)
    for amount in range(1, 13):
        bank.ask(Deposit(amount))
    bank.end()
    store = Store.open(tmp_path, identity=Identity("alice", 0), sync=False)
    assert store.snapshot().index == 10
    assert store.first_index() == 11
    store.close()
    again = Bank(tmp_path, Often)
    assert again.ask(Balance()) == [sum(range(1, 13))]
    assert again.runtime.office.cells["account"].actor.last_event == 12


def test_a_directory_has_one_actor_at_a_time_and_always_the_same(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.ask(Deposit(1))
    second = bank.runtime.spawn(lambda: Account(tmp_path), "second", restart=Restart.TEMPORARY)
    stranger = bank.runtime.spawn(lambda: Account(tmp_path, "bob"), "stranger", restart=Restart.TEMPORARY)
    for address in (second, stranger):
        ends = outcome(bank.runtime.ask(address, Balance(), 1.0))
        bank.world.settle()
        assert isinstance(ends[0], AskFailed)
    kinds = {report.error.partition(":")[0] for report in bank.world.crashes}
    assert kinds == {"DirectoryInUse"}
    bank.end()
    other = World()
    runtime = other.process("a")
    runtime.spawn(lambda: Account(tmp_path, "bob"), "stranger")
    other.settle()
    assert {report.error.partition(":")[0] for report in other.crashes} == {"ForeignDirectory"}


def test_events_of_a_kind_that_is_not_known_any_more_are_not_passed_over(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.ask(Deposit(1))
    bank.end()

    class Forgetful(Account):
        events: ClassVar[Mapping[int, type]] = {2: Withdrawn}

    later = Bank(tmp_path, Forgetful)
    assert later.world.crashes[0].error == "CodecError: there is no message type with the tag 1 here"
