"""A machine of one's own in two versions, as a program has them before and after an upgrade.

Version 2 says the same in other words, has a field more in its state, its answer and a command, knows another
command, and lets accounts be overdrawn from the moment on at which all members have it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from raft.machines.machine import MachineError
from raft.machines.typed import TypedCommand, TypedMachine, TypedQuery, since


class OldState(Struct):
    balances: dict[str, int] = {}


class OldReceipt(Struct):
    balance: int


class OldDeposit(TypedCommand[OldReceipt], tag="Deposit"):
    account: str
    cents: int


class Balance(TypedQuery[int]):
    account: str


class OldBank(TypedMachine[OldState]):
    def empty(self) -> OldState:
        return OldState()

    def carry_out(self, command: OldDeposit) -> OldReceipt:
        balance = self.state.balances.get(command.account, 0) + command.cents
        if balance < 0:
            raise MachineError(f"{command.account} has not so much")
        self.state.balances[command.account] = balance
        return OldReceipt(balance)

    def answer(self, query: Balance) -> int:
        return self.state.balances.get(query.account, 0)


class State(Struct):
    balances: dict[str, int] = {}
    notes: list[str] = []


class Receipt(Struct):
    balance: int
    overdrawn: bool = False


class Deposit(TypedCommand[Receipt]):
    account: str
    cents: int
    note: Annotated[str, since(2)] = ""


class Close(TypedCommand[int]):
    """Answered by what was left."""

    since_version = 2
    account: str


class Bank(TypedMachine[State]):
    version = 2

    def empty(self) -> State:
        return State()

    def cluster_version_is(self, version: int) -> None:
        super().cluster_version_is(version)
        if version < 2:
            self.state.notes.clear()

    def carry_out(self, command: Deposit | Close) -> Receipt | int:
        balances = self.state.balances
        if isinstance(command, Close):
            return balances.pop(command.account, 0)
        balance = balances.get(command.account, 0) + command.cents
        if balance < (-100 if self.cluster_version >= 2 else 0):
            raise MachineError(f"insufficient funds: {command.account}")
        balances[command.account] = balance
        if command.note:
            self.state.notes.append(command.note)
        return Receipt(balance, balance < 0)

    def answer(self, query: Balance) -> int:
        return self.state.balances.get(query.account, 0)
